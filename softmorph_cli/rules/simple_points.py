"""Simple points: voxels whose deletion, one at a time, keeps the topology of the image.

The predicate is kept as a reduced decision diagram in `diagrams/`, which `python -m
softmorph_cli.rules.simple_points` makes anew from the definition below.

Source: Bertrand & Malandain, *A new characterization of three-dimensional simple points* (1994); the diagram, for
single images: Robert & Malandain, *Fast binary image processing using binary decision diagrams* (1998).
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.rules.expression import Expression, all_of, any_of, constant, negation, var
from softmorph_cli.rules.neighborhood import CONNECTIVITIES, Offset, neighbors

FOLDER: Final = resources.files("softmorph_cli.rules") / "diagrams"

# In words, for `softmorph rules`.
MEANING: Final = {
    2: "its 8 neighbours hold exactly one 8-component of foreground, and exactly one 4-component of background "
    "touches it directly",
    3: "its 26 neighbours hold exactly one 26-component of foreground, and in the 18 nearest exactly one "
    "6-component of background touches it directly",
}


@cache
def simple(dimensions: int) -> Expression:
    """Return "the voxel is simple", for (8, 4) in 2D and (26, 6) in 3D, over its neighbours.

    Each decision of the diagram is an if-then-else, and equal ones are one object.

    Args:
        dimensions: 2 or 3.
    """
    ring = neighbors(max(CONNECTIVITIES[dimensions]), dimensions)
    known = [constant(False), constant(True)]
    values: list[Expression] = [*known]
    for line in (FOLDER / _name(dimensions)).read_text(encoding="ascii").splitlines():
        place, low, high = map(int, line.split())
        voxel = var(ring[place])
        values.append(any_of(all_of(voxel, values[high]), all_of(negation(voxel), values[low])))
    return values[-1]


def table(dimensions: int) -> npt.NDArray[np.bool_]:
    """Return by definition which configurations of the neighbours make a voxel simple.

    Args:
        dimensions: 2 or 3.

    Returns:
        Shape (2^8,) or (2^26,). Bit k of a configuration's number is the neighbour k in array order.
    """
    from numba import njit

    smallest, *rest = CONNECTIVITIES[dimensions]
    ring = neighbors(rest[-1], dimensions)
    # The background is looked at where it can touch: the corners of a cube are left out.
    near = neighbors(rest[0], dimensions)
    cross = neighbors(smallest, dimensions)
    grow = np.array([_bits(ring, _around(o, ring)) for o in ring])
    flow = np.array([_bits(ring, _around(o, cross) & set(near) if o in near else set()) for o in ring])
    result = np.empty(1 << len(ring), np.bool_)
    components: Any = njit(_components)
    njit(_fill)(result, grow, flow, _bits(ring, set(near)), _bits(ring, set(cross)), components)
    return result


def reduced(values: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return the reduced decision diagram of a truth table, the first variable at the top.

    Args:
        values: Shape (2^n,); bit k of an index is variable k.

    Returns:
        Variable, low and high of each node, children before parents; 0 is false, 1 true, k + 2 node k. The last
        node is the root.
    """
    nodes: list[tuple[int, int, int]] = []
    ids = values.astype(np.int32)
    for variable in reversed(range(values.size.bit_length() - 1)):
        low, high = ids.reshape(2, -1)
        known = len(nodes) + 2
        pairs = low.astype(np.int64) * known + high
        new = np.zeros(known * known, np.int32)
        new[pairs] = 1
        for pair in np.flatnonzero(new).tolist():
            first, second = divmod(pair, known)
            new[pair] = first
            if first != second:
                nodes.append((variable, first, second))
                new[pair] = len(nodes) + 1
        ids = new[pairs]
    return nodes


def write(folder: Path) -> None:
    """Make the diagrams from the definition and write them, one node a line."""
    for dimensions in CONNECTIVITIES:
        lines = [" ".join(map(str, node)) for node in reduced(table(dimensions))]
        (folder / _name(dimensions)).write_text("\n".join(lines) + "\n", encoding="ascii")


def _name(dimensions: int) -> str:
    return f"simple-{dimensions}d.txt"


def _around(offset: Offset, offsets: tuple[Offset, ...]) -> set[Offset]:
    return {tuple(a + b for a, b in zip(offset, other, strict=True)) for other in offsets}


def _bits(ring: tuple[Offset, ...], chosen: set[Offset]) -> int:
    return sum(1 << k for k, offset in enumerate(ring) if offset in chosen)


def _components(members: int, wanted: int, adjacent: npt.NDArray[np.int64]) -> int:
    """Count the components of `members` that hold any of `wanted`; 2 stands for two or more."""
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


def _fill(
    result: npt.NDArray[np.bool_],
    grow: npt.NDArray[np.int64],
    flow: npt.NDArray[np.int64],
    near: int,
    cross: int,
    components: Any,
) -> None:
    for ring in range(result.size):
        result[ring] = components(ring, ring, grow) == 1 and components(near & ~ring, cross, flow) == 1


if __name__ == "__main__":
    write(Path(str(FOLDER)))
