"""Neighbourhoods as numbers: bit k of a ring is the neighbour k of a voxel in array order."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from softmorph_cli.rules.neighborhood import CONNECTIVITIES, Offset, neighbors

# Foreground is connected through corners too, background through faces.
Masks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ring:
    """The neighbours of a voxel, and who is next to whom among them.

    Attributes:
        offsets: All 8 or 26.
        grow: The bits of the neighbours that foreground is connected with, for each, shape (8 or 26,).
        flow: The same for background, among those of `near`.
        near: The bits of those where background can touch the voxel: all 8, or 18 of 26.
        cross: The bits of the 4 or 6 direct neighbours.
    """

    offsets: tuple[Offset, ...]
    grow: Masks
    flow: Masks
    near: int
    cross: int

    def bits(self, chosen: Set[Offset]) -> int:
        """Return the ring that has these neighbours; other offsets do not count."""
        return sum(1 << k for k, offset in enumerate(self.offsets) if offset in chosen)

    def chosen(self, bits: int) -> set[Offset]:
        """Return the neighbours that a ring has."""
        return {offset for k, offset in enumerate(self.offsets) if bits >> k & 1}


@cache
def ring(dimensions: int) -> Ring:
    """Return the neighbours in 2 or 3 dimensions."""
    smallest, *middle, largest = CONNECTIVITIES[dimensions]
    offsets = neighbors(largest, dimensions)
    cross = set(neighbors(smallest, dimensions))
    # The corners of a cube are left out: background does not pass through them.
    near = set(neighbors(middle[0], dimensions)) if middle else set(offsets)
    plain = Ring(offsets, np.zeros(0, np.int64), np.zeros(0, np.int64), 0, 0)
    grow = [plain.bits(around(offset, set(offsets))) for offset in offsets]
    flow = [plain.bits(around(o, cross) & near if o in near else set()) for o in offsets]
    return Ring(offsets, np.array(grow), np.array(flow), plain.bits(near), plain.bits(cross))


def around(place: Offset, offsets: Set[Offset]) -> set[Offset]:
    """Return where offsets lead from a place."""
    return {tuple(a + b for a, b in zip(place, offset, strict=True)) for offset in offsets}


def components(members: int, wanted: int, adjacent: Masks) -> int:
    """Count the components of a ring that hold any of `wanted`; 2 stands for two or more.

    Plain enough for Numba to compile.
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
