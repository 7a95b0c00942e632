"""Declarations of parameters, from which command-line options, keywords of functions and keys of TOML are derived.

A dataclass declares a parameter as a field `name: Annotated[type, Parameter(...)] = default`. From this field follow
an option of the command line and a key in chains and TOML files; the class checks values when an instance is made.
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

# The words of the devices that a computation may run on; of several CUDA devices cuda:N is one.
DEVICES: Final = ("auto", "cpu", "cuda")
_YES: Final = {"true": True, "yes": True, "on": True, "1": True}
_NO: Final = {"false": False, "no": False, "off": False, "0": False}
# A placeholder that lists the values: max|mean.
_WORDS: Final = re.compile(r"[a-z0-9][a-z0-9-]*(?:\|[a-z0-9][a-z0-9-]*)*")
# How a placeholder ends of which several values may be given, separated by commas.
_SEVERAL: Final = ",..."
_KINDS: Final = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}


@dataclass(frozen=True)
class Parameter:
    """The description of a parameter: help text, check, parser, and its place on the command line.

    Attributes:
        help: The meaning of the parameter, with the default where the default of the field does not tell it.
        metavar: The placeholder of the value in --help, such as FILE.
        flags: The names of the command-line option, where `--name` is not the only name.
        group: The title of the panel of --help that lists the option.
        check: A function of the name and a value other than None; it raises if the value is wrong for every image.
        parse: A function that converts text to a value; the command-line option then takes text.
        least: The least value that the command line accepts.
        argument: Whether the parameter is a positional argument of the command line, before IN.
        shell: Whether the command line has the parameter; otherwise it is a keyword in Python only.
        first: Whether the option is on the first screen of --help, which has the few that most users need.
        words: The values that a shell completes, or a function that returns them; None for those that `metavar` lists.
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
    first: bool = False
    words: tuple[str, ...] | Callable[[], Iterable[str]] | None = None

    def completed(self, begun: str) -> list[str]:
        """Return the values that begin with what was typed; of values separated by commas the last one is completed.

        >>> Parameter("", "max|mean").completed("me")
        ['mean']
        >>> Parameter("", "NAME,...", words=("dice", "cldice")).completed("dice,c")
        ['dice,cldice']
        """
        placeholder = self.metavar or ""
        listed = placeholder.split("|") if _WORDS.fullmatch(placeholder) else ()
        known = listed if self.words is None else self.words() if callable(self.words) else self.words
        several = placeholder.endswith(_SEVERAL)
        before, comma, last = begun.rpartition(",") if several else ("", "", begun)
        return [f"{before}{comma}{word}" for word in known if word.startswith(last)]


@dataclass(frozen=True)
class Declared:
    """A parameter as a dataclass or a function declares it.

    Attributes:
        name: The name of the field or argument.
        kind: The type of the value, apart from None; str where text is parsed; Path where text is taken as a path.
        optional: Whether the value may be None.
        default: The default value; `dataclasses.MISSING` where a value is required.
        about: The description of the parameter, with help text and check.
        hint: The type annotation, without the description.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    about: Parameter
    hint: Any

    @property
    def required(self) -> bool:
        """Whether the parameter has no default, so that a value is required."""
        return self.default is MISSING

    @property
    def typed(self) -> str:
        """The name that users type: the option on the command line, the keyword in Python."""
        return self.about.flags[0].partition("/")[0] if in_shell() and self.about.flags else named(self.name)

    def from_text(self, text: str) -> Any:
        """Convert a text to a value of the parameter.

        Raises:
            UsageError: If the text is no value of the type `kind`; the message names the parameter.
        """
        if self.about.parse is not None:
            return self.about.parse(text)
        try:
            return {**_YES, **_NO}[text.lower()] if self.kind is bool else self.kind(text)
        except (KeyError, ValueError):
            raise UsageError(f"{self.name} is {_KINDS[self.kind]}, not {text!r}.") from None

    def from_toml(self, value: Any) -> Any:
        """Convert a TOML value to a value of the parameter; integers are accepted for numbers, Booleans are not.

        Raises:
            UsageError: If the value is not of the type `kind`; the message names the parameter.
        """
        if self.about.parse is not None and self.kind is not str:
            return self.about.parse(value)
        right: Any = {float: (int, float), Path: str}.get(self.kind, self.kind)
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
    """Return the type of values that a type annotation allows beside None, and whether it allows None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [one for one in parts if one is not type(None) and get_origin(one) is not Literal]
    kind = Path if set(kinds) == {str, Path} else str if str in kinds else kinds[0]
    return kind, type(None) in parts


