"""What NRRD and MetaImage have in common: a header of text, and the voxels behind it or in files that it names.

Headers are not trusted: every number is checked before it is used, only plain files in the header's folder or below it
are opened, and no memory is allocated for more voxels than the files can hold.
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
from softmorph_cli.io.provenance import SIGNATURE, as_text
from softmorph_cli.io.raw import LABELS, ONE, REVERSED, Affine, Array, Encoding, time_step_of
from softmorph_cli.io.room import check_room
from softmorph_cli.io.zipped import Unzipped, can_hold, finish, told_behind
from softmorph_cli.system.descriptors import open_plain
from softmorph_cli.system.units import MILLIMETRES, TimeStep
from softmorph_cli.volume import Volume, places

# World coordinates are LPS there and RAS here.
LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
MOST_AXES: Final = 16
LONGEST_HEADER: Final = 1 << 22
_PIECE = 1 << 20
# No whole number of a header is larger.
_MOST: Final = 1 << 62
# The separators of numbers in text, and a length that no number in text has.
_BETWEEN: Final = (b" ", b"\t", b"\r", b"\n", b",")
_LONGEST_WORD: Final = 400
_WRITTEN_AT_ONCE = 1 << 24
# name%03d.raw 1 20 1: a file for each number.
_SERIES = re.compile(
    r"([^%]*)%(0?)([0-9]{0,2})d([^%\s]*)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d+)?"
)


@dataclass(frozen=True)
class Fields:
    """The fields of a header; its methods parse and check their values.

    Attributes:
        path: The file.
        title: The name of its format, for messages.
        texts: The values of the fields, by name.
    """

    path: Path
    title: str
    texts: Mapping[str, str]

    def __contains__(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self.texts

    def refused(self, name: str, wanted: str) -> FileError:
        """Return the error that names a field, its value, and what belongs there instead (`wanted`)."""
        found = f"{name} {shown(self.texts[name])!r}" if name in self.texts else f"no {name}"
        return FileError(
            f"{self.path} has a {self.title} header with {found}, where {wanted} belongs; "
            "correct it, or write the file again from its source."
        )

    def words(self, name: str, count: int | None = None) -> list[str]:
        """Return the words of a field.

        Raises:
            FileError: If there are not `count` of them.
        """
        found = self.texts.get(name, "").split()
        if count is not None and len(found) != count:
            raise self.refused(name, "one word" if count == 1 else f"a list of {count}")
        return found

    def whole(self, name: str, count: int, *, least: int, most: int = _MOST) -> list[int]:
        """Return whole numbers.

        Raises:
            FileError: If there are not `count` of them from `least` to `most`.
        """
        words = self.words(name)
        right = all(re.fullmatch(r"[+-]?\d{1,19}", word) and least <= int(word) <= most for word in words)
        if len(words) != count or not right:
            what = "a whole number" if count == 1 else f"a list of {count} whole numbers"
            raise self.refused(name, f"{what} from {least} {'on' if most == _MOST else f'to {most}'}")
        return [int(word) for word in words]

    def one_of(self, name: str, known: dict[str, Any]) -> Any:
        """Return the meaning of a field whose value is one of a few words.

        Raises:
            FileError: If the word is not among `known`.
        """
        word = " ".join(self.texts.get(name, "").split()).lower()
        if word not in known:
            firsts = {value: key for key, value in reversed(known.items())}
            raise self.refused(name, f"one of {', '.join(reversed(firsts.values()))}")
        return known[word]

    def reals(self, name: str, count: int) -> list[float]:
        """Return real numbers, NaN in place of words that are not finite numbers.

        Raises:
            FileError: If there are not `count` of them.
        """
        return [real(word) for word in self.words(name, count)]


def real(word: str) -> float:
    """Return the finite number that a word is, else NaN."""
    try:
        number = float(word)
    except ValueError:
        return float("nan")
    return number if isfinite(number) else float("nan")


def shown(text: str, most: int = 60) -> str:
    """Return a text from a file in one line, with control characters escaped, cut after `most` characters."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return plain if len(plain) <= most else f"{plain[:most]}..."


