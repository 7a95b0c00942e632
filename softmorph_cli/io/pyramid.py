"""The coarser resolutions of an image, each calculated from the one before, chunk by chunk."""

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
from softmorph_cli.io.raw import Array
from softmorph_cli.io.zarr_reading import node, open_array, says_whole
from softmorph_cli.io.zarr_writing import chunk_shape, create_array, readable, reopen_array, workers

# The side of the coarsest image: it fits one screen and one chunk.
_SMALL: Final = 64
# The memory of a thread, in chunks of float32: what it reads, halves and compresses, and gaps in the heap.
_HELD: Final = 12


def pyramid_shapes(shape: Sequence[int], letters: str) -> list[tuple[int, ...]]:
    """Return the shapes of all resolutions, the finest first; each halves the spatial axes."""
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
    labels: bool = False,
    memory: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Add the coarser resolutions to an image; existing chunks that can be read stay.

    Args:
        folder: The group of the image.
        attributes: The attributes of the group.
        finest: The stored numbers of the finest resolution, in memory or in the store.
        letters: Its axes.
        labels: Whether the numbers are labels.
        memory: Bytes that may be used; by default those that all threads need.
        progress: Called after every chunk with the number of finished chunks and the total.

    Raises:
        FileError: If a resolution that was written before is damaged.
        OSError: If the system refuses.
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
            for _ in pool.map(partial(_make, source, target, letters, labels), left):
                done += 1
                if progress is not None:
                    progress(done, total)
        found = node(place)
        assert found is not None
        source = open_array(found, str(place))


def halved(array: Array, letters: str, labels: bool) -> Array:
    """Return an array with half as many voxels along spatial axes: means of up to 8 voxels, of labels the first."""
    if labels:
        return np.ascontiguousarray(array[tuple(slice(None, None, 2 if a in "ZYX" else 1) for a in letters)])
    values = array.astype(np.float32, copy=False)
    for axis, letter in enumerate(letters):
        if letter in "ZYX" and array.shape[axis] > 1:
            first = values[(slice(None),) * axis + (slice(None, None, 2),)]
            second = values[(slice(None),) * axis + (slice(1, None, 2),)]
            if first.shape != second.shape:  # of an odd number the last one stays as it is
                second = np.concatenate([second, values[(slice(None),) * axis + (slice(-1, None),)]], axis)
            values = (first + second) * np.float32(0.5)
    return values if array.dtype.kind == "f" else np.floor(values + np.float32(0.5)).astype(array.dtype)


def _make(source: Any, target: Any, letters: str, labels: bool, number: tuple[int, ...]) -> None:
    """Write one chunk; about one chunk of the source is held at a time."""
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
        made[tuple(part)] = halved(np.asarray(source[read]), letters, labels)
    target[box] = made


def _open(
    place: Path,
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    letters: str,
) -> Any:
    """Return the array of a resolution; one of the same kind that an earlier run began is continued."""
    if (found := node(place)) is not None and says_whole(found):
        array = reopen_array(place)
        if (array.shape, array.dtype, array.chunks) == (tuple(shape), dtype, tuple(chunks)):
            return array
    shutil.rmtree(place, ignore_errors=True)
    return create_array(place, attributes, shape, dtype, chunks, letters.lower())
