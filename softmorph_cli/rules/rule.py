"""Defines a rule: a Boolean condition, an action where the condition holds, and a schedule of sub-iterations."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from softmorph_cli.rules.expression import Expression, all_of, any_of, negation, var
from softmorph_cli.rules.neighborhood import Offset, Rotation, centre
from softmorph_cli.rules.picture import Template


class Action(StrEnum):
    """What a rule does with a voxel.

    `DELETE` sets the voxel to background and `ADD` to foreground where the condition holds; elsewhere the voxel keeps
    its value. `SET` sets the voxel to the value of the condition.
    """

    DELETE = "delete"
    ADD = "add"
    SET = "set"


@dataclass(frozen=True)
class SubIteration:
    """A parallel pass of a rule over all voxels or over one subfield.

    Attributes:
        expression: The condition, as drawn for the rule's first direction.
        rotation: The rotation matrix that turns the offsets of `expression` to the direction of this pass.
        label: The name of the direction or of the subfield.
        subfield: For a pass over one subfield, the parity of the voxels' indices along each axis of the whole map,
            such as (0, 1, 1); None for a pass over all voxels. Voxels of one subfield are not neighbours.
    """

    expression: Expression
    rotation: Rotation
    label: str = ""
    subfield: Offset | None = None


@dataclass(frozen=True)
class Rule:
    """A binary morphological filter as data.

    Attributes:
        name: The name with which a user selects the rule.
        dimensions: The number of axes, 2 or 3.
        action: What the rule does with a voxel: delete, add or set.
        sub_iterations: The passes of one iteration, in order.
        outside: The value of voxels outside the image, 0 or 1.
        iterations: The default number of iterations; None to iterate until nothing changes.
        title: A description in one line.
        citation: The publication from which the rule comes.
        templates: The named pictures and expressions of the rule's file, to be printed.
        condition: The condition as written, which combines the templates.
        order: A good variable order of the decision diagram from top to bottom; empty if none is known.
        origin: The file and line of the condition ("my_rule.toml, line 7"), for messages.
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
        """Return the new value of a voxel in a sub-iteration as an expression, for the rule's first direction."""
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
        """The voxel value that the rule never changes: 0 for `DELETE`, 1 for `ADD`; None for `SET`."""
        return {Action.DELETE: 0, Action.ADD: 1, Action.SET: None}[self.action]
