"""Text from files on its way to people.

Names, headers and titles are written by anybody. A terminal obeys control characters in them, a spreadsheet computes
a cell that begins with "=", and half of a surrogate pair, which is how Python keeps a name that is no UTF-8, cannot be
printed at all.
"""

from __future__ import annotations

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


def cell(value: Any) -> Any:
    """Return a value for a CSV that a spreadsheet does not compute.

    A text gets an apostrophe before it; a path "./", so that it is still the file's. Numbers stay, those below 0 too.
    """
    if not isinstance(value, str | PurePath) or not str(value).startswith(_FORMULA):
        return value
    return f"./{value}" if isinstance(value, PurePath) else f"'{value}"
