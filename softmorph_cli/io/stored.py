"""The voxels behind a header of text, as NRRD and MetaImage keep them; read in Python, and no header is trusted.

Readers in C take counts and names from such headers as they are. Here every number is checked before it is used,
files are plain ones beside or below the header, and no memory is taken for what the files cannot hold.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged
from softmorph_cli.io.pointers import check_fetched
from softmorph_cli.io.raw import REVERSED, Affine, Array, in_millimetres
from softmorph_cli.io.room import check_room
from softmorph_cli.io.zipped import Unzipped, can_hold, finish, told_behind
from softmorph_cli.units import MILLIMETRES
from softmorph_cli.volume import Volume

# World coordinates are LPS there and RAS here.
LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
MOST_AXES: Final = 16
LONGEST_HEADER: Final = 1 << 22
_PIECE = 1 << 20
# Between words of text, and longer than any number that is written out.
_BETWEEN: Final = (b" ", b"\t", b"\r", b"\n", b",")
_LONGEST_WORD: Final = 400
_WRITTEN_AT_ONCE = 1 << 24
# name%03d.raw 1 20 1: a file for each number.
_SERIES = re.compile(
    r"([^%]*)%(0?)([0-9]{0,2})d([^%\s]*)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d+)?"
)


@dataclass(frozen=True)
class Fields:
    """The fields of a header by name, and the numbers in them.

    Attributes:
        path: The file.
        title: Of its family.
        texts: What the fields hold.
    """

    path: Path
    title: str
    texts: Mapping[str, str]

    def __contains__(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self.texts

    def refused(self, name: str, wanted: str) -> FileError:
        """What is wrong with a field: found is what it holds, `wanted` what it should."""
        found = f"{name} {shown(self.texts[name])!r}" if name in self.texts else f"no {name}"
        return FileError(
            f"{self.path} has a {self.title} header with {found}, where {wanted} belongs; "
            "correct it, or write the file again from its source."
        )

    def words(self, name: str, count: int | None = None) -> list[str]:
        """The words of a field, as many as there should be."""
        found = self.texts.get(name, "").split()
        if count is not None and len(found) != count:
            raise self.refused(name, "one word" if count == 1 else f"a list of {count}")
        return found

    def whole(self, name: str, count: int, *, least: int, most: int | None = None) -> list[int]:
        """Whole numbers within bounds."""
        words = self.words(name)
        highest = 1 << 62 if most is None else most
        right = all(re.fullmatch(r"[+-]?\d{1,19}", word) and least <= int(word) <= highest for word in words)
        if len(words) != count or not right:
            what = "a whole number" if count == 1 else f"a list of {count} whole numbers"
            raise self.refused(name, f"{what} from {least} {'on' if most is None else f'to {most}'}")
        return [int(word) for word in words]

    def one_of(self, name: str, known: dict[str, Any]) -> Any:
        """What the word in a field stands for."""
        word = " ".join(self.texts.get(name, "").split()).lower()
        if word not in known:
            firsts = {value: key for key, value in reversed(known.items())}
            raise self.refused(name, f"one of {', '.join(reversed(firsts.values()))}")
        return known[word]

    def reals(self, name: str, count: int) -> list[float]:
        """Real numbers; what is none is NaN."""
        return [real(word) for word in self.words(name, count)]


def real(word: str) -> float:
    """A number, NaN for what is none or has no end."""
    try:
        number = float(word)
    except ValueError:
        return float("nan")
    return number if isfinite(number) else float("nan")


def shown(text: str, most: int = 60) -> str:
    """A text from a file, in one line and without what a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return plain if len(plain) <= most else f"{plain[:most]}..."


