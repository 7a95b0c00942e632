"""The division of a map into tiles, and arithmetic of boxes (one slice along each axis)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import prod

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Tiling:
    """A division of a map into tiles of equal shape (smaller at the far borders of the map), in C order.

    Attributes:
        shape: The map's shape.
        tile: The shape of a tile.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """The number of tiles along each axis."""
        return tuple(-(-whole // tile) for whole, tile in zip(self.shape, self.tile, strict=True))

    def __len__(self) -> int:
        """Return the number of tiles."""
        return prod(self.counts)

    def core(self, number: int) -> Box:
        """Return the box of voxels that belong to the tile with index `number`, without a halo."""
        places = []
        for count in reversed(self.counts):
            number, place = divmod(number, count)
            places.append(place)
        return tuple(
            slice(at * tile, min((at + 1) * tile, whole))
            for at, tile, whole in zip(reversed(places), self.tile, self.shape, strict=True)
        )

    def grown(self, box: Box, halo: tuple[int, ...]) -> Box:
        """Return a box that is enlarged by `halo` on both sides of each axis, and clipped to the map."""
        return tuple(
            slice(max(part.start - reach, 0), min(part.stop + reach, whole))
            for part, reach, whole in zip(box, halo, self.shape, strict=True)
        )

    def touched(self, box: Box) -> list[int]:
        """Return the indices of the tiles that share voxels with a box."""
        numbers = [0]
        for part, tile, count in zip(box, self.tile, self.counts, strict=True):
            places = range(part.start // tile, (part.stop - 1) // tile + 1)
            numbers = [number * count + place for number, place in product(numbers, places)]
        return numbers


def size(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(part.stop - part.start for part in box)


def within(box: Box, frame: Box) -> Box:
    """Return a box in coordinates relative to the first voxel of `frame`, a box that contains it."""
    return tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(box, frame, strict=True)
    )


def overlap(first: Box, second: Box) -> Box | None:
    """Return the intersection of two boxes; None if it is empty."""
    common = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True)
    )
    return common if all(part.start < part.stop for part in common) else None


def hull(boxes: Iterable[Box]) -> Box | None:
    """Return the smallest box that contains all boxes; None if there are none."""
    listed = list(boxes)
    if not listed:
        return None
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*listed, strict=True)
    )


def pieces(shape: tuple[int, ...], margin: tuple[int, ...], longest: int) -> list[Box]:
    """Split a tile into boxes, so that the halo of a neighbouring tile covers whole boxes, and return these.

    Args:
        shape: The shape of the tile.
        margin: The width of the halo of a neighbouring tile along each axis.
        longest: The maximum length of a box along an axis.
    """
    cuts = []
    for extent, reach in zip(shape, margin, strict=True):
        marks = {0, extent} | ({reach, extent - reach} if 0 < reach < extent else set())
        ends = sorted(marks)
        for first, last in pairwise(ends):
            parts = -(-(last - first) // longest)
            marks |= {first + (last - first) * k // parts for k in range(parts)}
        ordered = sorted(marks)
        cuts.append([slice(a, b) for a, b in pairwise(ordered)])
    return list(product(*cuts))