def check_all(values: Any) -> None:
    """Parse and check all parameters of a frozen dataclass instance; to be called in `__post_init__`.

    Raises:
        UsageError: If the value of a parameter is wrong for every image.
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
    """Within the block, messages of this process name parameters as options: `--hard`, not `hard=True`."""
    _COMMANDS.append(None)
    try:
        yield
    finally:
        _COMMANDS.pop()


def named(name: str, value: Any = None, *, option: str | None = None) -> str:
    """Return a parameter as a message names it: `--max-iterations` on the command line, `max_iterations` in Python.

    Args:
        name: The name of the parameter in Python.
        value: A value to show after the name, or a placeholder such as "FILE"; None for the name alone.
        option: The name of the command-line option, where it differs from `name`.
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
    """Yield a list to which `named` appends each keyword text that it returns within the block."""
    found: list[str] = []
    before = _NAMED.set(found)
    try:
        yield found
    finally:
        _NAMED.reset(before)


def in_shell() -> bool:
    """Return whether messages name parameters as options, because a command is running and not a call from Python."""
    return bool(_COMMANDS)


def take_a_part() -> str:
    """Return the advice of messages on a map that is too large: cut out a part; without a full stop."""
    return "cut out a part with --region" if in_shell() else "pass a part of it"


def as_in_python(text: str) -> str:
    """Return a help text in which parameters are named as keywords: `max_iterations` replaces --max-iterations."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: f"`{found[1].replace('-', '_')}`", text)


def adopt_signature(function: Any, like: Any, known: Iterable[Declared], example: str = "") -> None:
    """Give a function the signature and docstring of `like`, with keywords in place of the argument `options`.

    Args:
        function: The function to be changed; it takes the positional arguments of `like`, and keywords.
        like: The function that is imitated; its last argument is `options`.
        known: The parameters that become keywords.
        example: Text that is appended to the docstring.
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
    """Return a parameter as a keyword argument, for the signature of a function."""
    return inspect.Parameter(
        one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.hint
    )


def arguments(known: Iterable[Declared]) -> str:
    """Return the lines that describe parameters in the section `Args` of a docstring."""
    lines = (f"{one.name}: {as_in_python(one.about.help)}" for one in known)
    wrapped = "\n".join(textwrap.fill(line, 108, subsequent_indent="    ") for line in lines)
    return textwrap.indent(wrapped, "    ")


def at_least(least: float) -> Check:
    """Return a check that raises `UsageError` for a number below `least`."""

    def check(name: str, value: float) -> None:
        if not value >= least:
            raise UsageError(f"{named(name)} {value:g}: at least {least:g} is needed.")

    return check


def below_one(name: str, value: float) -> None:
    """Raise `UsageError` unless a value, such as a threshold, is at least 0 and below 1."""
    if not 0 <= value < 1:
        raise UsageError(f"{named(name)} {value:g}: it must be at least 0 and below 1.")


def one_of(*words: str) -> Check:
    """Return a check that raises `UsageError` for a text that is none of some words."""

    def check(name: str, value: str) -> None:
        if value not in words:
            raise UsageError(f"{named(name)} is {' or '.join(words)}, not {value!r}.")

    return check


def positive(name: str, value: float) -> None:
    """Raise `UsageError` unless a number is positive and finite."""
    if not 0 < value < float("inf"):
        raise UsageError(f"{named(name)} {value:g}: it must be positive and finite.")