def decoded(text: bytes) -> str:
    """Decode text as UTF-8, or as Latin-1 if it is not valid UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


@dataclass(frozen=True)
class Stored:
    """Where an array is stored and how it is encoded.

    Attributes:
        dtype: The element type, with its byte order.
        shape: The slowest axis first.
        encoding: "raw", "gzip", "zlib", "bzip2", "text" or "hex".
        files: The files that hold equal parts of the array, in order; None for the file of the header.
        start: At which byte of each file its data begin, packed or not.
        lines: How many lines are skipped after that.
        skip: How many bytes are skipped after that, counted after unpacking; -1: the voxels are the file's last bytes.
        packed: The size of the packed data in bytes, where the header says it.
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
        text: The field: a name, LIST, or a series (a name with %d in it, the first number, the last one and the step).
        listed: The names that follow LIST.
        count: The number of voxels.
        path: The header.

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


def load(stored: Stored, path: Path) -> tuple[Array, list[str]]:
    """Read an array.

    Args:
        stored: Where it is stored and how it is encoded.
        path: The header.

    Returns:
        A new array in this machine's byte order, and notes.

    Raises:
        FileError: If one of its files is missing, or is not a plain file in the header's folder or below it.
        InputError: If it does not fit into memory.
        Damaged: If the data end too early or cannot be unpacked.
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
                stream.seek(stored.start)
                part = flat[number * each : (number + 1) * each]
                notes += _read_into(part, stream, stored)
    if not stored.dtype.isnative:
        array = array.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))
    return array, list(dict.fromkeys(notes))


def _fits(stored: Stored, room: int, size: int) -> bool:
    if stored.encoding in ("raw", "text", "hex"):
        least = {"raw": size, "text": 2 * (size // stored.dtype.itemsize) - 1, "hex": 2 * size}
        return least[stored.encoding] <= room
    return can_hold(room, size, stored.encoding)


def _beside(path: Path, name: str) -> Path:
    """Return the path of a file with voxels that a header names.

    Raises:
        FileError: If it is missing, or is not a plain file in the header's folder or below it.
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
    """Open a plain file, without blocking if it was replaced by a pipe in the meantime."""
    number = open_plain(file)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileError(f"{file} is a pipe or a device, not a file; write it to a file first.")
    return os.fdopen(number, "rb")


def _read_into(part: Any, stream: BinaryIO, stored: Stored) -> list[str]:
    """Fill `part` from a file; the notes tell of data behind the voxels, which every encoding may have."""
    for _ in range(stored.lines):
        if not stream.readline():
            raise Damaged(ENDS_EARLY)
    if stored.encoding in ("text", "hex"):
        stream.seek(max(0, stored.skip), os.SEEK_CUR)
        read = _text_into if stored.encoding == "text" else _hex_into
        done, behind = read(part, stream, stored)
        if done < len(part):
            raise Damaged(ENDS_EARLY)
        return told_behind(behind)
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
        return told_behind(finish(unpacked)) + told_behind(unpacked.behind, packed=True)


