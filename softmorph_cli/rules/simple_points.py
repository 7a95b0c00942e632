"""Defines simple points: voxels whose deletion, one voxel at a time, keeps the topology of the image.

The predicate is stored as a reduced decision diagram in `diagrams/`, written by `tests/helpers_simple_diagrams.py`
from the definition.

Source: Bertrand & Malandain, *A new characterization of three-dimensional simple points* (1994); the diagram, for
single images: Robert & Malandain, *Fast binary image processing using binary decision diagrams* (1998).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Final

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import Expression, all_of, any_of, constant, negation, var
from softmorph_cli.rules.neighborhood import subfields
from softmorph_cli.rules.ring import ring
from softmorph_cli.rules.rule import Action, Rule

# The suffix of a rule's name that restricts it to simple points, see `with_simple`.
SUFFIX: Final = "+simple"

FOLDER: Final = resources.files("softmorph_cli.rules") / "diagrams"

# The definition in words, for `softmorph rules`.
MEANING: Final = {
    2: "its 8 neighbours hold exactly one 8-component of foreground, and exactly one 4-component of background "
    "touches it directly",
    3: "its 26 neighbours hold exactly one 26-component of foreground, and in the 18 nearest exactly one "
    "6-component of background touches it directly",
}


@cache
def simple(dimensions: int) -> Expression:
    """Return the expression "the voxel is simple" over the neighbours, for (8, 4) connectivity in 2D, (26, 6) in 3D.

    The expression is built from the decision diagram: each node is an if-then-else, and equal nodes are one object.
    """
    offsets = ring(dimensions).offsets
    values: list[Expression] = [constant(False), constant(True)]
    for line in (FOLDER / f"simple-{dimensions}d.txt").read_text(encoding="ascii").splitlines():
        place, low, high = map(int, line.split())
        voxel = var(offsets[place])
        values.append(any_of(all_of(voxel, values[high]), all_of(negation(voxel), values[low])))
    return values[-1]


def with_simple(rule: Rule) -> Rule:
    """Return a deleting rule restricted to simple points, with each pass split into passes over the subfields.

    The restricted rule keeps the topology of any image with background outside: voxels of one subfield are not
    neighbours, so all simple points of a subfield may be deleted at once.

    Raises:
        RuleError: If the action of the rule is not to delete.
    """
    if rule.action is not Action.DELETE:
        raise RuleError(
            f"rule {rule.name} is no deleting rule, and simple points concern deletion alone: leave out {SUFFIX}."
        )
    predicate = simple(rule.dimensions)
    passes = [
        replace(
            sub,
            expression=all_of(predicate, sub.expression),
            label=sub.label if sub.subfield else f"{sub.label}{''.join(map(str, parity))}",
            subfield=parity,
        )
        for sub in rule.sub_iterations
        for parity in ((sub.subfield,) if sub.subfield else subfields(rule.dimensions))
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
