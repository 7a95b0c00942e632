"""What lies between passes: one compressed file per tile, part and pass, in a scratch folder.

Planes are kept as they are and values as their bits, so that in both 0 is nothing but zeros. A tile is cut into
pieces, so that a neighbour's halo decompresses the pieces it touches and no more. Files are never changed: a pass
writes new ones, and the old ones are removed when no tile needs them any more.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.raw import Array
from softmorph_cli.kernels.workers import Pool
from softmorph_cli.system.files import flush
from softmorph_cli.tiled.tiling import Box, Tiling, overlap, pieces, size, within

# Of a piece, along each axis: small enough that threads share a tile and that little lies beside it in memory.
LONGEST: Final = 64

# A piece of one value takes no bytes: these stand in the place of a length.
_EMPTY, _FULL = 0, -1

_SUFFIX: Final = ".planes"


@dataclass(frozen=True)
class Key:
    """Which image of a tile: that of a part, as a pass left it."""

    part: int
    tile: int
    version: int

    @property
    def name(self) -> str:
        """The file's."""
        return f"{self.part}-{self.tile}-{self.version}{_SUFFIX}"


@dataclass(frozen=True)
class Form:
    """How the images of a part are kept.

    Attributes:
        margin: How far neighbours look into a tile.
        dtype: Of a voxel.
    """

    margin: tuple[int, ...]
    dtype: np.dtype[np.unsignedinteger]


class DamagedError(FileError):
    """What was kept between passes cannot be read any more."""


class Store:
    """Images of tiles in a folder.

    Args:
        folder: Exists; files in it are this store's alone.
        tiling: How the map is cut.
        forms: One for each part.
        threads: How many compress and decompress.
    """

    def __init__(self, folder: Path, tiling: Tiling, forms: Sequence[Form], threads: int) -> None:
        """Keep what is needed to find files."""
        self.folder, self.tiling, self.forms, self.threads = folder, tiling, forms, threads
        self._flushed: set[Path] = set()

    def write(self, key: Key, image: Array) -> int:
        """Write a tile's image; return the bytes it takes.

        Raises:
            FileError: If the system refuses to.
        """
        from isal import isal_zlib

        form = self.forms[key.part]
        boxes = pieces(image.shape, form.margin, LONGEST)
        packed: list[bytes | int] = [0] * len(boxes)

        def part(first: int, last: int) -> None:
            for number in range(first, last):
                piece = np.ascontiguousarray(image[boxes[number]])
                low = piece.flat[0]
                if low in (0, np.iinfo(form.dtype).max) and bool((piece == low).all()):
                    packed[number] = _EMPTY if low == 0 else _FULL
                else:
                    packed[number] = isal_zlib.compress(piece, 1)

        Pool(self.threads, image.size).share(part, len(boxes))
        lengths = [len(piece) if isinstance(piece, bytes) else piece for piece in packed]
        path = self.folder / key.name
        temporary = path.with_name(f"{secrets.token_hex(6)}.part")
        with written(self.folder):
            try:
                with temporary.open("wb") as file:
                    file.write(struct.pack(f"<{len(lengths)}q", *lengths))
                    file.writelines(piece for piece in packed if isinstance(piece, bytes))
                temporary.replace(path)
            finally:
                with suppress(OSError):
                    temporary.unlink()
        return 8 * len(lengths) + sum(max(length, 0) for length in lengths)

    def read(self, region: Box, part: int, versions: Mapping[int, int]) -> Array:
        """Return the image of a region that may lie in many tiles.

        Args:
            region: Which voxels.
            part: Of which part.
            versions: Of each tile that shares voxels with the region: the pass that wrote its image.

        Raises:
            DamagedError: If a file is missing or damaged.
        """
        image = np.empty(size(region), self.forms[part].dtype)
        wanted = [
            work
            for tile in self.tiling.touched(region)
            for work in self._wanted(Key(part, tile, versions[tile]), region)
        ]

        def some(first: int, last: int) -> None:
            for key, box, start, length in wanted[first:last]:
                common = overlap(box, region)
                assert common is not None
                values = self._piece(key, size(box), start, length)
                target = image[within(common, region)]
                target[...] = values if isinstance(values, int) else values[within(common, box)]

        Pool(self.threads, image.size).share(some, len(wanted))
        return image

    def _wanted(self, key: Key, region: Box) -> Iterator[tuple[Key, Box, int, int]]:
        core = self.tiling.core(key.tile)
        boxes = pieces(size(core), self.forms[key.part].margin, LONGEST)
        head = 8 * len(boxes)
        with self._damage(key), (self.folder / key.name).open("rb") as file:
            lengths = struct.unpack(f"<{len(boxes)}q", file.read(head))
            if min(lengths) < _FULL or head + sum(max(count, 0) for count in lengths) != _size_of(file):
                raise ValueError("its pieces do not fill it")
        start = head
        for box, length in zip(boxes, lengths, strict=True):
            placed = tuple(
                slice(part.start + whole.start, part.stop + whole.start)
                for part, whole in zip(box, core, strict=True)
            )
            if overlap(placed, region) is not None:
                yield key, placed, start, length
            start += max(length, 0)

    def _piece(self, key: Key, shape: tuple[int, ...], start: int, length: int) -> Array | int:
        from isal import isal_zlib

        dtype = self.forms[key.part].dtype
        if length in (_EMPTY, _FULL):
            return 0 if length == _EMPTY else int(np.iinfo(dtype).max)
        with self._damage(key):
            with (self.folder / key.name).open("rb") as file:
                file.seek(start)
                packed = file.read(length)
            try:
                return np.frombuffer(isal_zlib.decompress(packed), dtype).reshape(shape)
            except cast("type[Exception]", isal_zlib.error) as error:
                raise ValueError(str(error)) from error

    @contextmanager
    def _damage(self, key: Key) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, struct.error) as error:
            raise DamagedError(
                f"{self.folder / key.name}: what was kept between passes is missing or damaged ({error}); "
                "start again without resuming."
            ) from error

    def keep(self, keys: Iterable[Key]) -> None:
        """Remove every file of an image but these."""
        names = {key.name for key in keys}
        for path in self.folder.iterdir():
            if path.suffix == ".part" or (path.suffix == _SUFFIX and path.name not in names):
                path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Bring all images to the disk, whoever wrote them.

        Raises:
            FileError: If the system refuses to.
        """
        there = {path for path in self.folder.iterdir() if path.suffix == _SUFFIX}
        with written(self.folder):
            flush([*(there - self._flushed), self.folder])
        self._flushed = there


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Turn what the system says about writing into words.

    Raises:
        FileError: Naming the folder and what to do.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "its disk is full; free some space or name" if full else f"{error.strerror or error}; name"
        raise FileError(
            f"{folder} cannot hold what lies between passes: {reason} another --scratch."
        ) from error
