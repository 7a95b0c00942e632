"""The coarser resolutions of an image: each is made of the one before, chunk by chunk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.io.raw import Array
from softmorph_cli.io.stores import node, open_array, says_whole
from softmorph_cli.io.storing import chunk_shape, create_array, readable, reopen_array, workers

# A pyramid ends where an image fits one screen or one chunk.
_SMALL: Final = 64
# What a thread takes to make a chunk, in chunks of float32: what it reads, halves and packs, and gaps in the heap.
_HELD: Final = 12


def pyramid_shapes(shape: Sequence[int], letters: str) -> list[tuple[int, ...]]:
    """The shapes of all resolutions, the finest first; each has half as many voxels along each axis of space."""
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
    """Add the coarser resolutions to an image; chunks that are there already, and can be read, stay.

    Args:
        folder: The group of the image.
        attributes: Those of the group.
        finest: The numbers stored of the finest resolution, in memory or in the store.
        letters: Its axes.
        labels: Whether the numbers are those of labels.
        memory: Bytes that may be taken; by default as much as there are threads for.
        progress: Called after every chunk: how many are done, and how many there are.

    Raises:
        FileError: If what is read again is damaged.
        OSError: If the system refuses.
    """
    sizes = pyramid_shapes(finest.shape, letters)[1:]
    grids = [chunk_shape(size, letters) for size in sizes]
    total = sum(prod(_counts(size, chunks)) for size, chunks in zip(sizes, grids, strict=True))
    done, source = 0, finest
    for number, (size, chunks) in enumerate(zip(sizes, grids, strict=True), 1):
        place = folder / str(number)
        target = _open(place, attributes, size, finest.dtype, chunks, letters)
        every = list(np.ndindex(*_counts(size, chunks)))
        left = [one for one in every if not readable(target, place, one)]
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
    """Half as many voxels along each axis of space: the mean of those there are, of labels the first."""
    if labels:
        return np.ascontiguousarray(array[tuple(slice(None, None, 2 if a in "ZYX" else 1) for a in letters)])
    values = array.astype(np.float32, copy=False)
    for axis, letter in enumerate(letters):
        if letter in "ZYX" and array.shape[axis] > 1:
            first = values[(slice(None),) * axis + (slice(None, None, 2),)]
            second = values[(slice(None),) * axis + (slice(1, None, 2),)]
            if first.shape != second.shape:  # an odd number: the last one is its own mean
                second = np.concatenate([second, values[(slice(None),) * axis + (slice(-1, None),)]], axis)
            values = (first + second) * np.float32(0.5)
    return values if array.dtype.kind == "f" else np.floor(values + np.float32(0.5)).astype(array.dtype)


def _make(source: Any, target: Any, letters: str, labels: bool, number: tuple[int, ...]) -> None:
    """Make one chunk, of about one chunk of the source at a time."""
    box = [
        slice(n * one, min((n + 1) * one, size))
        for n, one, size in zip(number, target.chunks, target.shape, strict=True)
    ]
    by = [2 if letter in "ZYX" else 1 for letter in letters]
    made = np.empty([cut.stop - cut.start for cut in box], target.dtype)
    stored = getattr(source, "chunks", None) or made.shape
    steps = [max(1, one // two) for one, two in zip(stored, by, strict=True)]
    for corner in product(*(range(0, size, step) for size, step in zip(made.shape, steps, strict=True))):
        part = [slice(at, min(at + step, n)) for at, step, n in zip(corner, steps, made.shape, strict=True)]
        read = tuple(
            slice(two * (cut.start + one.start), two * (cut.start + one.stop))
            for cut, one, two in zip(box, part, by, strict=True)
        )
        made[tuple(part)] = halved(np.asarray(source[read]), letters, labels)
    target[tuple(box)] = made


def _open(
    place: Path,
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    letters: str,
) -> Any:
    """The array of a resolution; one that another run began is gone on with, if it is the same."""
    if (found := node(place)) is not None and says_whole(found):
        array = reopen_array(place)
        if (array.shape, array.dtype, array.chunks) == (tuple(shape), dtype, tuple(chunks)):
            return array
    shutil.rmtree(place, ignore_errors=True)
    return create_array(place, attributes, shape, dtype, chunks, letters.lower())


def _counts(shape: Sequence[int], chunks: Sequence[int]) -> list[int]:
    return [ceil(size / one) for size, one in zip(shape, chunks, strict=True)]
