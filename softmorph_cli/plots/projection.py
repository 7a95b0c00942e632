"""Projections and profiles of a spatial map of any size, computed block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.io.blocks import BoxReader
from softmorph_cli.plots.views import Box, View, resize, whole

# The share of its bounding box beyond which a map is dense: projections would hide what is inside.
DENSE: Final = 0.1
# Voxels of a block, unless chunks are larger.
BLOCK: Final = 1 << 21
# Values are rounded to this share of the largest one, so that sums are integers and exact in any order.
PARTS: Final = 1 << 20


@dataclass(frozen=True)
class Held:
    """An array in memory with the interface of a map that is read in boxes."""

    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of a chunk: one row, which is contiguous in memory."""
        return (*(1 for _ in self.array.shape[1:]), self.array.shape[-1])

    def read(self, slices: Sequence[slice], /) -> npt.NDArray[Any]:
        """Return a box of the array as a view, without copying."""
        part: npt.NDArray[Any] = self.array[tuple(slices)]
        return part


def profiles(map_: BoxReader) -> tuple[npt.NDArray[Any], ...]:
    """Return the maximum profile of a map along each axis: the largest value at each index of the axis."""
    return _profiles(map_, whole(map_.shape), np.maximum, lambda block: block)


def is_dense(map_: BoxReader, box: Box, above: float) -> bool:
    """Return whether a map is dense: its voxels above a value, within a box, fill much of their bounding box."""
    counts = _profiles(map_, box, np.add, lambda block: block > above)
    ends = [np.flatnonzero(count)[[0, -1]] for count in counts if count.any()]
    return bool(ends) and counts[0].sum() > DENSE * prod(int(last - first) + 1 for first, last in ends)


def fullest_planes(map_: BoxReader, box: Box, top: float) -> tuple[int, ...]:
    """Return, for each axis of a box of a map, the index within the box of the plane with the largest sum.

    `top` is approximately the largest value of the map.
    """
    sums = _profiles(map_, box, np.add, lambda block: np.rint(block * block.dtype.type(PARTS / top)))
    # Of equal planes the middle one, which cuts through the middle of an organ.
    equals = [np.flatnonzero(total == total.max()) for total in sums]
    return tuple(int(planes[planes.size // 2]) for planes in equals)


def _profiles(
    map_: BoxReader, box: Box, reduction: np.ufunc, values: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the profiles of a box: values of its voxels (at least 0), reduced to a number at each index of an axis."""
    found = tuple(np.zeros(part.stop - part.start) for part in box)
    for place, block in blocks(map_, box):
        reduced = values(block)
        for axis, (profile, part) in enumerate(zip(found, place, strict=True)):
            others = tuple(k for k in range(block.ndim) if k != axis)
            along = reduction.reduce(reduced, axis=others, dtype=np.float64)
            reduction(profile[part], along, out=profile[part])
    return found


def images(
    map_: BoxReader, box: Box, views: Sequence[View], sizes: Sequence[tuple[int, int]]
) -> list[npt.NDArray[np.float64]]:
    """Return an image of a box of a map for each view, resized as by `resize` to its size (height, width)."""
    made = [_Image(view, box, size) for view, size in zip(views, sizes, strict=True)]
    projections = [image for image in made if image.view.axis is None or image.view.plane is None]
    for place, block in blocks(map_, box) if projections else ():
        for image in projections:
            image.add(place, block)
    for image in made:
        axis, plane = image.view.axis, image.view.plane
        if axis is not None and plane is not None:
            part = image.view.part(box[axis].stop - box[axis].start)
            seen = slice(box[axis].start + part.start, box[axis].start + part.stop)
            for place, block in blocks(map_, (*box[:axis], seen, *box[axis + 1 :])):
                image.add(place, block)
    return [resize(image.finished(box), *size) for image, size in zip(made, sizes, strict=True)]


class _Image:
    """An image of a view that is assembled block by block, without holding the whole map in memory."""

    def __init__(self, view: View, box: Box, size: tuple[int, int]) -> None:
        self.view = view
        self.lengths = [box[axis].stop - box[axis].start for axis in view.shown]
        self.reduction: np.ufunc = np.add if view.mean else np.maximum
        # Of a mean all pixels are kept: a shrunk image shows the largest means, not means of maxima.
        shown = self.lengths if view.mean else [min(pair) for pair in zip(self.lengths, size, strict=True)]
        # The map's index at which each row and column begins.
        self.starts = [np.arange(n) * length // n for n, length in zip(shown, self.lengths, strict=True)]
        self.values = np.zeros(shown)

    def add(self, place: Box, block: npt.NDArray[Any]) -> None:
        axis = self.view.axis
        flat = block if axis is None else self.reduction.reduce(block, axis=axis, dtype=np.float64)
        flat = flat.T if self.view.turned else flat
        index = []
        for k, (along, flip) in enumerate(zip(self.view.shown, self.view.flips, strict=True)):
            first, last = place[along].start, place[along].stop - 1
            if flip:
                flat = np.flip(flat, k)
                first, last = self.lengths[k] - 1 - last, self.lengths[k] - 1 - first
            begin, end = np.searchsorted(self.starts[k], (first, last), side="right")
            starts = np.maximum(self.starts[k][begin - 1 : end] - first, 0)
            flat = self.reduction.reduceat(flat, starts, axis=k)
            index.append(slice(begin - 1, end))
        part = self.values[tuple(index)]
        self.reduction(part, flat, out=part)

    def finished(self, box: Box) -> npt.NDArray[np.float64]:
        """Return the image of all blocks of a box."""
        if not self.view.mean or self.view.axis is None:
            return self.values
        along = box[self.view.axis]
        return np.asarray(self.values / (along.stop - along.start))


def blocks(map_: BoxReader, box: Box) -> Iterator[tuple[Box, npt.NDArray[Any]]]:
    """Yield the blocks of a box of a map, each with its place in the box; blocks are whole chunks where possible."""
    step = list(map_.chunks)
    # Along the last axes first, which are contiguous in files.
    for axis in reversed(range(len(step))):
        step[axis] *= max(1, min(-(-map_.shape[axis] // step[axis]), BLOCK // max(1, prod(step))))
    ranges = [range(part.start // one * one, part.stop, one) for part, one in zip(box, step, strict=True)]
    for corner in product(*ranges):
        cut = tuple(
            slice(max(at, part.start), min(at + one, part.stop))
            for at, one, part in zip(corner, step, box, strict=True)
        )
        place = tuple(
            slice(one.start - part.start, one.stop - part.start) for one, part in zip(cut, box, strict=True)
        )
        yield place, map_.read(cut)
