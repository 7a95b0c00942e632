"""The store of tile images between passes: one compressed file for each tile, part and pass, in a scratch folder.

Floating-point values are stored as unsigned integers with the same bits, so that 0 is all zeros as in bit planes. The
image of a tile is split into pieces, so that only the pieces within the halo of a neighbouring tile are decompressed
for this neighbour. Files are never changed: a pass writes new files, and files that no tile needs are removed.
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
from typing import Final, cast

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.blocks import Array
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.system.files import flush
from softmorph_cli.tiled.tile_boxes import Box, Tiling, overlap, pieces, size, within

# Largest extent of a piece along an axis: small enough to divide a tile among threads, and to take little memory.
LONGEST: Final = 64

# In place of the length of a piece that has a single value and takes no bytes.
_EMPTY, _FULL = 0, -1

_SUFFIX: Final = ".planes"


@dataclass(frozen=True)
class ImageKey:
    """The key of a stored image of a tile.

    Attributes:
        part: Index of the part of the filter that computes the image.
        tile: Index of the tile.
        version: Number of the pass that wrote the image, from 1.
    """

    part: int
    tile: int
    version: int

    @property
    def name(self) -> str:
        """The name of the file that stores the image."""
        return f"{self.part}-{self.tile}-{self.version}{_SUFFIX}"


@dataclass(frozen=True)
class ImageLayout:
    """The storage layout of the images of a part of the filter.

    Attributes:
        margin: The width of the halo of a neighbouring tile along each axis.
        dtype: The unsigned integer dtype that a voxel is stored as.
    """

    margin: tuple[int, ...]
    dtype: np.dtype[np.unsignedinteger]


class DamagedError(FileError):
    """An error that is raised if the stored image of a tile is missing or damaged."""


class PlaneStore:
    """A store of compressed images of tiles in a folder.

    Args:
        folder: An existing folder that only this store uses.
        tiling: The division of the map into tiles.
        layouts: The storage layout of the images of each part of the filter.
        threads: Number of threads that compress and decompress.
    """

    def __init__(self, folder: Path, tiling: Tiling, layouts: Sequence[ImageLayout], threads: int) -> None:
        self.folder, self.tiling, self.layouts, self.threads = folder, tiling, layouts, threads
        self._flushed: set[Path] = set()

    def write(self, key: ImageKey, image: Array) -> int:
        """Write the image of a tile, and return the size of the file in bytes.

        Raises:
            FileError: If the file cannot be written.
        """
        from isal import isal_zlib

        layout = self.layouts[key.part]
        boxes = pieces(image.shape, layout.margin, LONGEST)
        packed: list[bytes | int] = [0] * len(boxes)

        def compress(first: int, last: int) -> None:
            for number in range(first, last):
                piece = np.ascontiguousarray(image[boxes[number]])
                low = piece.flat[0]
                if low in (0, np.iinfo(layout.dtype).max) and bool((piece == low).all()):
                    packed[number] = _EMPTY if low == 0 else _FULL
                else:
                    packed[number] = isal_zlib.compress(piece, 1)

        Pool(self.threads, image.size).share(compress, len(boxes))
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
        """Return the image of a region, which may cover several tiles.

        Args:
            region: The region.
            part: Index of the part of the filter.
            versions: Maps each tile that overlaps the region to the number of the pass that wrote the image to read.

        Raises:
            DamagedError: If a file is missing or damaged.
        """
        image = np.empty(size(region), self.layouts[part].dtype)
        wanted = [
            work
            for tile in self.tiling.touched(region)
            for work in self._wanted(ImageKey(part, tile, versions[tile]), region)
        ]

        def copy(first: int, last: int) -> None:
            for key, box, start, length in wanted[first:last]:
                common = overlap(box, region)
                assert common is not None
                values = self._piece(key, size(box), start, length)
                target = image[within(common, region)]
                target[...] = values if isinstance(values, int) else values[within(common, box)]

        Pool(self.threads, image.size).share(copy, len(wanted))
        return image

    def _wanted(self, key: ImageKey, region: Box) -> Iterator[tuple[ImageKey, Box, int, int]]:
        core = self.tiling.core(key.tile)
        boxes = pieces(size(core), self.layouts[key.part].margin, LONGEST)
        head = 8 * len(boxes)
        with self._damage(key), (self.folder / key.name).open("rb") as file:
            lengths = struct.unpack(f"<{len(boxes)}q", file.read(head))
            filled = head + sum(max(count, 0) for count in lengths)
            if min(lengths) < _FULL or filled != os.fstat(file.fileno()).st_size:
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

    def _piece(self, key: ImageKey, shape: tuple[int, ...], start: int, length: int) -> Array | int:
        from isal import isal_zlib

        dtype = self.layouts[key.part].dtype
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
    def _damage(self, key: ImageKey) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, struct.error) as error:
            raise DamagedError(
                f"{self.folder / key.name}: what was kept between passes is missing or damaged ({error}); "
                "start again without resuming."
            ) from error

    def keep(self, keys: Iterable[ImageKey]) -> None:
        """Remove the files of all images except those with the given keys."""
        names = {key.name for key in keys}
        for path in self.folder.iterdir():
            if path.suffix == ".part" or (path.suffix == _SUFFIX and path.name not in names):
                path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Flush the files of all images to the disk, including files that other processes wrote.

        Raises:
            FileError: If the files cannot be flushed.
        """
        files = {path for path in self.folder.iterdir() if path.suffix == _SUFFIX}
        with written(self.folder):
            flush([*(files - self._flushed), self.folder])
        self._flushed = files


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Convert an OSError raised within the block, in which files are written to `folder`, to a FileError.

    Raises:
        FileError: If the block raises an OSError; the message names the folder and advises what to do.
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
