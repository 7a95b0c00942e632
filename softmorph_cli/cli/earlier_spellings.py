"""Spellings of an earlier version on the command line, each with the one that replaces it.

They are accepted for one version and then removed, together with this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from softmorph_cli.errors import UsageError
from softmorph_cli.system.printable import typed

# Options with another name in all commands, and in one.
_RENAMED: Final = {"--stats": "--json-file"}
_RENAMED_IN: Final = {
    "bench": {"--memory": "--peak-memory", "--no-memory": "--no-peak-memory"},
    "evaluate": {"--tolerance": "--distance-tolerance"},
}
# Short flags that had another meaning in one command than in all others.
_GONE: Final = {
    ("batch", "-n"): "-n is --iterations in other commands: in batch type --dry-run.",
    ("batch", "-r"): "-r is --radius in other commands: in batch type --recursive.",
}


def current(command: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line in the spelling of today, and notes that say what to type.

    Args:
        command: Name of the command, such as "inspect".
        words: What is typed after it.

    Raises:
        UsageError: If a short flag of an earlier version has another meaning today.
    """
    found: list[str] = []
    notes: list[str] = []
    left, renamed = list(words), {**_RENAMED, **_RENAMED_IN.get(command, {})}
    while left:
        word = left.pop(0)
        if word == "--":
            found += [word, *left]
            break
        if (command, word) in _GONE:
            raise UsageError(_GONE[command, word])
        name, equals, value = word.partition("=")
        if name in renamed:
            found.append(renamed[name] + equals + value)
            notes.append(f"{name} is now {renamed[name]}: type {renamed[name]}; {_UNTIL}.")
        elif command == "inspect" and name == "--json" and (equals or _is_path_of_json(left)):
            path = value if equals else left.pop(0)
            spelt = ["--json"] if path == "-" else ["--json-file", path]
            found += spelt
            today = " ".join(spelt[:1] + [typed(one) for one in spelt[1:]])
            notes.append(f"{name} {typed(path)} is now {today}: type {today}; {_UNTIL}.")
        else:
            found.append(word)
    return found, notes


_UNTIL: Final = "the next version does not accept the earlier spelling"


def _is_path_of_json(after: Sequence[str]) -> bool:
    """Return whether the word after `inspect --json` is the PATH of the earlier option, and not IN.

    A map that is read has another suffix than .json, or it exists.
    """
    if not after:
        return False
    word = after[0]
    if word == "-":
        return True
    if word.startswith("-"):
        return False
    from softmorph_cli.io.formats import FORMATS, suffix_of

    path = Path(word)
    if path.suffix.lower() == ".json":
        return True
    readable = {suffix for family in FORMATS for suffix in family.suffixes}
    return suffix_of(path) not in readable and not path.exists()
