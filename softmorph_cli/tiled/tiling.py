"""How a map is cut into tiles, and where each tile's surroundings lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import prod

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Tiling:
    """A map cut into tiles of one size (smaller at its far borders).

    Attributes:
        shape: The map's.
        tile: Voxels of a tile along each axis.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many tiles there are along each axis."""
        return tuple(-(-whole // tile) for whole, tile in zip(self.shape, self.tile, strict=True))

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return prod(self.counts)

    def core(self, number: int) -> Box:
        """Return the voxels that belong to a tile."""
        places = []
        for count in reversed(self.counts):
            number, place = divmod(number, count)
            places.append(place)
        return tuple(
            slice(at * tile, min((at + 1) * tile, whole))
            for at, tile, whole in zip(reversed(places), self.tile, self.shape, strict=True)
        )

    def grown(self, box: Box, halo: tuple[int, ...]) -> Box:
        """Return a box with a halo, cut off where the map ends: there its border is the map's border."""
        return tuple(
            slice(max(part.start - reach, 0), min(part.stop + reach, whole))
            for part, reach, whole in zip(box, halo, self.shape, strict=True)
        )

    def touched(self, box: Box) -> list[int]:
        """Return the tiles that share voxels with a box."""
        numbers = [0]
        for part, tile, count in zip(box, self.tile, self.counts, strict=True):
            places = range(part.start // tile, (part.stop - 1) // tile + 1)
            numbers = [number * count + place for number, place in product(numbers, places)]
        return numbers


def size(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(part.stop - part.start for part in box)


def within(box: Box, frame: Box) -> Box:
    """Return a box in the coordinates of another that holds it."""
    return tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(box, frame, strict=True)
    )


def overlap(first: Box, second: Box) -> Box | None:
    """Return what two boxes share, None if nothing."""
    common = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True)
    )
    return common if all(part.start < part.stop for part in common) else None


def hull(boxes: Iterable[Box]) -> Box | None:
    """Return the smallest box that holds some boxes; None if there are none."""
    listed = list(boxes)
    if not listed:
        return None
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*listed, strict=True)
    )


def pieces(shape: tuple[int, ...], margin: tuple[int, ...], longest: int) -> list[Box]:
    """Cut a tile so that what a neighbour's halo takes of it are whole pieces.

    Args:
        shape: The tile's.
        margin: How far a neighbour looks in, along each axis.
        longest: No piece is longer than that.
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