def _packed_with(stream: BinaryIO, encoding: str) -> str:
    """Return the compression of data: MetaImage does not say whether it is zlib or gzip."""
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
    """Yield text in pieces that end between two words.

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


def _text_into(part: Any, stream: BinaryIO, stored: Stored) -> tuple[int, int]:
    """Fill `part` with numbers in text; return how many bytes were filled, and how many of text are left over."""
    dtype, done, behind = stored.dtype, 0, 0
    numbers = part.view(dtype)
    for piece in _pieces_of_text(stream):
        found = piece.replace(b",", b" ").split()
        words = found[: len(numbers) - done]
        behind += sum(map(len, found[len(words) :]))
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
    return done * dtype.itemsize, behind


def _hex_into(part: Any, stream: BinaryIO, stored: Stored) -> tuple[int, int]:
    """Fill `part` with bytes in hexadecimal digits; return as `_text_into`."""
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


@dataclass(frozen=True)
class Grid:
    """An array in the order in which both formats write it, and its geometry.

    Attributes:
        array: The slowest axis first; channels are the last axis.
        axes: A letter for each of its axes.
        steps: In LPS: a row for each axis of space, x first; None where the position is not known.
        origin: In LPS.
        sizes: Of voxels, x first, or None.
        unit: That of steps, origin and sizes; None where it is not known.
        time: The step along the axis of time, or None.
        lost: What cannot be kept.
    """

    array: Array
    axes: str
    steps: Affine | None
    origin: Affine | None
    sizes: tuple[float, ...] | None
    unit: str | None
    time: TimeStep | None
    lost: list[str]

    @property
    def letters(self) -> str:
        """The axes of space and time, the fastest first."""
        return self.axes.replace("C", "")[::-1]


def as_grid(volume: Volume, array: Array, title: str, unit: str | None) -> Grid:
    """Bring `array`, the values of `volume`, into the axis order, the coordinates and the unit that a file has.

    Args:
        volume: The map.
        array: Its values as they are stored.
        title: The format, for messages.
        unit: The unit of length that is written; None: that of the map.

    Raises:
        InputError: If it has more axes than NRRD and MetaImage name.
    """
    others = volume.mapped_axes.replace("C", "")
    if len(others) > 1:
        raise InputError(f"{title} holds one axis beside channels and space, not {others!r}; write .npy.")
    axes, affine, lost = volume.axes, volume.affine, []
    known = volume.unit in MILLIMETRES or volume.spacing is None
    own = volume.unit if volume.unit in MILLIMETRES else "mm"
    unit = unit or own
    assert own is not None
    assert unit is not None
    sizes = volume.spacing
    if sizes is not None and known:
        sizes = tuple(size * (MILLIMETRES[own] / MILLIMETRES[unit]) for size in sizes)
    if not known:
        lost.append(f"the unit of its voxel size is unknown; {title} readers take it as mm.")
    world = np.eye(4) if affine is None else (LPS @ affine)[:, REVERSED]
    world[:3] /= MILLIMETRES[unit]
    if volume.spatial_dims == 2 and (others or (affine is not None and not _in_plane(affine))):
        array, axes = np.expand_dims(array, -3), f"{volume.mapped_axes}ZYX"
        depth = 1.0 if affine is None else float(np.linalg.norm(world[:3, 2]))
        sizes = None if sizes is None else (depth, *sizes)
    if "C" in axes:
        array, axes = np.moveaxis(array, axes.index("C"), -1), f"{axes.replace('C', '')}C"
    if volume.channels:
        lost.append(f"{title} cannot hold the channel names {', '.join(volume.channels)}.")
    steps = origin = None
    if affine is not None:
        dims = 3 if "Z" in axes else 2
        steps, origin = world[:dims, :dims].T, world[:dims, 3]
        sizes = tuple(np.linalg.norm(steps, axis=1).tolist())
    elif sizes is not None:
        sizes = tuple(reversed(sizes))
    return Grid(
        np.ascontiguousarray(array),
        axes,
        steps,
        origin,
        sizes,
        unit if known else None,
        time_step_of(volume),
        lost,
    )


def signed(texts: Mapping[str, str], array: Array, encoding: Encoding) -> dict[str, str]:
    """Return the texts of a header with what softmorph says of the values, in place of what a source said of its own.

    Args:
        texts: Those of the source, by key.
        array: The numbers that are stored.
        encoding: What they are.
    """
    provenance = encoding.provenance
    said = {
        ONE: str(encoding.one) if encoding.one != 1 else "",
        LABELS: str(array.max()) if encoding.labels else "",
        SIGNATURE: as_text(provenance) if provenance else texts.get(SIGNATURE, ""),
    }
    kept = {key: text for key, text in texts.items() if key not in said}
    return {**kept, **{key: text for key, text in said.items() if text}}


def misplaced(affine: Affine, directions: str, origin: str) -> str | None:
    """Return which of two fields makes an affine place no voxels, None where it places them."""
    if places(affine):
        return None
    turned = affine.copy()
    turned[:, 3] = 0, 0, 0, 1
    return origin if places(turned) else directions


def pieces(array: Array) -> Iterator[Any]:
    """Yield the little-endian bytes of an array in pieces, so that no second copy of it is in memory."""
    flat: Any = array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)
    for start in range(0, len(flat), _WRITTEN_AT_ONCE):
        yield flat[start : start + _WRITTEN_AT_ONCE]


def affine_of(steps: Affine, origin: Affine) -> Affine:
    """Return the affine from the index (z, y, x, 1) to RAS.

    Args:
        steps: In LPS: a row for each of x, y (and z). For a plane in space, the step along z is the unit normal,
            x cross y.
        origin: In LPS.
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
    """Whether the image lies in the plane z = 0, so that two coordinates are enough."""
    return bool(np.allclose(affine[2, 1:], 0) and np.allclose(affine[:2, 0], 0))


def numbers(values: Any) -> str:
    """Format numbers as the shortest decimals that parse to the same values."""
    return " ".join(repr(float(value)).removesuffix(".0") for value in values)
