"""Functions that make untrusted text from files safe to show.

File names, headers and titles are untrusted: a terminal interprets control characters in the text, a spreadsheet
evaluates a cell that begins with "=", and an unpaired surrogate, which Python uses for file names that are no UTF-8,
cannot be printed at all.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

# The first characters of formulas in a spreadsheet, which skips a tab or a line end before them.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

# What lines of a drawing within a message begin with; every other message is a single line.
INDENT: Final = "\n    "


def printable(text: str, keep: str = "") -> str:
    """Return a text with a question mark in place of every character that is not printable.

    Args:
        text: Untrusted text.
        keep: Unprintable characters that are not replaced, such as the line ends of a column's name.
    """
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def message(text: str) -> str:
    """Return a message as one printable line; lines of a drawing in the message, marked by INDENT, stay below it."""
    return INDENT.join(printable(line) for line in text.split(INDENT))


def typed(*words: str | PurePath) -> str:
    """Return words quoted for a shell.

    A path that begins with "-" gets the prefix "./", so that commands do not take it for an option. Unprintable
    characters are escaped for bash and zsh, because with question marks the word would name another file.
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
    """Return a JSON value with U+FFFD in place of unpaired surrogates in all strings, also in lists and objects.

    Python writes and reads unpaired surrogates, but other programs refuse the whole file.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {unicode(key): unicode(one) for key, one in value.items()}
    return [unicode(one) for one in value] if isinstance(value, list | tuple) else value


def cell(value: Any) -> Any:
    """Return a value for a CSV file that a spreadsheet does not evaluate as a formula.

    A text that looks like a formula gets an apostrophe before it, and a path gets "./", so that the path still names
    the file. Numbers, also negative numbers, are not changed.
    """
    if not isinstance(value, str | PurePath) or not str(value).startswith(_FORMULA):
        return value
    return f"./{value}" if isinstance(value, PurePath) else f"'{value}"


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, head: bool = True) -> str:
    r"""Return rows as CSV with safe cells, below the names of the columns if `head` is set.

    A cell is empty where a row has no value for the column.

    >>> csv_text([{"file": "=a", "voxels": 3}, {"voxels": 4}], ("file", "voxels"))
    "file,voxels\n'=a,3\n,4\n"
    """
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def plural(number: int, name: str) -> str:
    """Return a number with its noun: "1 branch", "3 branches"."""
    ending = "" if number == 1 else "es" if name.endswith("ch") else "s"
    return f"{number:,} {name}{ending}"


def meant(wrong: str, known: Iterable[str]) -> str:
    """Return text such as " (did you mean 'close'?)" on the known name most like a wrong one; "" if none is like it."""
    from difflib import get_close_matches

    return "".join(f" (did you mean {near!r}?)" for near in get_close_matches(wrong, [*known], 1))
