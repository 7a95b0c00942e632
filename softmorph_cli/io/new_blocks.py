"""Writing of maps larger than memory, block by block, into OME-Zarr stores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.boxes import Box, chunk_numbers, clipped, extent, part_in_chunk, relative
from softmorph_cli.io.formats import target_format
from softmorph_cli.io.omezarr import OmeZarr, filed_order, group_attributes, stem
from softmorph_cli.io.options import Pooling, WriteOptions
from softmorph_cli.io.pyramid import create_coarser, pyramid_shapes
from softmorph_cli.io.raw import Array, Encoding, Provenance, kept_native, time_step_of
from softmorph_cli.io.writing import as_filed, coarser_lost, encode
from softmorph_cli.io.zarr_reading import node, open_array
from softmorph_cli.io.zarr_writing import (
    chunk_file,
    chunk_shape,
    create_array,
    create_group,
    readable,
    reopen_array,
    workers,
)
from softmorph_cli.kernels.level_sets import LevelSets, nested_levels
from softmorph_cli.system.files import check_writable, flush, not_written, replacing_store
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.io.blocks import Blocks


@dataclass(frozen=True)
class _Pyramid:
    """Arguments of `create_coarser`, which writes the coarser resolutions.

    Attributes:
        attributes: The metadata of the OME-Zarr group.
        letters: The letters of the stored axes.
        pooling: What a coarser voxel is of those that it covers.
        memory: The number of bytes that may be used, or None.
    """

    attributes: Mapping[str, Any]
    letters: str
    pooling: Pooling
    memory: int | None


class BlockWriter:
    """A writer of blocks of an OME-Zarr store, for any number of threads; each voxel is written once.

    A pickled writer can be used in another process, where it writes whole chunks only, so that no two processes write
    to the same chunk.

    Attributes:
        shape: The number of voxels along each spatial axis.
        chunks: The shape of a chunk; blocks of whole chunks are written in parallel, others one after another.
        resumed: Whether the store of an earlier, interrupted run is continued.
        lost: Notes on properties of the map that the format cannot store, one sentence each.
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
        """Create a writer for `create_blocks`; `along` are the spatial axes of `array`, `kept` a folder to resume."""
        self._array, self._path, self._folder, self._dtype, self._pool = array, path, folder, dtype, pool
        self._along = along
        self.shape: tuple[int, ...] = tuple(array.shape[axis] for axis in along)
        self.chunks: tuple[int, ...] = tuple(array.chunks[axis] for axis in along)
        self.resumed, self.lost, self._levels = resumed, lost, levels
        self._pyramid, self._kept = pyramid, kept
        # Whether there may be coarser resolutions, which a block written now makes invalid.
        self._outdated = resumed and pyramid is not None
        self._shared = self._complete = False
        self._partial_chunks = Lock()
        self._unflushed: set[Path] = set()
        self._unflushed_lock = Lock()

    def __reduce__(self) -> tuple[Callable[..., BlockWriter], tuple[object, ...]]:
        """Pickle the arguments that open the store in another process, which may write to it from now on."""
        if self._outdated:
            self._remove_coarser()
        self._shared = True
        return _open_shared, (self._along, self._path, self._folder, self._dtype, self._levels)

    def write(self, box: Sequence[slice], values: Array) -> None:
        """Encode a block of probabilities and write it; afterwards the chunks of the block are files in the store.

        Args:
            box: A slice for each spatial axis, without steps.
            values: The probabilities; only 0 and 1 for a mask.

        Raises:
            FileError: If the operating system reports an error.
            InputError: If `values` has another shape than `box`, or values of a mask are neither 0 nor 1.
        """
        cuts = clipped(box, self.shape)
        shape = extent(cuts)
        if values.shape != shape:
            raise InputError(f"a block of shape {values.shape} does not fill one of {shape}.")
        stored, _ = encode(values, self._dtype, self._levels)
        self._complete = False
        if self._outdated:
            self._remove_coarser()
        if self._pool is None:
            if not self._whole(cuts):
                raise InputError(
                    f"{self._path}: a block that is not made of whole chunks is written by one process only."
                )
            self._put(cuts, stored)
            # The process that goes on from here cannot flush the files of this one.
            self.flush()
            return
        # Writing a part of a chunk rewrites the chunk, so only one thread may do that at a time.
        with nullcontext() if self._whole(cuts) else self._partial_chunks:
            # Each chunk in a thread that no signal interrupts; after an error no more are begun (see `workers`).
            parts = [part_in_chunk(number, self.chunks, cuts) for number in chunk_numbers(cuts, self.chunks)]
            futures = [self._pool.submit(self._put, part, stored[relative(part, cuts)]) for part in parts]
            _, pending = wait(futures, return_when=FIRST_EXCEPTION)
            for future in pending:
                future.cancel()
            wait(pending)
            for future in futures:
                if not future.cancelled():
                    future.result()

    def flush(self) -> None:
        """Flush to the disk the chunks that this process wrote since the last flush.

        Raises:
            FileError: If the operating system reports an error.
        """
        with self._unflushed_lock:
            files, self._unflushed = self._unflushed, set()
        folders = {above for file in files for above in file.parents if above.is_relative_to(self._folder)}
        try:
            flush([*files, *folders])
        except OSError as error:
            raise not_written(self._path, error, kept=self._kept) from error

    @property
    def folder(self) -> Path:
        """The path of the store under its temporary name."""
        return self._folder.parent

    def has(self, box: Sequence[slice]) -> bool:
        """Return whether all chunks of a block exist and can be read, for example from an interrupted run.

        A block of whole chunks is complete if its chunks exist; of any other block, voxels may still be missing.
        """
        numbers = chunk_numbers(clipped(box, self.shape), self.chunks)
        return all(readable(self._array, self._folder, self._every_axis(number, 0)) for number in numbers)

    def missing(self) -> int:
        """Return the number of chunks that have not been written yet."""
        whole = tuple(slice(0, size) for size in self.shape)
        return sum(not self._chunk(number).is_file() for number in chunk_numbers(whole, self.chunks))

    def complete(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Write the coarser resolutions of a pyramid, if one was requested, after all blocks were written.

        Coarser resolutions that an interrupted run wrote are kept, unless a block has been written since.

        Args:
            progress: A function called after every chunk with the number of finished chunks and the total number.

        Raises:
            FileError: If chunks are missing, a chunk is damaged, or the operating system reports an error.
        """
        if self._complete:
            return
        if self._shared:
            _remove_partial_chunks(self._folder)
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
                pooling=self._pyramid.pooling,
                memory=self._pyramid.memory,
                progress=progress,
            )
        except FileError as error:
            advice = f"; run again without {named('resume')}" if self.resumed else ""
            raise FileError(f"{self._path}: a chunk that was written of it is damaged{advice}.") from error
        except OSError as error:
            raise not_written(self._path, error, kept=self._kept) from error
        self._outdated = self._complete = True

    def _put(self, cuts: Box, stored: Array) -> None:
        shape = self._every_axis(stored.shape, 1)
        try:
            self._array[self._every_axis(cuts, slice(0, 1))] = stored.reshape(shape)
        except OSError as error:
            raise not_written(self._path, error, kept=self._kept) from error
        with self._unflushed_lock:
            self._unflushed.update(map(self._chunk, chunk_numbers(cuts, self.chunks)))

    def _remove_coarser(self) -> None:
        with self._partial_chunks:
            if self._outdated:
                for place in self._folder.parent.iterdir():
                    if place.is_dir() and place != self._folder:
                        shutil.rmtree(place)
                self._outdated = False

    def _chunk(self, number: tuple[int, ...]) -> Path:
        return chunk_file(self._array, self._folder, self._every_axis(number, 0))

    def _every_axis(self, own: Sequence[Any], other: Any) -> tuple[Any, ...]:
        return _every_axis(self._array.ndim, self._along, own, other)

    def _whole(self, cuts: Box) -> bool:
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
    pyramid: Pooling | None = None,
    memory: int | None = None,
    provenance: Provenance | None = None,
) -> Iterator[BlockWriter]:
    """Write an OME-Zarr store block by block under a temporary name; rename it to `path` when the `with` block ends.

    Args:
        path: The path of the new store, which ends in .zarr.
        like: The map from which the new store takes the shape, axes, geometry and OME-Zarr version.
        dtype: The stored type: float32, uint8 (255 means 1), uint16 (65535 means 1), or "mask" (0 and 1).
        chunks: The shape of a chunk; by default 64 or 128 along each axis.
        force: Whether an existing store may be replaced.
        keep: Whether to keep the unfinished store beside `path` for a later run if the `with` block raises.
        resume: Whether to continue the unfinished store of an earlier run, which must have the same shape, type, chunks
            and provenance; implies `keep`. `BlockWriter.has` tells which blocks are already written.
        pyramid: What a voxel of a coarser resolution is of those that it covers, "mean" or "max"; None if only the
            finest resolution is written. Coarser ones are written in `BlockWriter.complete` or when the `with` block
            ends.
        memory: The number of bytes that may be used for the coarser resolutions, or None.
        provenance: The record of how the map was made, stored in the metadata; None for no record.

    Yields:
        The writer of blocks.

    Raises:
        FileError: If the store cannot be written, chunks are missing, or the unfinished store does not match.
        UsageError: If the suffix is not .zarr, or OME-Zarr cannot store the type.
    """
    path = Path(path)
    family = target_format(path, WriteOptions(output_type=dtype))
    if not isinstance(family, OmeZarr):
        raise UsageError(f"{path}: a map larger than memory is written as OME-Zarr; end its name with .zarr.")
    check_writable(path, force=force, store=True)
    one = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    stored = "uint8" if dtype == "mask" else dtype
    place, letters, along = _filed(like, family)
    shape = _every_axis(len(letters), along, like.shape, 1)
    if chunks is None:
        chunks = chunk_shape(shape, letters)
    else:
        chunks = _every_axis(len(letters), along, tuple(map(min, like.shape, chunks)), 1)
    attributes, lost = group_attributes(
        place,
        kept_native(place, family.name),
        pyramid_shapes(shape, letters) if pyramid else [shape],
        Encoding(one, provenance=provenance or {}, pyramid=pyramid),
        name=stem(path),
        step=time_step_of(place),
    )
    levels = nested_levels(provenance or {})
    if isinstance(levels, LevelSets) and dtype != "mask":
        levels.bounds(dtype)  # before anything is written
    lost += coarser_lost(levels, pyramid)
    coarser = _Pyramid(attributes, letters, pyramid, memory) if pyramid else None
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


def _every_axis(count: int, along: Sequence[int], own: Sequence[Any], other: Any) -> tuple[Any, ...]:
    """Return a value for each of `count` axes: the values `own` for the axes `along`, and `other` for the rest."""
    every = [other] * count
    for axis, one in zip(along, own, strict=True):
        every[axis] = one
    return tuple(every)


def _filed(like: Blocks, family: OmeZarr) -> tuple[Volume, str, tuple[int, ...]]:
    """Return a placeholder map of one voxel with the geometry of `like` in the form that `write` stores.

    Returns:
        The map; the letters of all axes in stored order; and the indices of the spatial axes of `like` in that order.
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
    group = node(folder)
    other = f"{folder} was kept by a run with other settings; remove it, or run without {named('resume')}."
    if group is None or dict(group.attributes) != json.loads(json.dumps(attributes)):
        raise FileError(other)
    array = reopen_array(folder / "0")
    if (tuple(array.shape), str(array.dtype), tuple(array.chunks)) != (shape, dtype, chunks):
        raise FileError(other)
    _remove_partial_chunks(folder)
    return array


def _open_shared(
    along: tuple[int, ...],
    path: Path,
    folder: Path,
    dtype: str,
    levels: LevelSets | Literal["exact"] | None,
) -> BlockWriter:
    return BlockWriter(reopen_array(folder), along, path, folder, dtype, None, False, [], levels)


def _remove_partial_chunks(folder: Path) -> None:
    """Remove the temporary files of chunks whose writing was interrupted."""
    for file in folder.rglob("*.partial"):
        file.unlink(missing_ok=True)
