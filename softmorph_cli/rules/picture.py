"""Templates of rules, drawn as pictures: conditions on the 3 x 3 (x 3) block of voxels around a voxel.

The marks are `1` foreground, `0` background, `.` either, `x` at least one of all `x` is foreground, `*` the centre
voxel (either). In 2D a picture is three lines of three marks. In 3D each line has three groups, the slices at -1, 0, +1
along axis 0; the lines are in the order of axis 1, the marks of a group in the order of axis 2::

    000  000  000
    xxx  x*x  xxx
    xxx  x1x  xxx
"""

from __future__ import annotations

from dataclasses import dataclass

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import Expression, all_of, any_of, negation, turned, var
from softmorph_cli.rules.neighborhood import Offset, Rotation, block, centre
from softmorph_cli.system.printable import INDENT

_MARKS = frozenset("10.x*")


@dataclass(frozen=True)
class Template:
    """A condition on the neighbours of a voxel, drawn as a picture, with or without the picture's quarter turns.

    Attributes:
        marks: Pairs of each offset of the 3 x 3 (x 3) block and the mark drawn for that offset.
        quarter_turn: The rotation by 90 degrees if the condition is that the picture or one of the picture's turns
            holds; None if the picture is not turned.
    """

    marks: tuple[tuple[Offset, str], ...]
    quarter_turn: Rotation | None = None

    def __str__(self) -> str:
        """Return the picture as text, in the format that `parse` reads."""
        rows: dict[tuple[int, ...], str] = {}
        for offset, mark in self.marks:
            rows[offset[:-1]] = rows.get(offset[:-1], "") + mark
        if len(self.marks) == 9:
            return "\n".join(rows.values())
        return "\n".join("  ".join(rows[a, b] for a in (-1, 0, 1)) for b in (-1, 0, 1))

    @property
    def expression(self) -> Expression:
        """The Boolean expression that is true where the template holds.

        The common factor of the four quarter turns is written in front of the OR of the other factors: the logic
        `product` and the t-norms depend on the form of the expression.
        """
        alternatives = [_conditions(self.marks)]
        if self.quarter_turn is not None:
            for _ in range(3):
                alternatives.append([turned(c, self.quarter_turn) for c in alternatives[-1]])
        common = [c for c in alternatives[0] if all(c in alternative for alternative in alternatives)]
        rest = [all_of(*(c for c in alternative if c not in common)) for alternative in alternatives]
        return all_of(*common, any_of(*rest)) if len(rest) > 1 else all_of(*common)


def _conditions(marks: tuple[tuple[Offset, str], ...]) -> list[Expression]:
    misses: list[Expression] = [negation(var(offset)) for offset, mark in marks if mark == "0"]
    hits: list[Expression] = [var(offset) for offset, mark in marks if mark == "1"]
    either = [var(offset) for offset, mark in marks if mark == "x"]
    return misses + hits + ([any_of(*either)] if either else [])


def parse(picture: str, dimensions: int, quarter_turn: Rotation | None = None) -> Template:
    """Return the template drawn as a picture, in the format described in the module's docstring.

    Args:
        picture: The lines of marks.
        dimensions: The number of axes, 2 or 3.
        quarter_turn: The rotation by 90 degrees if the template also holds in the picture's quarter turns.

    Raises:
        RuleError: If the picture has an unknown mark or the wrong shape.
    """
    groups = [line.split() for line in picture.strip().splitlines() if line.strip()]
    wanted = (1 if dimensions == 2 else 3) * ["..."]
    if len(groups) != 3 or any([len(g) for g in line] != [len(g) for g in wanted] for line in groups):
        form = "3 lines of 3 marks" if dimensions == 2 else "3 lines of 3 groups of 3 marks"
        drawn_as = INDENT + INDENT.join(line.strip() for line in picture.strip().splitlines())
        raise RuleError(f"a {dimensions}D picture has {form}; this one does not:{drawn_as}")
    unknown = {mark for line in groups for group in line for mark in group} - _MARKS
    if unknown:
        raise RuleError(
            f"unknown mark {sorted(unknown)[0]!r} in a picture: use 1, 0, . (either), x (any) or *."
        )
    drawn: dict[Offset, str] = {}
    for row, line in enumerate(groups, start=-1):
        for group, marks in enumerate(line, start=-1):
            for column, mark in enumerate(marks, start=-1):
                drawn[(row, column) if dimensions == 2 else (group, row, column)] = mark
    if any(mark == "*" and offset != centre(dimensions) for offset, mark in drawn.items()):
        raise RuleError("the mark * stands for the voxel itself: it belongs in the middle of the picture")
    return Template(tuple((offset, drawn[offset]) for offset in block(dimensions)), quarter_turn)
