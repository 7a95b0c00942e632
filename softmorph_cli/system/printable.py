"""Text from files on its way to people.

Names, headers and titles are written by anybody. A terminal obeys control characters in them, a spreadsheet computes
a cell that begins with "=", and half of a surrogate pair, which is how Python keeps a name that is no UTF-8, cannot be
printed at all.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

# A spreadsheet takes a cell that begins with one of them for a formula; a tab or a line end before it is skipped.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

# Lines of a drawing within a message begin so; every other message is a single line.
INDENT: Final = "\n    "


def printable(text: str, keep: str = "") -> str:
    """Return a text in which every character that is not printable is a question mark.

    Args:
        text: From anywhere.
        keep: Characters that stay, such as the line ends of a column's name.
    """
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def message(text: str) -> str:
    """Return a message as one printable line, with the lines of a drawing below it if it has one."""
    return INDENT.join(printable(line) for line in text.split(INDENT))


def typed(*words: str | PurePath) -> str:
    """Return a command line for a shell that says the same files as these words, whatever they are called.

    A path that begins with "-" gets "./", so that it is no option. What is not printable is escaped as bash and zsh
    read it: as a question mark, which it is in a message, it would name another file.
    """
    return " ".join(
        _quoted(f"./{word}" if isinstance(word, PurePath) and str(word).startswith("-") else str(word))
        for word in words
    )


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}"
        for byte in os.fsencode(word)
    )
    return f"$'{''.join(plain)}'"


def unicode(value: Any) -> Any:
    """Return what goes into JSON with each half of a surrogate pair as U+FFFD, in lists and objects too.

    Python writes and reads such halves, and other programs refuse the whole file.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {unicode(key): unicode(one) for key, one in value.items()}
    return [unicode(one) for one in value] if isinstance(value, list | tuple) else value


def cell(value: Any) -> Any:
    """Return a value for a CSV that a spreadsheet does not compute.

    A text gets an apostrophe before it; a path "./", so that it is still the file's. Numbers stay, those below 0 too.
    """
    if not isinstance(value, str | PurePath) or not str(value).startswith(_FORMULA):
        return value
    return f"./{value}" if isinstance(value, PurePath) else f"'{value}"


def plural(number: int, name: str) -> str:
    """Return a number with its noun: "1 branch", "3 branches"."""
    ending = "" if number == 1 else "es" if name.endswith("ch") else "s"
    return f"{number:,} {name}{ending}"
