"""Reads voxels that follow a text header (NRRD, MetaImage) or lie in files that the header names.

Only regular files in the folder of the header or below it are opened, and no memory is allocated for more voxels than
the files can hold.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged
from softmorph_cli.io.git_pointers import check_fetched
from softmorph_cli.io.itk_headers import shown
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.raw import Array
from softmorph_cli.io.zipped import Unzipped, can_hold, finish, trailing_notes
from softmorph_cli.system.descriptors import open_plain

_PIECE = 1 << 20
# The separators of numbers in text, and a length that no number in text has.
_BETWEEN: Final = (b" ", b"\t", b"\r", b"\n", b",")
_LONGEST_WORD: Final = 400
# name%03d.raw 1 20 1: a file for each number.
_SERIES = re.compile(
    r"([^%]*)%(0?)([0-9]{0,2})d([^%\s]*)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d+)?"
)


@dataclass(frozen=True)
class VoxelData:
    """The place and the encoding of the voxels of an image, as a header states them.

    Attributes:
        dtype: The element type, with its byte order.
        shape: The shape of the array, the slowest axis first.
        encoding: The encoding of the voxels: "raw", "gzip", "zlib", "bzip2", "text" or "hex".
        files: The files that hold equal parts of the array, in order; None if the voxels are in the header file.
        start: The byte of each file at which its data begin, compressed or not.
        lines: How many lines to skip from `start`.
        skip: How many decompressed bytes to skip after these lines; -1 if the voxels are the last bytes of the file.
        packed: The size of the compressed data in bytes, where the header states it.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    encoding: str = "raw"
    files: Sequence[str] | None = None
    start: int = 0
    lines: int = 0
    skip: int = 0
    packed: int | None = None


def files_named(text: str, listed: Sequence[str], count: int, path: Path) -> Sequence[str]:
    """Return the names of the files that hold the voxels.

    Args:
        text: The header field: a file name, LIST, or a pattern (a name with %d, the first and last number, the step).
        listed: The file names that follow LIST in the header.
        count: The number of voxels.
        path: The path of the header.

    Raises:
        FileError: If the field names no files, or more files than there are voxels.
    """
    if re.match(r"LIST\b", text):
        names: Sequence[str] = listed
    elif series := _SERIES.fullmatch(text):
        before, zeros, width, after, first, last, step = series.groups()
        by = int(step) or 1
        numbers = range(int(first), int(last) + (1 if by > 0 else -1), by)
        if len(numbers) > count:
            names = ()
        else:
            fill = "0" if zeros else " "
            names = [f"{before}{str(number).rjust(int(width or 0), fill)}{after}" for number in numbers]
    else:
        names = [text]
    if not 0 < len(names) <= count or not all(names):
        raise FileError(
            f"{path} keeps its voxels in {shown(text)!r}, which names no files that could hold them; "
            "correct its header."
        )
    return names


def load(stored: VoxelData, path: Path) -> tuple[Array, list[str]]:
    """Read the voxels that a header describes.

    Args:
        stored: The place and the encoding of the voxels.
        path: The path of the header.

    Returns:
        A new array in native byte order, and notes on unused bytes.

    Raises:
        FileError: If a file with voxels is missing, or is not a regular file in the folder of the header or below it.
        InputError: If the array does not fit into memory.
        Damaged: If the data end too early or cannot be decompressed.
    """
    files = [path] if stored.files is None else [_voxel_file(path, name) for name in stored.files]
    size = prod(stored.shape) * stored.dtype.itemsize
    each, left = divmod(size, len(files))
    if left:
        raise FileError(
            f"{path} keeps its voxels in {len(files)} files, among which {prod(stored.shape):,} of them cannot be "
            "divided; correct its header."
        )
    for file in files:
        if not _can_hold_voxels(stored, file.stat().st_size, each):
            raise Damaged(ENDS_EARLY)
    check_room(
        stored.shape,
        stored.dtype.itemsize,
        path,
        first="write it as .nii, .npy or OME-Zarr first, in the program that made it",
    )
    array = np.empty(stored.shape, stored.dtype)
    notes: list[str] = []
    if size:
        flat: Any = array.reshape(-1).view(np.uint8)
        for number, file in enumerate(files):
            with _open_regular(file) as stream:
                stream.seek(stored.start)
                part = flat[number * each : (number + 1) * each]
                notes += _read_into(part, stream, stored)
    if not stored.dtype.isnative:
        array = array.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))
    return array, list(dict.fromkeys(notes))


