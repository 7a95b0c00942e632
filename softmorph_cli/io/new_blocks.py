"""A new OME-Zarr, written block by block: maps larger than memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.blocks import Blocks
from softmorph_cli.io.formats import target_format
from softmorph_cli.io.omezarr import OmeZarr, filed_order, layout, stem
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.io.pyramid import create_coarser, pyramid_shapes
from softmorph_cli.io.raw import Array, Encoding, Provenance, kept_native, time_step_of
from softmorph_cli.io.stores import node, open_array
from softmorph_cli.io.storing import (
    chunk_file,
    chunk_shape,
    create_array,
    create_group,
    readable,
    reopen_array,
    workers,
)
from softmorph_cli.io.writing import as_filed, coarser_lost, encode
from softmorph_cli.level_sets import LevelSets, nested_levels
from softmorph_cli.system.files import check_writable, flush, not_written, replacing_store
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume


@dataclass(frozen=True)
class _Pyramid:
    """What the coarser resolutions are made with."""

    attributes: Mapping[str, Any]
    letters: str
    memory: int | None


class BlockWriter:
    """A store that is being written, by any number of threads, each voxel once.

    Pickled, it is one that another process writes whole chunks to; only that keeps two from writing the same one.

    Attributes:
        shape: Along the axes of space.
        chunks: Blocks made of whole ones, or that reach the end, are written side by side; others one by one.
        resumed: Whether an earlier run's store is gone on with.
        lost: What the file cannot keep, one sentence each.
    """

    def __init__(
        self,
        array: Any,
        along: tuple[int, ...],
        path: Path,
        folder: Path,
        dtype: str,
        pool: Any,
        resumed: bool,
        lost: list[str],
        levels: LevelSets | Literal["exact"] | None = None,
        pyramid: _Pyramid | None = None,
        kept: Path | None = None,
    ) -> None:
        """Write to an open array, to which blocks lie along some of its axes; for `create_blocks`."""
        self._array, self._path, self._folder, self._dtype, self._pool = array, path, folder, dtype, pool
        self._along = along
        self.shape: tuple[int, ...] = tuple(array.shape[axis] for axis in along)
        self.chunks: tuple[int, ...] = tuple(array.chunks[axis] for axis in along)
        self.resumed, self.lost, self._levels = resumed, lost, levels
        self._pyramid, self._kept = pyramid, kept
        # Whether there are coarser resolutions that a block written now would contradict.
        self._outdated = resumed and pyramid is not None
        self._elsewhere = self._complete = False
        self._alone = Lock()
        self._unflushed: set[Path] = set()
        self._noted = Lock()

    def __reduce__(self) -> tuple[Callable[..., BlockWriter], tuple[object, ...]]:
        """Pickle how to open it again; from now on others may write, and be killed in the middle of it."""
        if self._outdated:
            self._remove_coarser()
        self._elsewhere = True
        return _open_elsewhere, (self._along, self._path, self._folder, self._dtype, self._levels)

    def write(self, slices: Sequence[slice], block: Array) -> None:
        """Store a block of probabilities; when this returns, its chunks are in the folder.

        Raises:
            FileError: If the system refuses.
            InputError: If the block does not fit, or a mask is asked for and it holds other values.
        """
        cuts = self._cuts(slices)
        shape = tuple(cut.stop - cut.start for cut in cuts)
        if block.shape != shape:
            raise InputError(f"a block of shape {block.shape} does not fill one of {shape}.")
        stored, _ = encode(block, self._dtype, self._levels)
        self._complete = False
        if self._outdated:
            self._remove_coarser()
        if self._pool is None:
            if not self._whole(cuts):
                raise InputError(
                    f"{self._path}: a block that is not made of whole chunks is written by one process only."
                )
            self._put(cuts, stored)
            # Whoever is told that it is done cannot do this.
            self.flush()
            return
        # A part of a chunk is put in by writing the chunk again, which only one may do at a time.
        with nullcontext() if self._whole(cuts) else self._alone:
            # Each chunk in a thread that no signal interrupts, and none goes on when this has failed: see `workers`.
            begun = [
                self._pool.submit(self._put, box, stored[_within(box, cuts)]) for box in self._pieces(cuts)
            ]
            _, left = wait(begun, return_when=FIRST_EXCEPTION)
            for one in left:
                one.cancel()
            wait(left)
            for one in begun:
                if not one.cancelled():
                    one.result()

    def flush(self) -> None:
        """Bring what was written by this process since the last time to the disk.

        Raises:
            FileError: If the system refuses.
        """
        with self._noted:
            files, self._unflushed = self._unflushed, set()
        folders = {above for file in files for above in file.parents if above.is_relative_to(self._folder)}
        try:
            flush([*files, *folders])
        except OSError as error:
            raise not_written(self._path, error, kept=self._kept) from error

    @property
    def folder(self) -> Path:
        """The store, under the name that it has until it is done."""
        return self._folder.parent

    def has(self, slices: Sequence[slice]) -> bool:
        """Whether all chunks of a block are there and can be read, as an earlier run left them.

        Blocks that were made of whole chunks are there whole or not at all; of others, a part may be.
        """
        return all(
            readable(self._array, self._folder, self._among(number, 0))
            for number in self._numbers(self._cuts(slices))
        )

    def missing(self) -> int:
        """How many chunks are not there yet."""
        grid = (-(-size // one) for size, one in zip(self.shape, self.chunks, strict=True))
        return sum(not self._chunk(number).is_file() for number in np.ndindex(*grid))

    def complete(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Write the coarser resolutions, where there are to be any; all else has to be there.

        What an interrupted run wrote of them stays, unless a block has been written since.

        Args:
            progress: Called after every chunk: how many are done, and how many there are.

        Raises:
            FileError: If chunks were not written, what an interrupted run left is damaged, or the system refuses.
        """
        if self._complete:
            return
        if self._elsewhere:
            _remove_halves(self._folder)
        if left := self.missing():
            raise FileError(f"{self._path} is not complete: {left} of its chunks were not written.")
        if self._pyramid is None:
            self._complete = True
            return
        found = node(self._folder)
        assert found is not None
        try:
            create_coarser(
                self._folder.parent,
                self._pyramid.attributes,
                open_array(found, str(self._path)),
                self._pyramid.letters,
                memory=self._pyramid.memory,
                progress=progress,
            )
        except FileError as error:
            advice = f"; run again without {named('resume')}" if self.resumed else ""
            raise FileError(f"{self._path}: a chunk that was written of it is damaged{advice}.") from error
        except OSError as error:
            raise not_written(self._path, error, kept=self._kept) from error
        self._outdated = self._complete = True

    def _put(self, cuts: tuple[slice, ...], stored: Array) -> None:
        shape = self._among(stored.shape, 1)
        try:
            self._array[self._among(cuts, slice(0, 1))] = stored.reshape(shape)
        except OSError as error:
            raise not_written(self._path, error, kept=self._kept) from error
        with self._noted:
            self._unflushed.update(map(self._chunk, self._numbers(cuts)))

    def _numbers(self, cuts: tuple[slice, ...]) -> Iterator[tuple[int, ...]]:
        """The chunks that a block has part in."""
        return product(
            *(
                range(cut.start // one, -(-cut.stop // one))
                for cut, one in zip(cuts, self.chunks, strict=True)
            )
        )

    def _pieces(self, cuts: tuple[slice, ...]) -> Iterator[tuple[slice, ...]]:
        """A block chunk by chunk."""
        for number in self._numbers(cuts):
            yield tuple(
                slice(max(cut.start, n * one), min(cut.stop, (n + 1) * one))
                for cut, n, one in zip(cuts, number, self.chunks, strict=True)
            )

    def _remove_coarser(self) -> None:
        with self._alone:
            if self._outdated:
                for place in self._folder.parent.iterdir():
                    if place.is_dir() and place != self._folder:
                        shutil.rmtree(place)
                self._outdated = False

    def _chunk(self, number: tuple[int, ...]) -> Path:
        return chunk_file(self._array, self._folder, self._among(number, 0))

    def _among(self, own: Sequence[Any], other: Any) -> tuple[Any, ...]:
        return _among(self._array.ndim, self._along, own, other)

    def _cuts(self, slices: Sequence[slice]) -> tuple[slice, ...]:
        return tuple(slice(*part.indices(size)[:2]) for part, size in zip(slices, self.shape, strict=True))

    def _whole(self, cuts: tuple[slice, ...]) -> bool:
        return all(
            cut.start % one == 0 and (cut.stop % one == 0 or cut.stop == size)
            for cut, size, one in zip(cuts, self.shape, self.chunks, strict=True)
        )


@contextmanager
def create_blocks(
    path: str | Path,
    like: Blocks,
    *,
    dtype: str = "float32",
    chunks: Sequence[int] | None = None,
    force: bool = False,
    keep: bool = False,
    resume: bool = False,
    pyramid: bool = False,
    memory: int | None = None,
    provenance: Provenance | None = None,
) -> Iterator[BlockWriter]:
    """Write an OME-Zarr block by block; it takes its name when the block ends well, and every chunk is there.

    Args:
        path: A name that ends in .zarr.
        like: The map whose axes, geometry and version are those of the new one.
        dtype: float32, uint8 (255 means 1), uint16, or "mask" (0 and 1).
        chunks: The extent of a chunk; by default 64 or 128 along each axis.
        force: Whether an existing store may be replaced.
        keep: If the block raises, leave what was written beside `path`, for a later run to resume.
        resume: Go on with what an earlier run kept, if it is of the same shape, type, chunks and provenance;
            keeps it as well. `BlockWriter.has` says which blocks are there.
        pyramid: Whether coarser resolutions are written too, as by `write`: by `BlockWriter.complete`, or in the end.
        memory: Bytes that may be taken for them.
        provenance: As for `write`.

    Yields:
        What blocks are written to.

    Raises:
        FileError: As `write`; if the block ends and chunks were not written; or if what was kept is of
            another run.
        UsageError: If the name or the type is that of another format.
    """
    path = Path(path)
    family = target_format(path, WriteOptions(output_type=dtype))
    if not isinstance(family, OmeZarr):
        raise UsageError(f"{path}: a map larger than memory is written as OME-Zarr; end its name with .zarr.")
    check_writable(path, force=force, store=True)
    one = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    stored = "uint8" if dtype == "mask" else dtype
    place, letters, along = _filed(like, family)
    shape = _among(len(letters), along, like.shape, 1)
    if chunks is None:
        chunks = chunk_shape(shape, letters)
    else:
        chunks = _among(len(letters), along, tuple(map(min, like.shape, chunks)), 1)
    attributes, lost = layout(
        place,
        kept_native(place, family.name),
        pyramid_shapes(shape, letters) if pyramid else [shape],
        Encoding(one, provenance=provenance or {}),
        name=stem(path),
        step=time_step_of(place),
    )
    levels = nested_levels(provenance or {})
    if isinstance(levels, LevelSets) and dtype != "mask":
        levels.bounds(dtype)  # before anything is written
    lost += coarser_lost(levels) if pyramid else []
    coarser = _Pyramid(attributes, letters, memory) if pyramid else None
    with replacing_store(path, force=force, keep=keep, resume=resume) as folder:
        found = node(folder / "0") if resume else None
        if found is None:
            create_group(folder, attributes)
            array = create_array(folder / "0", attributes, shape, stored, chunks, letters.lower())
        else:
            array = _reopen(folder, attributes, shape, stored, chunks)
        with workers() as pool:
            resumed = found is not None
            kept = folder if keep or resume else None
            written = BlockWriter(
                array, along, path, folder / "0", dtype, pool, resumed, lost, levels, coarser, kept
            )
            yield written
        written.complete()


def _within(box: tuple[slice, ...], cuts: tuple[slice, ...]) -> tuple[slice, ...]:
    """Where a part of a block lies in it."""
    return tuple(
        slice(one.start - cut.start, one.stop - cut.start) for one, cut in zip(box, cuts, strict=True)
    )


def _among(count: int, along: Sequence[int], own: Sequence[Any], other: Any) -> tuple[Any, ...]:
    """Put what blocks have along each of their axes among all axes of an array, and `other` along the rest."""
    every = [other] * count
    for axis, one in zip(along, own, strict=True):
        every[axis] = one
    return tuple(every)


def _filed(like: Blocks, family: OmeZarr) -> tuple[Volume, str, tuple[int, ...]]:
    """The axes and the place of a map as `write` files it, of a single voxel.

    Returns:
        The place; the letters of all axes in order; which of them are those of `like`, the others being of size one.
    """
    axes = like.mapped + like.axes
    one = np.zeros((1,) * len(axes), np.float32)
    volume = Volume(one, axes, like.spacing, like.unit, like.affine, like.channels, like.source)
    place, _ = as_filed(volume, one, family)
    _, letters = filed_order(place.axes)
    spatial = [letter for letter in "ZYX" if letter in letters and letter != like.dropped]
    return place, letters, tuple(map(letters.index, spatial))


def _reopen(
    folder: Path, attributes: Any, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]
) -> Any:
    group, other = (
        node(folder),
        f"{folder} was kept by a run with other settings; remove it, or run without {named('resume')}.",
    )
    if group is None or dict(group.attributes) != json.loads(json.dumps(attributes)):
        raise FileError(other)
    array = reopen_array(folder / "0")
    if (tuple(array.shape), str(array.dtype), tuple(array.chunks)) != (shape, dtype, chunks):
        raise FileError(other)
    _remove_halves(folder)
    return array


def _open_elsewhere(
    along: tuple[int, ...],
    path: Path,
    folder: Path,
    dtype: str,
    levels: LevelSets | Literal["exact"] | None,
) -> BlockWriter:
    return BlockWriter(reopen_array(folder), along, path, folder, dtype, None, False, [], levels)


def _remove_halves(folder: Path) -> None:
    """Remove what was cut off in the middle of a chunk."""
    for left in folder.rglob("*.partial"):
        left.unlink(missing_ok=True)
