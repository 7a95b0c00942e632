"""The door of the compiler: a rule and a logic go in, the steps of one iteration come out."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

from softmorph_cli.compiler.program import Op, Program, parse
from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import And, Expression, Or, Var, canonical
from softmorph_cli.rules.neighborhood import Offset, centre, rotate
from softmorph_cli.rules.rule import Rule, SubIteration
from softmorph_cli.system import cache as disk

# The logic that goes through the decision diagram: exact on probabilities, and the one for bit planes.
DIAGRAM: Final = "multilinear"

# The same on bit planes of nested level sets, which it keeps nested; and on values by their order alone.
NESTED: Final = "nested"
RANKS: Final = "ranks"

# The logic of minima and maxima: threshold decomposition where the rule is increasing.
MINMAX: Final = "minmax"

# Part of every key on disk: raise it when the same rule is to give another program.
_EDITION: Final = 5


@dataclass(frozen=True)
class Fold:
    """One associative and commutative operation over all inputs, as an alternative to a step's program.

    Attributes:
        op: `MUL` (which is AND on bit planes), `MIN` or `MAX`.
        complement: Whether inputs and result are negated: OR, as the complement of AND.
    """

    op: Op
    complement: bool = False

    @property
    def neutral(self) -> int:
        """The value (after negation, if any) that changes nothing."""
        return 0 if self.op is Op.MAX else 1


@dataclass(frozen=True)
class Step:
    """One sub-iteration, ready for a kernel.

    Attributes:
        program: The new value of a voxel.
        offsets: Where each of the program's inputs lies, turned to this step's direction.
        outside: The value of voxels outside the image.
        absorbing: A value that a voxel never leaves in this step (0 or 1), so that whole runs of it can be
            skipped; None if there is none.
        fold: The same as `program` where that is a fold whose neutral value lies outside the image.
        subfield: The parity, along each axis, of the voxels to which the step is applied, by their index in the
            whole map; None for all voxels.
        ranked: Whether the step acts on values by their order: a voxel is lowered to the highest value, of its
            own and its neighbours' lower ones, at which `program` keeps it among the neighbours that are as high.
    """

    program: Program
    offsets: tuple[Offset, ...]
    outside: int
    absorbing: int | None
    fold: Fold | None = None
    subfield: Offset | None = None
    ranked: bool = False

    @property
    def centre(self) -> int | None:
        """Which input is the voxel itself; None where the program does not look at it."""
        return next((k for k, offset in enumerate(self.offsets) if not any(offset)), None)


@cache
def compile_rule(rule: Rule, logic: str) -> tuple[Step, ...]:
    """Return the steps of one iteration of a rule.

    Args:
        rule: The rule.
        logic: `DIAGRAM`, `NESTED`, `RANKS` or a key of `lowering.LOGICS`.

    Raises:
        RuleError: If the rule's decision diagram is too large.
    """
    steps = []
    for sub_iteration in rule.sub_iterations:
        order = (centre(rule.dimensions), *rule.order)
        try:
            program = _compile(rule.update(sub_iteration), order, DIAGRAM if logic == RANKS else logic)
        except RuleError as error:
            raise RuleError(f"{rule.origin or rule.name}: {error}.") from error
        offsets = tuple(rotate(offset, sub_iteration.rotation) for offset in program.inputs)
        steps.append(
            Step(
                program,
                offsets,
                rule.outside,
                rule.absorbing,
                _fold(rule, sub_iteration, logic),
                sub_iteration.subfield,
                logic == RANKS,
            )
        )
    return tuple(steps)


def is_increasing(rule: Rule) -> bool:
    """Say whether more foreground in the input never gives less in the output.

    `MINMAX` is then exact at every threshold: each level set of the output is the binary rule on that level set of
    the input. Of any other rule it is a fuzzy logic on the condition as written. A rule too large for a diagram
    counts as increasing only if its condition is written without complements.
    """
    return all(step.program.is_increasing for step in compile_rule(rule, MINMAX))


def _fold(rule: Rule, sub_iteration: SubIteration, logic: str) -> Fold | None:
    update = rule.update(sub_iteration)
    conjunction = isinstance(update, And)
    # A fold is computed for whole rows at once.
    if sub_iteration.subfield is not None:
        return None
    if not isinstance(update, And | Or) or not all(isinstance(a, Var) for a in update.arguments):
        return None
    # Outside counts as foreground for an AND and as background for an OR: it is as if it were not there.
    if rule.outside != int(conjunction) or len(set(update.arguments)) < len(update.arguments):
        return None
    match logic:
        case "multilinear" | "product":
            return Fold(Op.MUL, complement=not conjunction)
        case "minmax":
            return Fold(Op.MIN if conjunction else Op.MAX)
        case _:
            return None


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
    from softmorph_cli.compiler.lowering import lower_diagram, lower_expression, lower_increasing

    if logic not in (DIAGRAM, NESTED, MINMAX):
        return lower_expression(update, logic)
    from softmorph_cli.compiler import diagram

    if logic != MINMAX:
        return lower_diagram(diagram.build(update, order), nested=logic == NESTED)
    # A rule too large for a diagram has its fuzzy logic all the same.
    with suppress(RuleError):
        made = diagram.build(update, order)
        if diagram.is_increasing(made):
            return lower_increasing(made)
    return lower_expression(update, logic)
