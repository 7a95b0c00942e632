"""Defines the offsets of neighbours: names and order, connectivities, rotations and subfields.

An offset is a tuple of -1, 0, 1 in the order of the array axes: (dy, dx) in 2D, (dz, dy, dx) in 3D; y points down.
"""

from __future__ import annotations

from itertools import product
from typing import Final

Offset = tuple[int, ...]
Rotation = tuple[tuple[int, ...], ...]

# Clockwise from the north.
COMPASS: Final[dict[str, Offset]] = {
    "N": (-1, 0),
    "NE": (-1, 1),
    "E": (0, 1),
    "SE": (1, 1),
    "S": (1, 0),
    "SW": (1, -1),
    "W": (0, -1),
    "NW": (-1, -1),
}

# A rule is drawn for the first direction; these proper rotations, applied to offsets as column vectors, turn it to
# the others. 2D: quarter turns clockwise. 3D: Palágyi & Kuba's six border directions; "U" is the side at -1 on the
# middle axis.
DIRECTIONS: Final[dict[int, dict[str, Rotation]]] = {
    2: {
        "N": ((1, 0), (0, 1)),
        "E": ((0, 1), (-1, 0)),
        "S": ((-1, 0), (0, -1)),
        "W": ((0, -1), (1, 0)),
    },
    3: {
        "U": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "E": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
        "S": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
        "D": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
        "W": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
        "N": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    },
}

# The number of coordinates in which a neighbour may differ from the centre.
_REACH: Final[dict[int, dict[int, int]]] = {2: {4: 1, 8: 2}, 3: {6: 1, 18: 2, 26: 3}}

CONNECTIVITIES: Final = {dimensions: tuple(reach) for dimensions, reach in _REACH.items()}


def centre(dimensions: int) -> Offset:
    """Return the offset of the centre voxel: (0, 0) in 2D, (0, 0, 0) in 3D."""
    return (0,) * dimensions


def block(dimensions: int) -> tuple[Offset, ...]:
    """Return all 9 or 27 offsets of the 3 x 3 (x 3) block in array order, with the centre voxel in the middle."""
    return tuple(product((-1, 0, 1), repeat=dimensions))


def neighbors(connectivity: int, dimensions: int) -> tuple[Offset, ...]:
    """Return the offsets of a connectivity (4 or 8 in 2D; 6, 18 or 26 in 3D), without the centre voxel.

    Raises:
        KeyError: If the connectivity does not exist in 2D or 3D respectively.
    """
    reach = _REACH[dimensions][connectivity]
    return tuple(o for o in block(dimensions) if 0 < sum(map(abs, o)) <= reach)


def subfields(dimensions: int) -> tuple[Offset, ...]:
    """Return all 4 or 8 subfields in lexicographic order: the parities (0 or 1) of a voxel's index along each axis."""
    return tuple(product((0, 1), repeat=dimensions))


def rotate(offset: Offset, rotation: Rotation) -> Offset:
    """Return an offset, taken as a column vector, multiplied by a rotation matrix."""
    return tuple(sum(r * o for r, o in zip(row, offset, strict=True)) for row in rotation)


def quarter_turn(axis: int, dimensions: int) -> Rotation:
    """Return the matrix of a rotation by 90 degrees about an array axis; in 2D about the axis out of the plane."""
    first, second = (0, 1) if dimensions == 2 else [a for a in range(3) if a != axis]
    matrix = [[int(i == j) for j in range(dimensions)] for i in range(dimensions)]
    matrix[first][first] = matrix[second][second] = 0
    matrix[first][second], matrix[second][first] = 1, -1
    return tuple(map(tuple, matrix))


def name(offset: Offset) -> str:
    """Return the name of an offset in rule files: "C", a compass point such as "NE" in 2D, or "[z,y,x]" in 3D."""
    if not any(offset):
        return "C"
    if len(offset) == 2:
        return next(n for n, o in COMPASS.items() if o == offset)
    return f"[{','.join(map(str, offset))}]"
