"""The door of the compiler: a rule and a logic go in, the steps of one iteration come out."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

from softmorph_cli import cache as disk
from softmorph_cli.compiler.program import Program, parse
from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import Expression, canonical
from softmorph_cli.rules.neighborhood import Offset, centre, rotate
from softmorph_cli.rules.rule import Rule

# The logic that goes through the decision diagram: exact on probabilities, and the one for bit planes.
DIAGRAM: Final = "multilinear"

# Part of every key on disk: raise it when the same rule is to give another program.
_EDITION: Final = 4


@dataclass(frozen=True)
class Step:
    """One sub-iteration, ready for a kernel.

    Attributes:
        program: The new value of a voxel.
        offsets: Where each of the program's inputs lies, turned to this step's direction.
        outside: The value of voxels outside the image.
        absorbing: A value that a voxel never leaves in this step (0 or 1), so that whole runs of it can be
            skipped; None if there is none.
    """

    program: Program
    offsets: tuple[Offset, ...]
    outside: int
    absorbing: int | None


@cache
def compile_rule(rule: Rule, logic: str) -> tuple[Step, ...]:
    """Return the steps of one iteration of a rule.

    Args:
        rule: The rule.
        logic: `DIAGRAM` or a key of `lowering.LOGICS`.

    Raises:
        RuleError: If the rule's decision diagram is too large.
    """
    steps = []
    for sub_iteration in rule.sub_iterations:
        order = (centre(rule.dimensions), *rule.order)
        try:
            program = _compile(rule.update(sub_iteration), order, logic)
        except RuleError as error:
            raise RuleError(f"{rule.origin or rule.name}: {error}.") from error
        offsets = tuple(rotate(offset, sub_iteration.rotation) for offset in program.inputs)
        steps.append(Step(program, offsets, rule.outside, rule.absorbing))
    return tuple(steps)


@cache
def _compile(update: Expression, order: tuple[Offset, ...], logic: str) -> Program:
    text = f"{_EDITION}\n{logic}\n{order}\n{canonical(update)}"
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    known = disk.load("programs", key)
    if known is not None:
        try:
            return parse(known)
        except ValueError:
            pass  # damaged or cut short: compile again, which also mends the entry
    program = _build(update, order, logic)
    # A cache that cannot be written costs time in the next process, nothing else.
    with suppress(OSError):
        disk.store("programs", key, str(program))
    return program


def _build(update: Expression, order: tuple[Offset, ...], logic: str) -> Program:
    # Imported late: what comes from the cache needs neither dd nor the rest of the compiler.
    from softmorph_cli.compiler.lowering import lower_diagram, lower_expression

    if logic != DIAGRAM:
        return lower_expression(update, logic)
    from softmorph_cli.compiler.diagram import build

    return lower_diagram(build(update, order))
