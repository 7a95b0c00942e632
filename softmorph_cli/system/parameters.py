"""Parameters as data: help, unit, check and parser of each, from which everything that presents or reads it is derived.

A dataclass declares a parameter as a field `name: Annotated[type, Parameter(...)] = default`. The command line derives
its options from that, a chain and a TOML file their keys, and the class checks its values when it is made.
"""

from __future__ import annotations

import inspect
import re
import shlex
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from softmorph_cli.errors import SoftmorphError, UsageError

Check = Callable[[str, Any], None]

# Whether parameters are named as options of the command line in messages.
_SHELL: Final = ContextVar("shell", default=False)

# An option as it is typed, with what is plainly its value.
_TYPED: Final = re.compile(
    r"(?<![\w-])(--[a-z][a-z-]*)(?: ([\d:,]*:[\d:,]*|-?\d+(?:\.\d+)?|[A-Z]+\b|sigmoid\b|softmax\b|float\d+|uint\d+))?"
)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")

_YES: Final = {"true": True, "yes": True, "on": True, "1": True}
_NO: Final = {"false": False, "no": False, "off": False, "0": False}
_KINDS: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter beside its name, type and default.

    Attributes:
        help: Its meaning, with the default where that is not the field's, for people.
        metavar: What stands for its value in --help.
        flags: Its option's names where they are not `--name` alone.
        group: The panel of --help that it stands in.
        check: Called with the name and a value that is not None; refuses one that is wrong whatever the image.
        parse: Makes a value of text; the option then takes text.
        least: The least value that the command line takes.
        argument: Whether the command line takes it by its place, before IN.
        shell: Whether it is an option of the command line; if not, it is of Python alone.
    """

    help: str
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    group: str | None = None
    check: Check | None = None
    parse: Callable[[str], Any] | None = None
    least: int | None = None
    argument: bool = False
    shell: bool = True


@dataclass(frozen=True)
class Declared:
    """A parameter as a class declares it.

    Attributes:
        name: The field's name.
        kind: The type of its value, None aside; str where there is a parser; Path where text is taken as a path.
        optional: Whether it may be None.
        default: Its default; `dataclasses.MISSING` where a value is required.
        about: What else is known of it.
        hint: Its type, as it is written.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    about: Parameter
    hint: Any

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def typed(self) -> str:
        """How it is typed where it was given."""
        return (
            self.about.flags[0].partition("/")[0] if _SHELL.get() and self.about.flags else named(self.name)
        )

    def from_text(self, text: str) -> Any:
        """Return the value that a text stands for.

        Raises:
            UsageError: If it is of another type; the sentence names the parameter.
        """
        if self.about.parse is not None:
            return self.about.parse(text)
        try:
            return {**_YES, **_NO}[text.lower()] if self.kind is bool else self.kind(text)
        except (KeyError, ValueError):
            raise UsageError(f"{self.name} is {_KINDS[self.kind]}, not {text!r}.") from None

    def from_toml(self, value: Any) -> Any:
        """Return the value that a TOML file holds; a whole number is a number too, but true is none.

        Raises:
            UsageError: As `from_text`.
        """
        if self.about.parse is not None and self.kind is not str:
            return self.about.parse(value)
        right = (int, float) if self.kind is float else self.kind
        if isinstance(value, bool) != (self.kind is bool) or not isinstance(value, right):
            raise UsageError(f"{self.name} is {_KINDS[self.kind]}, not {value!r}.")
        return self.kind(value)


def declared(owner: Any) -> Mapping[str, Declared]:
    """Return the parameters that a dataclass, or a function, declares, in their order."""
    return _declared(owner)


@cache
def _declared(owner: Any) -> Mapping[str, Declared]:
    hints = get_type_hints(owner, include_extras=True)
    if inspect.isfunction(owner):
        given = {one.name: one.default for one in inspect.signature(owner).parameters.values()}
        defaults = {name: MISSING if one is inspect.Parameter.empty else one for name, one in given.items()}
    else:
        defaults = {field.name: field.default for field in fields(owner)}
    found = {}
    for name, default in defaults.items():
        hint = hints[name]
        about = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Parameter)]
        if about:
            kind, optional = _kind(hint)
            found[name] = Declared(name, kind, optional, default, about[0], get_args(hint)[0])
    return found


