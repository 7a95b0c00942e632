"""Parameters as data: help, check and parser of each, from which options, keywords and documents are derived.

A dataclass declares a parameter as a field `name: Annotated[type, Parameter(...)] = default`. The command line derives
its options from that, a chain and a TOML file their keys, and the class checks its values when an instance is made.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from softmorph_cli.errors import UsageError
from softmorph_cli.system.printable import typed

Check = Callable[[str, Any], None]

# Not empty while this process runs a command: then messages name parameters as options, in every thread.
_COMMANDS: Final[list[None]] = []
# Where what `named` returns is collected.
_NAMED: Final[ContextVar[list[str] | None]] = ContextVar("named", default=None)
# Parameters whose values may be words in upper case; for all others such a word stands for a value, as FILE does.
_UPPER_CASE: Final = ("axes", "channel", "channel_axis")

_YES: Final = {"true": True, "yes": True, "on": True, "1": True}
_NO: Final = {"false": False, "no": False, "off": False, "0": False}
_KINDS: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class Parameter:
    """The metadata of a parameter beside its name, type and default.

    Attributes:
        help: Its meaning, with the default where that is not the field's.
        metavar: The placeholder of its value in --help.
        flags: The names of its option where they are not `--name` alone.
        group: The panel of --help that lists it.
        check: Called with the name and a value that is not None; raises where it is wrong for every image.
        parse: Converts text to a value; the option then takes text.
        least: The least value that the command line accepts.
        argument: Whether it is a positional argument of the command line, before IN.
        shell: Whether it is an option of the command line; otherwise a keyword of Python only.
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
        kind: The type of its value other than None; str where there is a parser; Path where text is taken as a path.
        optional: Whether it may be None.
        default: Its default; `dataclasses.MISSING` where a value is required.
        about: Its metadata.
        hint: Its type annotation.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    about: Parameter
    hint: Any

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def typed(self) -> str:
        """Its option on the command line, its keyword in Python."""
        return self.about.flags[0].partition("/")[0] if in_shell() and self.about.flags else named(self.name)

    def from_text(self, text: str) -> Any:
        """Return the value of a text.

        Raises:
            UsageError: If it is of another type; the message names the parameter.
        """
        if self.about.parse is not None:
            return self.about.parse(text)
        try:
            return {**_YES, **_NO}[text.lower()] if self.kind is bool else self.kind(text)
        except (KeyError, ValueError):
            raise UsageError(f"{self.name} is {_KINDS[self.kind]}, not {text!r}.") from None

    def from_toml(self, value: Any) -> Any:
        """Return the value of a TOML entry; an integer is accepted as a number, a Boolean is not.

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
    """Return the parameters that a dataclass or a function declares, by name, in order of declaration."""
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
    """Return the type of a value other than None, and whether None is allowed."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [one for one in parts if one is not type(None) and get_origin(one) is not Literal]
    kind = Path if set(kinds) == {str, Path} else str if str in kinds else kinds[0]
    return kind, type(None) in parts


def check_all(values: Any) -> None:
    """Parse and check the parameters of a frozen dataclass, in `__post_init__`.

    Raises:
        UsageError: If one is wrong for every image.
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
    """Name parameters in the messages of this process as options: `--hard`, not `hard=True`."""
    _COMMANDS.append(None)
    try:
        yield
    finally:
        _COMMANDS.pop()


def named(name: str, value: Any = None, *, option: str | None = None) -> str:
    """Return a parameter as a message names it: `--max-iterations` on the command line, `max_iterations` in Python.

    Args:
        name: The parameter.
        value: A value to give with it, or a placeholder such as "FILE"; None for the name alone.
        option: The name of its option, where that is another one.
    """
    if in_shell():
        option = f"--{'no-' if value is False else ''}{(option or name).replace('_', '-')}"
        if value is None or isinstance(value, bool):
            return option
        return f"{option} {typed(value) if isinstance(value, PurePath) else value}"
    text = name
    if value is not None:
        placeholder = isinstance(value, str) and value.isupper() and name not in _UPPER_CASE
        text += f"={value if placeholder else repr(str(value) if isinstance(value, PurePath) else value)}"
    if (found := _NAMED.get()) is not None:
        found.append(text)
    return text


@contextmanager
def collect_named() -> Iterator[list[str]]:
    """Yield a list to which the texts that `named` returns in Python are appended meanwhile."""
    found: list[str] = []
    before = _NAMED.set(found)
    try:
        yield found
    finally:
        _NAMED.reset(before)


def in_shell() -> bool:
    """Whether messages name parameters as options: the command line was called, not Python."""
    return bool(_COMMANDS)


def take_a_part() -> str:
    """Return the advice for a map that is too large, without a full stop."""
    return "cut out a part with --region" if in_shell() else "pass a part of it"


def as_in_python(text: str) -> str:
    """Return a help text with parameters named as keywords: `max_iterations`, not --max-iterations."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: f"`{found[1].replace('-', '_')}`", text)


def adopt_signature(function: Any, like: Any, known: Iterable[Declared], example: str = "") -> None:
    """Give a function the signature and the documentation of another, with keywords for its `options`.

    Args:
        function: Takes the positional arguments of `like`, and keywords.
        like: The other function; its last argument is `options`.
        known: The keywords.
        example: Appended to the docstring.
    """
    known = list(known)
    before, _, after = (inspect.getdoc(like) or "").partition("\nReturns:")
    first, _, chosen = before.partition("    options: ")
    about = " ".join(chosen.split()).partition("; ")[2]
    malformed = "" if "UsageError" in after else "\n    UsageError: If an option is wrong for every file."
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
    """Check a threshold: at least 0 and below 1."""
    if not 0 <= value < 1:
        raise UsageError(f"{named(name)} {value:g}: it must be at least 0 and below 1.")


def positive(name: str, value: float) -> None:
    """Check a number that must be positive and finite."""
    if not 0 < value < float("inf"):
        raise UsageError(f"{named(name)} {value:g}: it must be positive and finite.")
