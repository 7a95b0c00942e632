"""Simple points: voxels whose deletion, one at a time, keeps the topology of the image.

The predicate is kept as a reduced decision diagram in `diagrams/`, which `python -m
softmorph_cli.rules.simple_points` makes anew from the definition below.

Source: Bertrand & Malandain, *A new characterization of three-dimensional simple points* (1994); the diagram, for
single images: Robert & Malandain, *Fast binary image processing using binary decision diagrams* (1998).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import Expression, all_of, any_of, constant, negation, var
from softmorph_cli.rules.neighborhood import CONNECTIVITIES, subfields
from softmorph_cli.rules.ring import Masks, components, ring
from softmorph_cli.rules.rule import Action, Rule

# At the end of a rule's name: the rule at simple points alone, see `with_simple`.
SUFFIX: Final = "+simple"

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
    offsets = ring(dimensions).offsets
    values: list[Expression] = [constant(False), constant(True)]
    for line in (FOLDER / _name(dimensions)).read_text(encoding="ascii").splitlines():
        place, low, high = map(int, line.split())
        voxel = var(offsets[place])
        values.append(any_of(all_of(voxel, values[high]), all_of(negation(voxel), values[low])))
    return values[-1]


def with_simple(rule: Rule) -> Rule:
    """Return a deleting rule confined to simple points, each of its passes subfield by subfield.

    Whatever the rule, this keeps the topology of the image, outside of which is background: voxels of one subfield
    are not neighbours, so all that are simple may go at once.

    Raises:
        RuleError: If the rule does not delete.
    """
    if rule.action is not Action.DELETE:
        raise RuleError(
            f"rule {rule.name} is no deleting rule, and simple points concern deletion alone: leave out {SUFFIX}."
        )
    predicate = simple(rule.dimensions)
    passes = [
        replace(
            one,
            expression=all_of(predicate, one.expression),
            label=one.label if one.subfield else f"{one.label}{''.join(map(str, parity))}",
            subfield=parity,
        )
        for one in rule.sub_iterations
        for parity in ((one.subfield,) if one.subfield else subfields(rule.dimensions))
    ]
    return replace(
        rule,
        name=rule.name + SUFFIX,
        title=f"{rule.title or rule.name}; simple points alone, by subfields",
        condition=f"simple & ({rule.condition})",
        sub_iterations=tuple(passes),
        outside=0,
        order=ring(rule.dimensions).offsets,
    )


def table(dimensions: int) -> npt.NDArray[np.bool_]:
    """Return by definition which configurations of the neighbours make a voxel simple.

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
    """Make the diagrams from the definition and write them, one node a line."""
    for dimensions in CONNECTIVITIES:
        lines = [" ".join(map(str, node)) for node in reduced(table(dimensions))]
        (folder / _name(dimensions)).write_text("\n".join(lines) + "\n", encoding="ascii")


def _name(dimensions: int) -> str:
    return f"simple-{dimensions}d.txt"


def _fill(result: npt.NDArray[np.bool_], grow: Masks, flow: Masks, near: int, cross: int, count: Any) -> None:
    for bits in range(result.size):
        result[bits] = count(bits, bits, grow) == 1 and count(near & ~bits, cross, flow) == 1


if __name__ == "__main__":
    write(Path(str(FOLDER)))