def decoded(text: bytes) -> str:
    """Text in UTF-8, or in Latin-1 where it is none."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


@dataclass(frozen=True)
class Stored:
    """Where and how the numbers of an array lie.

    Attributes:
        dtype: The element type, with its byte order.
        shape: The slowest axis first.
        encoding: "raw", "gzip", "zlib", "bzip2", "text" or "hex".
        files: One after the other; None for the file that the header is in.
        start: Where the voxels begin in the file that the header is in.
        lines: How many lines are skipped before them.
        skip: How many bytes are, unpacked ones where they are packed; -1: they are the last bytes of a file.
        packed: How many bytes they are packed, where the header says it.
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
    """The names of the files with voxels.

    Args:
        text: A name, LIST, or a series: a name with %d in it, the first number, the last one and the step.
        listed: The names that follow LIST.
        count: How many voxels there are; no more files are there.
        path: The header.

    Raises:
        FileError: If there are none, or more than voxels.
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


def load(stored: Stored, path: Path) -> tuple[Array, list[str]]:
    """Read the numbers of an array.

    Args:
        stored: Where and how they lie.
        path: The file with the header.

    Returns:
        The array in this machine's byte order, nobody else's, and notes.

    Raises:
        FileError: If their files are missing, or no plain files beside or below the header, or hold more of them.
        InputError: If they do not fit into memory.
        Damaged: If they end too early or do not unpack.
    """
    files = [path] if stored.files is None else [_beside(path, name) for name in stored.files]
    size = prod(stored.shape) * stored.dtype.itemsize
    each, left = divmod(size, len(files))
    if left:
        raise FileError(
            f"{path} keeps its voxels in {len(files)} files, among which {prod(stored.shape):,} of them cannot be "
            "divided; correct its header."
        )
    for file in files:
        if not _fits(stored, file.stat().st_size, each):
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
            with _opened(file) as stream:
                if stored.files is None:
                    stream.seek(stored.start)
                part = flat[number * each : (number + 1) * each]
                notes += _read_into(part, stream, stored, path)
    if not stored.dtype.isnative:
        array = array.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))
    return array, list(dict.fromkeys(notes))


def _fits(stored: Stored, room: int, size: int) -> bool:
    if stored.encoding in ("raw", "text", "hex"):
        least = {"raw": size, "text": 2 * (size // stored.dtype.itemsize) - 1, "hex": 2 * size}
        return least[stored.encoding] <= room
    return can_hold(room, size, stored.encoding)


def _beside(path: Path, name: str) -> Path:
    """The file with voxels that a header names.

    Raises:
        FileError: If it is missing, or no plain file in the header's folder or below.
    """
    said = shown(name, 200)
    if "\0" in name:
        raise FileError(
            f"{path} keeps its voxels in {said!r}, which is no name of a file; correct its header."
        )
    file = path.parent / name
    try:
        check_fetched(file)
        target = file.resolve()
        if not target.exists():
            raise FileError(
                f"{path} keeps its voxels in {said}, which does not exist; copy the two files together."
            )
        # Workflows link both files into a folder of theirs: beside the file that a linked header is will do.
        folders = path.parent.resolve(), path.resolve().parent
        if not any(map(target.is_relative_to, folders)) or not target.is_file():
            raise FileError(
                f"{path} keeps its voxels in {said}, which is no plain file beside or below it and is not read; "
                "put a copy of the voxels there and correct the header."
            )
    except (OSError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        raise FileError(f"{path} keeps its voxels in {said}, which cannot be read: {why}.") from error
    return target


def _opened(file: Path) -> BinaryIO:
    """Open a plain file; what has become a pipe since it was looked at does not block."""
    number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileError(f"{file} is a pipe or a device, not a file; write it to a file first.")
    return os.fdopen(number, "rb")


def _read_into(part: Any, stream: BinaryIO, stored: Stored, path: Path) -> list[str]:
    for _ in range(stored.lines):
        if not stream.readline():
            raise Damaged(ENDS_EARLY)
    if stored.encoding in ("text", "hex"):
        stream.seek(max(0, stored.skip), os.SEEK_CUR)
        read = _text_into if stored.encoding == "text" else _hex_into
        if read(part, stream, stored) < len(part):
            raise Damaged(ENDS_EARLY)
        return []
    if stored.encoding == "raw":
        if stored.skip < 0:
            stream.seek(-len(part), os.SEEK_END)
        else:
            stream.seek(stored.skip, os.SEEK_CUR)
        if _fill(part, stream) < len(part):
            raise Damaged(ENDS_EARLY)
        return told_behind(os.fstat(stream.fileno()).st_size - stream.tell())
    with Unzipped(stream, _packed_with(stream, stored.encoding), size=stored.packed) as unpacked:
        unpacked.seek(max(0, stored.skip))
        if unpacked.readinto(part) < len(part):
            raise Damaged(ENDS_EARLY)
        if finish(unpacked):
            raise FileError(
                f"{path} holds more numbers than its header says, {' x '.join(map(str, stored.shape))}; correct the "
                "sizes there."
            )
        return told_behind(unpacked.behind, packed=True)


def _packed_with(stream: BinaryIO, encoding: str) -> str:
    """Which way bytes are packed; MetaImages say only that they are, with zlib or gzip."""
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
    """Pieces of text that break no word.

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


def _text_into(part: Any, stream: BinaryIO, stored: Stored) -> int:
    dtype, done = stored.dtype, 0
    numbers = part.view(dtype)
    for piece in _pieces_of_text(stream):
        words = piece.replace(b",", b" ").split()[: len(numbers) - done]
        if not words:
            continue
        # NumPy takes as much memory for each word as for the longest.
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
    return done * dtype.itemsize


