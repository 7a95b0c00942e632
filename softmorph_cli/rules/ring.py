"""Neighbourhoods as integers: bit k of a ring is the kth neighbour of a voxel in array order."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from softmorph_cli.rules.neighborhood import CONNECTIVITIES, Offset, neighbors

Masks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ring:
    """The neighbours of a voxel and their adjacency.

    Attributes:
        offsets: All 8 or 26 offsets.
        grow: For each neighbour the bits of the 8- or 26-adjacent ones (foreground), shape (8,) or (26,).
        flow: For each neighbour in `near` the bits of the 4- or 6-adjacent ones in `near` (background).
        near: The bits of the neighbours through which background can touch the voxel: all 8, or 18 of 26.
        cross: The bits of the 4 or 6 direct neighbours.
    """

    offsets: tuple[Offset, ...]
    grow: Masks
    flow: Masks
    near: int
    cross: int

    def bits(self, chosen: Set[Offset]) -> int:
        """Return the ring of these neighbours; other offsets are ignored."""
        return sum(1 << k for k, offset in enumerate(self.offsets) if offset in chosen)

    def chosen(self, bits: int) -> set[Offset]:
        """Return the neighbours of a ring."""
        return {offset for k, offset in enumerate(self.offsets) if bits >> k & 1}


@cache
def ring(dimensions: int) -> Ring:
    """Return the neighbours in 2 or 3 dimensions."""
    smallest, *middle, largest = CONNECTIVITIES[dimensions]
    offsets = neighbors(largest, dimensions)
    cross = set(neighbors(smallest, dimensions))
    # Without the corners of the cube: background is not connected through them.
    near = set(neighbors(middle[0], dimensions)) if middle else set(offsets)
    plain = Ring(offsets, np.zeros(0, np.int64), np.zeros(0, np.int64), 0, 0)
    grow = [plain.bits(around(offset, set(offsets))) for offset in offsets]
    flow = [plain.bits(around(o, cross) & near if o in near else set()) for o in offsets]
    return Ring(offsets, np.array(grow), np.array(flow), plain.bits(near), plain.bits(cross))


def around(place: Offset, offsets: Set[Offset]) -> set[Offset]:
    """Return the offsets shifted to a place."""
    return {tuple(a + b for a, b in zip(place, offset, strict=True)) for offset in offsets}


def components(members: int, wanted: int, adjacent: Masks) -> int:
    """Return the number of components of a ring that contain any bit of `wanted`; 2 stands for two or more.

    Numba compiles it.
    """
    found = 0
    while members & wanted:
        found += 1
        if found == 2:
            break
        front = members & wanted
        front &= -front
        members ^= front
        while front:
            lowest, place = front & -front, 0
            front ^= lowest
            while lowest > 1:
                lowest >>= 1
                place += 1
            new = adjacent[place] & members
            members ^= new
            front |= new
    return found