def _kind(hint: Any) -> tuple[type, bool]:
    """Return the type of a value that is not None, and whether it may be None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    named = [one for one in parts if one is not type(None) and get_origin(one) is not Literal]
    kind = Path if set(named) == {str, Path} else str if str in named else named[0]
    return kind, type(None) in parts


def check_all(values: Any) -> None:
    """Parse and check the parameters of a frozen dataclass, in `__post_init__`.

    Raises:
        UsageError: If one is wrong whatever the image.
    """
    for name, one in declared(type(values)).items():
        value = getattr(values, name)
        if value is None:
            continue
        if one.about.parse is not None and isinstance(value, str):
            value = one.about.parse(value)
            object.__setattr__(values, name, value)
        if one.kind is Path and isinstance(value, str):
            object.__setattr__(values, name, Path(value))
        if one.about.check is not None:
            one.about.check(name, value)


@contextmanager
def named_as_options() -> Iterator[None]:
    """Name parameters in messages as the command line does: `--hard`, not `hard=True`."""
    before = _SHELL.set(True)
    try:
        yield
    finally:
        _SHELL.reset(before)


def named(name: str, value: Any = None, *, option: str | None = None) -> str:
    """Return how a parameter is typed where it was given: `--max-iterations`, or `max_iterations` in Python.

    Args:
        name: The parameter.
        value: A value to type with it; None for the name alone.
        option: What its option is called where that is another name.
    """
    if not _SHELL.get():
        return name if value is None else f"{name}={value!r}"
    option = f"--{'no-' if value is False else ''}{(option or name).replace('_', '-')}"
    return option if value is None or isinstance(value, bool) else f"{option} {value}"


def in_shell() -> bool:
    """Whether parameters are named as options: the command line was called, not Python."""
    return _SHELL.get()


def as_keywords(options: str) -> str:
    """Return options with values as Python has them: "channel_axis='Q', channel=0" of --channel-axis Q --channel 0."""
    words = shlex.split(options)
    values = [int(value) if value.isdigit() else value for value in words[1::2]]
    return ", ".join(
        f"{option.removeprefix('--').replace('-', '_')}={value!r}"
        for option, value in zip(words[::2], values, strict=True)
    )


def take_a_part() -> str:
    """Return what to do with a map that is too large, without a full stop."""
    return "cut out a part with --region" if in_shell() else "pass a part of it"


@contextmanager
def spoken_in_python(known: Iterable[Declared]) -> Iterator[None]:
    """Name parameters in errors as keywords, `divide_by=255`, unless the command line is what was typed.

    Args:
        known: The parameters that are keywords of the function; what else looks like an option stays.
    """
    try:
        yield
    except SoftmorphError as error:
        error.args = (in_python(str(error), known),)
        raise


def in_python(text: str, known: Iterable[Declared]) -> str:
    """Return a message in which options, such as --divide-by 255, are keywords, such as divide_by=255.

    Where the command line is what was typed, the message stays.
    """
    if _SHELL.get() or "--" not in text:
        return text
    flags = {flag: one for one in known for flag in one.about.flags or (f"--{one.name.replace('_', '-')}",)}

    def keyword(found: re.Match[str]) -> str:
        one, value = flags.get(found[1]), found[2]
        if one is None:
            return found[0]
        if one.kind is bool:
            return f"{one.name}=True{f' {value}' if value else ''}"
        if value is None:
            return one.name
        # Placeholders, such as FILE, stand for a value.
        plain = _NUMBER.fullmatch(value) or (value.isupper() and not one.name.endswith(("axes", "axis")))
        return f"{one.name}={value if plain else repr(value)}"

    return _TYPED.sub(keyword, text)


def as_in_python(text: str) -> str:
    """Return a help text with parameters named as in Python: `max_iterations`, not --max-iterations."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: f"`{found[1].replace('-', '_')}`", text)


def take(function: Any, like: Any, known: Iterable[Declared], example: str = "") -> None:
    """Give a function the signature and the documentation of another, with keywords for its `options`.

    Args:
        function: It takes the other's arguments by place, and keywords.
        like: The other; its last argument is `options`.
        known: The keywords.
        example: For the end of the docstring.
    """
    known = list(known)
    before, _, after = (inspect.getdoc(like) or "").partition("\nReturns:")
    first, _, chosen = before.partition("    options: ")
    about = " ".join(chosen.split()).partition("; ")[2]
    malformed = "" if "UsageError" in after else "\n    UsageError: If an option is wrong whatever the file."
    text = f"{first}{arguments(known)}\n\nReturns:{after}{malformed}"
    if about:
        text = text.replace(
            "\n\nArgs:", f"\n\n{textwrap.fill(about[0].upper() + about[1:], 112)}\n\nArgs:", 1
        )
    function.__doc__ = f"{text}\n\n{example}".rstrip()
    places = list(inspect.signature(like).parameters.values())[:-1]
    function.__signature__ = inspect.Signature([*places, *map(keyword, known)])


def keyword(one: Declared) -> inspect.Parameter:
    """Return a parameter as the keyword of a function."""
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.hint
    )


def arguments(known: Iterable[Declared]) -> str:
    """Return the lines of a docstring's `Args` for parameters."""
    lines = (f"{one.name}: {as_in_python(one.about.help)}" for one in known)
    wrapped = "\n".join(textwrap.fill(line, 108, subsequent_indent="    ") for line in lines)
    return textwrap.indent(wrapped, "    ")


def at_least(least: float) -> Check:
    """Return the check of a number that has a least value."""

    def check(name: str, value: float) -> None:
        if not value >= least:
            raise UsageError(f"{named(name)} {value:g}: at least {least:g} is needed.")

    return check


def below_one(name: str, value: float) -> None:
    """Check a probability that some voxels may exceed: at least 0 and below 1."""
    if not 0 <= value < 1:
        raise UsageError(f"{named(name)} {value:g}: it must be at least 0 and below 1.")


def positive(name: str, value: float) -> None:
    """Check a number that has to be positive and finite."""
    if not 0 < value < float("inf"):
        raise UsageError(f"{named(name)} {value:g}: it must be positive and finite.")