def _hex_into(part: Any, stream: BinaryIO, stored: Stored) -> int:
    done, odd = 0, b""
    while done < len(part) and (piece := stream.read(_PIECE)):
        digits = (odd + b"".join(piece.split()))[: 2 * (len(part) - done)]
        odd = digits[len(digits) // 2 * 2 :]
        digits = digits[: len(digits) // 2 * 2]
        try:
            found = bytes.fromhex(digits.decode("ascii"))
        except ValueError as error:
            raise Damaged("its text holds what are no hexadecimal digits") from error
        part[done : done + len(found)] = np.frombuffer(found, np.uint8)
        done += len(found)
    return done


@dataclass(frozen=True)
class Grid:
    """An array as both formats write it, and where it lies.

    Attributes:
        array: The slowest axis first; channels are the last axis.
        axes: A letter for each of its axes.
        steps: In LPS and mm: a row for each axis of space, x first; None where the place is not known.
        origin: In LPS and mm.
        sizes: Of voxels, x first, or None.
        in_mm: Whether they are known to be in mm.
        lost: What cannot be kept.
    """

    array: Array
    axes: str
    steps: Affine | None
    origin: Affine | None
    sizes: tuple[float, ...] | None
    in_mm: bool
    lost: list[str]

    @property
    def letters(self) -> str:
        """The axes of space and time, the fastest first."""
        return self.axes.replace("C", "")[::-1]


def as_grid(volume: Volume, array: Array, title: str) -> Grid:
    """Bring `array`, the values of `volume`, into the order and the place that NRRD and MetaImage know.

    Raises:
        InputError: If it has more axes than they name.
    """
    others = volume.mapped_axes.replace("C", "")
    if len(others) > 1:
        raise InputError(f"{title} holds one axis beside channels and space, not {others!r}; write .npy.")
    axes, sizes, affine = volume.axes, in_millimetres(volume), volume.affine
    if volume.spatial_dims == 2 and (others or (affine is not None and not _in_plane(affine))):
        array, axes = np.expand_dims(array, -3), f"{volume.mapped_axes}ZYX"
        depth = 1.0 if affine is None else float(np.linalg.norm(affine[:3, 0]))
        sizes = None if sizes is None else (depth, *sizes)
    if "C" in axes:
        array, axes = np.moveaxis(array, axes.index("C"), -1), f"{axes.replace('C', '')}C"
    lost = []
    in_mm = volume.unit in MILLIMETRES or affine is not None
    if sizes is not None and volume.unit not in MILLIMETRES:
        lost.append(f"the unit of its voxel size is unknown; {title} readers take it as mm.")
    if volume.channels:
        lost.append(f"{title} cannot hold the channel names {', '.join(volume.channels)}.")
    steps = origin = None
    if affine is not None:
        dims = 3 if "Z" in axes else 2
        world = (LPS @ affine)[:, REVERSED]
        steps, origin = world[:dims, :dims].T, world[:dims, 3]
        sizes = tuple(np.linalg.norm(steps, axis=1).tolist())
    elif sizes is not None:
        sizes = tuple(reversed(sizes))
    return Grid(np.ascontiguousarray(array), axes, steps, origin, sizes, in_mm, lost)


def pieces(array: Array) -> Iterator[Any]:
    """The bytes of an array, little-endian ones, in pieces: packed at once they would be in memory twice."""
    flat: Any = array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)
    for start in range(0, len(flat), _WRITTEN_AT_ONCE):
        yield flat[start : start + _WRITTEN_AT_ONCE]


def affine_of(steps: Affine, origin: Affine) -> Affine:
    """The affine over the index (z, y, x, 1) in RAS, of steps along x, y (and z) in LPS, one a row.

    A plane in space gets a step of length 1 across it, to the side from which x turns to y.
    """
    affine = np.eye(4)
    affine[: steps.shape[1], : len(steps)] = steps.T
    affine[: len(origin), 3] = origin
    if steps.shape == (2, 3):
        across = np.cross(*steps)
        affine[:3, 2] = across / (np.linalg.norm(across) or 1)
    return (LPS @ affine)[:, REVERSED]


def colours(array: Array, axis: int) -> bool:
    """Whether an axis holds the samples of colours."""
    return array.dtype == np.uint8 and array.shape[axis] in (3, 4)


def _in_plane(affine: Affine) -> bool:
    """Whether a 2-D image says it all: the plane is z = 0, and x and y stay in it."""
    return bool(np.allclose(affine[2, 1:], 0) and np.allclose(affine[:2, 0], 0))


def numbers(values: Any) -> str:
    """Numbers in the shortest words that stand for the same ones."""
    return " ".join(repr(float(value)).removesuffix(".0") for value in values)
