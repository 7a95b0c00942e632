"""Writes the coarser resolutions of an OME-Zarr image, each calculated chunk by chunk from the next finer one.

A coarser voxel is of the up to 8 voxels that it covers their mean, which fades thin vessels; or their maximum: a flat
dilation by the block of these voxels, of which one voxel in 8 is kept. As a maximum commutes with every threshold,
each threshold set of a coarser resolution has the voxels whose block meets that of the finest one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.io.boxes import chunk_numbers, extent, part_in_chunk
from softmorph_cli.io.options import Pooling
from softmorph_cli.io.raw import Array
from softmorph_cli.io.zarr_reading import node, open_array, says_whole
from softmorph_cli.io.zarr_writing import chunk_shape, create_array, readable, reopen_array, workers

# The side of the coarsest image: it fits one screen and one chunk.
_SMALL: Final = 64
# The memory of a thread, in chunks of float32: what it reads, halves and compresses, and gaps in the heap.
_HELD: Final = 12


def pyramid_shapes(shape: Sequence[int], letters: str) -> list[tuple[int, ...]]:
    """Return the shapes of all resolutions, the finest first; each shape halves the spatial axes of the one before.

    Args:
        shape: The shape of the finest resolution.
        letters: One letter for each axis; "Z", "Y" and "X" are spatial.
    """
    found = [tuple(shape)]
    while max(size for size, letter in zip(found[-1], letters, strict=True) if letter in "ZYX") > _SMALL:
        pairs = zip(found[-1], letters, strict=True)
        found.append(tuple(ceil(size / 2) if letter in "ZYX" else size for size, letter in pairs))
    return found


def create_coarser(
    folder: Path,
    attributes: Mapping[str, Any],
    finest: Any,
    letters: str,
    *,
    pooling: Pooling = "mean",
    memory: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write the coarser resolutions of an image; chunks that exist already and can be read are not written again.

    Args:
        folder: The folder of the image, which is a Zarr group.
        attributes: The attributes of the group.
        finest: The stored numbers of the finest resolution, in memory or in the store.
        letters: One letter for each axis of `finest`.
        pooling: What a coarser voxel is of those that it covers: their mean, maximum or, for labels, the first.
        memory: The number of bytes that may be used; None does not limit the number of threads.
        progress: Called after every chunk with the number of finished chunks and the total.

    Raises:
        FileError: If a resolution that an earlier process wrote is damaged.
        OSError: If the system refuses to write.
    """
    sizes = pyramid_shapes(finest.shape, letters)[1:]
    grids = [chunk_shape(size, letters) for size in sizes]
    numbers = [
        list(chunk_numbers(tuple(slice(0, n) for n in size), chunks))
        for size, chunks in zip(sizes, grids, strict=True)
    ]
    total = sum(map(len, numbers))
    done, source = 0, finest
    for level, (size, chunks, every) in enumerate(zip(sizes, grids, numbers, strict=True), 1):
        place = folder / str(level)
        target = _open(place, attributes, size, finest.dtype, chunks, letters)
        left = [number for number in every if not readable(target, place, number)]
        done += len(every) - len(left)
        larger = max(prod(chunks), prod(getattr(source, "chunks", None) or chunks))
        threads = max(1, memory // (_HELD * 4 * larger)) if memory else None
        with workers(threads) as pool:
            for _ in pool.map(partial(_make, source, target, letters, pooling), left):
                done += 1
                if progress is not None:
                    progress(done, total)
        found = node(place)
        assert found is not None
        source = open_array(found, str(place))


def halved(array: Array, letters: str, pooling: Pooling) -> Array:
    """Return an array halved along spatial axes: each voxel is the mean, maximum or first of up to 8 voxels."""
    if pooling == "nearest":
        return np.ascontiguousarray(array[tuple(slice(None, None, 2 if a in "ZYX" else 1) for a in letters)])
    values = array if pooling == "max" else array.astype(np.float32, copy=False)
    for axis, letter in enumerate(letters):
        if letter in "ZYX" and array.shape[axis] > 1:
            first = values[(slice(None),) * axis + (slice(None, None, 2),)]
            second = values[(slice(None),) * axis + (slice(1, None, 2),)]
            if first.shape != second.shape:  # of an odd number the last one stays as it is
                second = np.concatenate([second, values[(slice(None),) * axis + (slice(-1, None),)]], axis)
            values = np.maximum(first, second) if pooling == "max" else (first + second) * np.float32(0.5)
    rounded = pooling == "mean" and array.dtype.kind != "f"
    return np.floor(values + np.float32(0.5)).astype(array.dtype) if rounded else values


def _make(source: Any, target: Any, letters: str, pooling: Pooling, number: tuple[int, ...]) -> None:
    """Calculate and write the chunk at grid position `number`; about one chunk of the source is in memory at a time."""
    box = part_in_chunk(number, target.chunks, tuple(slice(0, size) for size in target.shape))
    by = [2 if letter in "ZYX" else 1 for letter in letters]
    made = np.empty(extent(box), target.dtype)
    stored = getattr(source, "chunks", None) or made.shape
    steps = [max(1, one // two) for one, two in zip(stored, by, strict=True)]
    for corner in product(*(range(0, size, step) for size, step in zip(made.shape, steps, strict=True))):
        part = [slice(at, min(at + step, n)) for at, step, n in zip(corner, steps, made.shape, strict=True)]
        read = tuple(
            slice(two * (cut.start + one.start), two * (cut.start + one.stop))
            for cut, one, two in zip(box, part, by, strict=True)
        )
        made[tuple(part)] = halved(np.asarray(source[read]), letters, pooling)
    target[box] = made


def _open(
    place: Path,
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    letters: str,
) -> Any:
    """Open the array of a resolution for writing; reuse an array of equal shape, type and chunks if it exists."""
    if (found := node(place)) is not None and says_whole(found):
        array = reopen_array(place)
        if (array.shape, array.dtype, array.chunks) == (tuple(shape), dtype, tuple(chunks)):
            return array
    shutil.rmtree(place, ignore_errors=True)
    return create_array(place, attributes, shape, dtype, chunks, letters.lower())
