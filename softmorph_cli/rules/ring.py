"""Encodes neighbourhoods as integers: bit k of a ring is set if the kth neighbour (in array order) is foreground."""

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
    """The neighbours of a voxel and the adjacency among the neighbours, as bit masks.

    A ring is an integer in which bit k stands for `offsets[k]`.

    Attributes:
        offsets: The offsets of all 8 or 26 neighbours.
        grow: For each neighbour, the ring of the neighbours that are 8- or 26-adjacent to it (foreground), shape (8,)
            or (26,).
        flow: For each neighbour in `near`, the ring of the neighbours in `near` that are 4- or 6-adjacent to it
            (background); 0 for other neighbours.
        near: The ring of the neighbours through which background can touch the voxel: all 8 in 2D, 18 of 26 in 3D.
        cross: The ring of the 4 or 6 direct neighbours.
    """

    offsets: tuple[Offset, ...]
    grow: Masks
    flow: Masks
    near: int
    cross: int

    def bits(self, chosen: Set[Offset]) -> int:
        """Return the ring (integer) in which the bits of the offsets in `chosen` are set; the centre is ignored."""
        return sum(1 << k for k, offset in enumerate(self.offsets) if offset in chosen)

    def chosen(self, bits: int) -> set[Offset]:
        """Return the offsets of the neighbours whose bits are set in the ring `bits`."""
        return {offset for k, offset in enumerate(self.offsets) if bits >> k & 1}


@cache
def ring(dimensions: int) -> Ring:
    """Return the neighbours of a voxel in 2 or 3 dimensions with the adjacency among the neighbours."""
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
    """Return the set of offsets, each shifted by the vector `place`."""
    return {tuple(a + b for a, b in zip(place, offset, strict=True)) for offset in offsets}


def components(members: int, wanted: int, adjacent: Masks) -> int:
    """Return the number (at most 2) of connected components of a ring that contain a bit of `wanted`.

    Numba compiles the function, so the code is limited to integers and arrays.

    Args:
        members: The ring whose components are counted.
        wanted: The ring of the bits of which a component has to contain at least one.
        adjacent: For each neighbour the ring of adjacent neighbours: `Ring.grow` or `Ring.flow`.
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
