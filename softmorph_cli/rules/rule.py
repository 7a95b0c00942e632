"""A rule: a Boolean condition, an action where it holds, and a schedule of sub-iterations."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from softmorph_cli.rules.expression import Expression, all_of, any_of, negation, var
from softmorph_cli.rules.neighborhood import Offset, Rotation, centre
from softmorph_cli.rules.picture import Template


class Action(StrEnum):
    """The action where the condition holds; elsewhere `DELETE` and `ADD` keep the voxel."""

    DELETE = "delete"
    ADD = "add"
    SET = "set"


@dataclass(frozen=True)
class SubIteration:
    """A parallel pass over all voxels or one subfield.

    Attributes:
        expression: The condition, as drawn for the rule's first direction.
        rotation: Turns the offsets of `expression` to the direction of this pass.
        label: The name of the direction or the subfield.
        subfield: The parity along each axis of the indices, in the whole map, of the voxels that the pass may change,
            such as (0, 1, 1); None for all voxels. Voxels of one subfield are not neighbours.
    """

    expression: Expression
    rotation: Rotation
    label: str = ""
    subfield: Offset | None = None


@dataclass(frozen=True)
class Rule:
    """A binary morphological filter as data.

    Attributes:
        name: The name as it is typed.
        dimensions: 2 or 3.
        action: See `Action`.
        sub_iterations: The passes of one iteration, in order.
        outside: The value of voxels outside the image, 0 or 1.
        iterations: The default number of iterations; None until nothing changes.
        title: A description in one line.
        citation: The source.
        templates: The named pictures and expressions of the rule's file, to be printed.
        condition: Their combination, as written.
        order: A good variable order of the decision diagram from top to bottom, if one is known.
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
        """Return the new value of a voxel as an expression, for the first direction."""
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
        """The value that `action` never changes, 0 or 1; None for `SET`."""
        return {Action.DELETE: 0, Action.ADD: 1, Action.SET: None}[self.action]