def _can_hold_voxels(stored: VoxelData, room: int, size: int) -> bool:
    if stored.encoding in ("raw", "text", "hex"):
        least = {"raw": size, "text": 2 * (size // stored.dtype.itemsize) - 1, "hex": 2 * size}
        return least[stored.encoding] <= room
    return can_hold(room, size, stored.encoding)


def _voxel_file(path: Path, name: str) -> Path:
    """Return the path of a file with voxels that a header names.

    Raises:
        FileError: If the file is missing, or is not a regular file in the folder of the header or below it.
    """
    named = shown(name, 200)
    if "\0" in name:
        raise FileError(
            f"{path} keeps its voxels in {named!r}, which is no name of a file; correct its header."
        )
    file = path.parent / name
    try:
        check_fetched(file)
        target = file.resolve()
        if not target.exists():
            raise FileError(
                f"{path} keeps its voxels in {named}, which does not exist; copy the two files together."
            )
        # Workflow managers link files into a working folder: the folder of the link's target is accepted too.
        folders = path.parent.resolve(), path.resolve().parent
        if not any(map(target.is_relative_to, folders)) or not target.is_file():
            raise FileError(
                f"{path} keeps its voxels in {named}, which is no plain file beside or below it and is not read; "
                "put a copy of the voxels there and correct the header."
            )
    except (OSError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        raise FileError(f"{path} keeps its voxels in {named}, which cannot be read: {why}.") from error
    return target


def _open_regular(file: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe that replaced the file meanwhile is refused without blocking."""
    number = open_plain(file)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileError(f"{file} is a pipe or a device, not a file; write it to a file first.")
    return os.fdopen(number, "rb")


def _read_into(part: Any, stream: BinaryIO, stored: VoxelData) -> list[str]:
    """Decode voxels from a file into the byte array `part`; return notes on unused data after the voxels."""
    for _ in range(stored.lines):
        if not stream.readline():
            raise Damaged(ENDS_EARLY)
    if stored.encoding in ("text", "hex"):
        stream.seek(max(0, stored.skip), os.SEEK_CUR)
        read = _text_into if stored.encoding == "text" else _hex_into
        done, behind = read(part, stream, stored)
        if done < len(part):
            raise Damaged(ENDS_EARLY)
        return trailing_notes(behind)
    if stored.encoding == "raw":
        if stored.skip < 0:
            stream.seek(-len(part), os.SEEK_END)
        else:
            stream.seek(stored.skip, os.SEEK_CUR)
        if _fill(part, stream) < len(part):
            raise Damaged(ENDS_EARLY)
        return trailing_notes(os.fstat(stream.fileno()).st_size - stream.tell())
    with Unzipped(stream, _packed_with(stream, stored.encoding), size=stored.packed) as unpacked:
        unpacked.seek(max(0, stored.skip))
        if unpacked.readinto(part) < len(part):
            raise Damaged(ENDS_EARLY)
        return trailing_notes(finish(unpacked)) + trailing_notes(unpacked.trailing, packed=True)


def _packed_with(stream: BinaryIO, encoding: str) -> str:
    """Return the compression of the data at the position of a stream.

    Data declared as "zlib" may be gzip, which MetaImage does not distinguish.
    """
    at = stream.tell()
    gzip = encoding == "zlib" and stream.read(2) == b"\x1f\x8b"
    stream.seek(at)
    return "gzip" if gzip else encoding


def _fill(part: Any, stream: BinaryIO) -> int:
    done = 0
    while done < len(part) and (count := stream.readinto(part[done : done + _PIECE])):  # type: ignore[attr-defined]
        done += count
    return done


def _pieces_of_text(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a text file in pieces that end between two words.

    Raises:
        Damaged: If a word is longer than any number.
    """
    rest = b""
    while piece := stream.read(_PIECE):
        cut = max(piece.rfind(mark) for mark in _BETWEEN) + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
        if len(rest) > _LONGEST_WORD:
            raise Damaged(f"its text has a word of over {_LONGEST_WORD:,} characters")
    yield rest


def _text_into(part: Any, stream: BinaryIO, stored: VoxelData) -> tuple[int, int]:
    """Parse numbers written as text into the byte array `part`.

    Returns:
        How many bytes of `part` were filled, and how many bytes of unused text follow.
    """
    dtype, done, behind = stored.dtype, 0, 0
    numbers = part.view(dtype)
    for piece in _pieces_of_text(stream):
        found = piece.replace(b",", b" ").split()
        words = found[: len(numbers) - done]
        behind += sum(map(len, found[len(words) :]))
        if not words:
            continue
        # NumPy allocates the length of the longest word for each word.
        if max(map(len, words)) > _LONGEST_WORD:
            raise Damaged(f"its text has a word of over {_LONGEST_WORD:,} characters")
        try:
            parsed = np.array(words).astype(dtype if dtype.kind == "f" or dtype.itemsize == 8 else np.int64)
        except (ValueError, OverflowError) as error:
            raise Damaged("its text holds what is no number of its type") from error
        if dtype.kind in "iu" and dtype.itemsize < 8:
            bounds = np.iinfo(dtype)
            if parsed.min() < bounds.min or parsed.max() > bounds.max:
                raise Damaged("its text holds what is no number of its type")
        numbers[done : done + len(words)] = parsed
        done += len(words)
    return done * dtype.itemsize, behind


def _hex_into(part: Any, stream: BinaryIO, stored: VoxelData) -> tuple[int, int]:
    """Parse bytes written as hexadecimal digits into the byte array `part`.

    Returns:
        How many bytes of `part` were filled, and how many unused digits follow.
    """
    done, behind, odd = 0, 0, b""
    while piece := stream.read(_PIECE):
        present = odd + b"".join(piece.split())
        digits = present[: 2 * (len(part) - done)]
        behind += len(present) - len(digits)
        odd = digits[len(digits) // 2 * 2 :]
        digits = digits[: len(digits) // 2 * 2]
        try:
            found = bytes.fromhex(digits.decode("ascii"))
        except ValueError as error:
            raise Damaged("its text holds what are no hexadecimal digits") from error
        part[done : done + len(found)] = np.frombuffer(found, np.uint8)
        done += len(found)
    return done, behind
