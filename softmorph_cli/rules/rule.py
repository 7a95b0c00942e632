"""A rule: a Boolean expression, what to do where it holds, and a schedule of sub-iterations."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from softmorph_cli.rules.expression import Expression, all_of, any_of, negation, var
from softmorph_cli.rules.neighborhood import Offset, Rotation, centre
from softmorph_cli.rules.picture import Template


class Action(StrEnum):
    """What happens to a voxel where the expression holds; elsewhere `DELETE` and `ADD` leave it as it is."""

    DELETE = "delete"
    ADD = "add"
    SET = "set"


@dataclass(frozen=True)
class SubIteration:
    """One simultaneous pass over all voxels, or over one subfield of them.

    Attributes:
        expression: The condition, as drawn for the rule's first direction.
        rotation: Turns the offsets of `expression` to this pass's direction.
        label: The direction's or the subfield's name, for people.
        subfield: The pass changes only voxels whose index in the whole map has this parity along each axis, such
            as (0, 1, 1); None for all voxels. Voxels of one subfield are not neighbours.
    """

    expression: Expression
    rotation: Rotation
    label: str = ""
    subfield: Offset | None = None


@dataclass(frozen=True)
class Rule:
    """A binary morphological filter as data.

    Attributes:
        name: The name people type.
        dimensions: 2 or 3.
        action: See `Action`.
        sub_iterations: The passes of one iteration, in order.
        outside: The value of voxels outside the image, 0 or 1.
        iterations: The default number of iterations; None means until nothing changes.
        title: One line about what the rule does.
        citation: Where it comes from.
        templates: The named pictures and expressions it was written with, for drawing.
        condition: How they combine, as written.
        order: Variable order of the decision diagram, top to bottom, where a good one is known.
        origin: Where the condition is written ("my_rule.toml, line 7"), for messages.
    """

    name: str
    dimensions: int
    action: Action
    sub_iterations: tuple[SubIteration, ...]
    outside: int = 0
    iterations: int | None = None
    title: str = ""
    citation: str = ""
    templates: tuple[tuple[str, Template | str], ...] = ()
    condition: str = ""
    order: tuple[Offset, ...] = field(default=(), repr=False)
    origin: str = field(default="", compare=False)

    def update(self, sub_iteration: SubIteration) -> Expression:
        """Return the new value of a voxel, as drawn for the first direction."""
        old, condition = var(centre(self.dimensions)), sub_iteration.expression
        match self.action:
            case Action.DELETE:
                return all_of(old, negation(condition))
            case Action.ADD:
                return any_of(old, condition)
            case Action.SET:
                return condition

    @property
    def absorbing(self) -> int | None:
        """The value that a voxel, once it has it, keeps for ever under `action`; None for `SET`."""
        return {Action.DELETE: 0, Action.ADD: 1, Action.SET: None}[self.action]
