"""Errors for files that cannot be read, which tell damaged files (truncated, wrong checksum) from unsupported ones."""

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

# Exceptions of libraries, and patterns of their texts, for files that are cut short or fail a checksum.
_TYPES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (EOFError, ENDS_EARLY),
    (StructError, ENDS_EARLY),
    (BadZipFile, ENDS_EARLY),  # the list of entries is at the end of the file
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
# Never caused by the file.
_NOT_DAMAGE: Final = (ImportError, NotImplementedError)


class Damaged(Exception):  # noqa: N818
    """The error for a file that is truncated or fails a checksum; the text states the reason."""


class Unsupported(Exception):  # noqa: N818
    """The error for an intact file with an unsupported feature; the text names the feature."""


def damage(error: Exception) -> str | None:
    """Return in words how the file that raised `error` is damaged, or None if the error does not indicate damage."""
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, (*_NOT_DAMAGE, Unsupported)):
        return None
    text = str(error)
    found = next((plain for pattern, plain in _WORDS if re.search(pattern, text)), None)
    return found or next((plain for kind, plain in _TYPES if isinstance(error, kind)), None)


def not_read(path: Path, title: str, error: Exception) -> FileError:
    """Return the error for a file that could not be read.

    Args:
        path: The path of the file.
        title: The name of the file format, for messages.
        error: The exception that reading raised: `Damaged`, `Unsupported`, or an exception of a library.
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
