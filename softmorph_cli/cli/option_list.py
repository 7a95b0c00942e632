"""Every option of every command: what the reference and the test of their meanings are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

# How a type of values is called.
_KINDS: Final = {bool: "flag", int: "whole number", float: "number", str: "text", Path: "path"}
_NAMES: Final = {"integer": "whole number", "float": "number", "text": "text", "path": "path"}


@dataclass(frozen=True)
class CommandOption:
    """An option of a command.

    Attributes:
        command: Name of the command, such as "topology repair".
        flags: How it is typed, the long names first.
        kind: Type of a value: "flag", "whole number", "number", "text" or "path".
        repeated: Whether it may be given several times.
        meaning: The text of --help.
    """

    command: str
    flags: tuple[str, ...]
    kind: str
    repeated: bool
    meaning: str

    @property
    def long(self) -> str:
        """The first long name, which says what the option means."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])

    @property
    def short(self) -> tuple[str, ...]:
        """The names of one letter."""
        return tuple(flag for flag in self.flags if not flag.startswith("--"))


def options(program: Any) -> Iterator[CommandOption]:
    """Yield the options of all commands of a program, as Typer has made them, and those of its groups."""
    yield from _options(program, "")


def _options(command: Any, name: str) -> Iterator[CommandOption]:
    for one in command.params:
        if one.param_type_name == "option":
            flags = sorted((*one.opts, *one.secondary_opts), key=lambda flag: not flag.startswith("--"))
            kind = _kind_of(one)
            yield CommandOption(name, tuple(flags), kind, bool(one.multiple), one.help or "")
    for inner, made in getattr(command, "commands", {}).items():
        yield from _options(made, f"{name} {inner}".strip())


def _kind_of(made: Any) -> str:
    if made.is_flag:
        return "flag"
    if not hasattr(made, "type_descriptor"):  # Typer before it had a parser of its own
        return _NAMES[made.type.name.split()[0]]
    annotation = made.type_descriptor.annotation
    inner = get_args(annotation)
    return _KINDS[inner[0] if inner else annotation]


def ambiguities(found: Iterable[CommandOption]) -> list[str]:
    """Return a sentence for each short flag with two meanings, and for each option name with two types.

    A short flag means its long name. That an option may be repeated in one command is no other type.
    """
    meanings: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    kinds: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        for flag in one.short:
            meanings[flag][one.long].append(one.command)
        for flag in one.flags:
            kinds[flag][one.kind].append(one.command)
    sentences = []
    for flag, several in sorted(meanings.items()):
        if len(several) > 1:
            sentences.append(f"{flag} means {_told(several)}")
    for flag, several in sorted(kinds.items()):
        if len(several) > 1:
            sentences.append(f"{flag} is a {_told(several)}")
    return sentences


def _told(several: dict[str, list[str]]) -> str:
    """Return "--radius in erode and --recursive in batch"."""
    return " and ".join(f"{what} in {commands[0]}" for what, commands in several.items())
