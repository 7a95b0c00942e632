"""The decision diagrams of simple points, generated from the definition.

`python tests/helpers_simple_diagrams.py` writes the files in `softmorph_cli/rules/diagrams/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.rules.neighborhood import CONNECTIVITIES
from softmorph_cli.rules.ring import Masks, components, ring
from softmorph_cli.rules.simple_points import FOLDER


def table(dimensions: int) -> npt.NDArray[np.bool_]:
    """Return by definition in which configurations of its neighbours a voxel is simple.

    Args:
        dimensions: 2 or 3.

    Returns:
        Shape (2^8,) or (2^26,). Bit k of a configuration's number is the neighbour k in array order.
    """
    import numba

    njit: Any = numba.njit
    neighbours = ring(dimensions)
    result = np.empty(1 << len(neighbours.offsets), np.bool_)
    tables = neighbours.grow, neighbours.flow, neighbours.near, neighbours.cross
    njit(_fill)(result, *tables, njit(components))
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
    """Write the diagrams, one node per line."""
    for dimensions in CONNECTIVITIES:
        lines = [" ".join(map(str, node)) for node in reduced(table(dimensions))]
        (folder / f"simple-{dimensions}d.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


def _fill(result: npt.NDArray[np.bool_], grow: Masks, flow: Masks, near: int, cross: int, count: Any) -> None:
    for bits in range(result.size):
        result[bits] = count(bits, bits, grow) == 1 and count(near & ~bits, cross, flow) == 1


if __name__ == "__main__":
    write(Path(str(FOLDER)))
