"""What is said of a file that could not be read: damaged only where it is cut short or fails a checksum."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from struct import error as StructError  # noqa: N812
from typing import Final, cast
from zipfile import BadZipFile

from isal import isal_zlib

from softmorph_cli.errors import FileError

ENDS_EARLY: Final = "it ends too early"
DOES_NOT_UNPACK: Final = "its compressed data do not unpack"
NO_PAGES: Final = "its table of pages is broken"

# What the libraries raise and say of a file that is cut short, or whose data do not fit their checksum.
_TYPES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (EOFError, ENDS_EARLY),
    (StructError, ENDS_EARLY),
    (BadZipFile, ENDS_EARLY),  # its list of entries is at its end
    (zlib.error, DOES_NOT_UNPACK),
    (cast("type[Exception]", isal_zlib.error), DOES_NOT_UNPACK),
)
_WORDS: Final = (
    (
        r"Expected \d+ bytes|mmap length|EOF|ended before|got only|but received|end of header|requires a buffer"
        r"|failed to read \d+ bytes",
        ENDS_EARLY,
    ),
    (
        r"LIBDEFLATE_|zlib|[Dd]ecompress|deflate|CRC|checksum|Incorrect length|PNGImageIO|Invalid data stream"
        r"|Corrupt input data",
        DOES_NOT_UNPACK,
    ),
    (
        r"corrupted (?:file|strip|tile)|cannot (?:be reshaped|reshape array)|multiple of element size"
        r"|divisor of the total size",
        "its header and its data do not fit each other",
    ),
    (
        r"IFD|page offset|index \d+ out of range|circular reference|missing data|invalid offset|corrupted tag",
        NO_PAGES,
    ),
)
# Nothing of these is ever the file's fault.
_OURS: Final = (ImportError, NotImplementedError)


class Damaged(Exception):  # noqa: N818
    """What a reader raises for a file that is cut short or fails a checksum; its text is the reason in words."""


class Unsupported(Exception):  # noqa: N818
    """What a reader raises for an intact file with something that it does not know; its text says what."""


def damage(error: Exception) -> str | None:
    """Return in words how a file is damaged, or None where the error says no such thing."""
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, (*_OURS, Unsupported)):
        return None
    text = str(error)
    found = next((plain for pattern, plain in _WORDS if re.search(pattern, text)), None)
    return found or next((plain for kind, plain in _TYPES if isinstance(error, kind)), None)


def not_read(path: Path, title: str, error: Exception) -> FileError:
    """Say why a file of the family `title` could not be read.

    Args:
        path: The file.
        title: Of its family.
        error: What its reader raised: `Damaged`, `Unsupported`, or whatever its library does.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return FileError(f"{path} cannot be read: {error.strerror or error}.")
    how = damage(error)
    if how is not None:
        return FileError(
            f"{path} starts as a {title} file but is cut short or damaged ({how}); copy or write it again."
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return FileError(f"{path} is a valid {title} that softmorph cannot read: {lines[-1].rstrip('.')}.")
