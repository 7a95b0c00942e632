"""Compiles a rule under a logic to the steps of one iteration; compiled programs are cached on disk."""

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

# By the decision diagram: the exact expectation on probabilities, and the rule itself on bit planes.
DIAGRAM: Final = "multilinear"

# The same on bit planes of level sets, which stay nested; and on values by their order.
NESTED: Final = "nested"
RANKS: Final = "ranks"

# Minima and maxima: threshold decomposition if the rule is increasing.
MINMAX: Final = "minmax"

# Part of the keys on disk: to be incremented when the program of a rule changes.
_EDITION: Final = 5


@dataclass(frozen=True)
class Fold:
    """An associative and commutative operation over all inputs that gives the same result as the program of a step.

    Attributes:
        op: The operation: `MUL` (which is AND on bit planes), `MIN` or `MAX`.
        complement: Whether the inputs and the result are negated, which turns AND into OR.
    """

    op: Op
    complement: bool = False

    @property
    def neutral(self) -> int:
        """The neutral element of the operation (0 or 1), in terms of the negated inputs if `complement` is set."""
        return 0 if self.op is Op.MAX else 1


@dataclass(frozen=True)
class Step:
    """A compiled sub-iteration: a program and the offsets of the voxels that are the program's inputs.

    Attributes:
        program: The program that computes the new value of a voxel.
        offsets: The offset of each input of the program, turned to the direction of the sub-iteration.
        outside: The value of voxels outside the image, 0 or 1.
        absorbing: A voxel value that the step never changes, 0 or 1, so that groups of voxels with that value can be
            skipped; None if no value is absorbing.
        fold: A `Fold` equivalent to `program` whose neutral element is the value outside the image; None if no such
            fold exists.
        subfield: The parity of the indices along each axis of the whole map, for the voxels to which the step is
            applied; None if the step is applied to all voxels.
        ranked: Whether the step acts on values by their order: each voxel is lowered to the highest value, among the
            voxel's own and the neighbours' lower values, at which `program` does not delete the voxel if the
            neighbours of at least that value are taken as foreground.
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
        """The index of the centre voxel among the inputs; None if the program does not depend on the centre voxel."""
        return next((k for k, offset in enumerate(self.offsets) if not any(offset)), None)


@cache
def compile_rule(rule: Rule, logic: str) -> tuple[Step, ...]:
    """Return the steps (compiled sub-iterations) of one iteration of a rule under a logic.

    Args:
        rule: The rule to be compiled.
        logic: `DIAGRAM`, `NESTED`, `RANKS` or a key of `lowering.LOGICS`.

    Raises:
        RuleError: If the decision diagram of the rule is too large.
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
    """Return whether a rule is increasing: more foreground in the input never gives less foreground in the output.

    The logic `MINMAX` is then exact at every threshold: each level set of the output is the binary rule applied to
    that level set of the input. For any other rule, `MINMAX` is a fuzzy logic on the condition as written. A rule too
    large for a decision diagram counts as increasing only if the condition is written without complements.
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
    # The value outside has to be neutral: foreground for an AND, background for an OR.
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
        with suppress(ValueError):  # a damaged entry is compiled again and replaced
            return parse(known)
    program = _build(update, order, logic)
    # Without a writable cache the next process compiles again.
    with suppress(OSError):
        disk.store("programs", key, str(program))
    return program


def _build(update: Expression, order: tuple[Offset, ...], logic: str) -> Program:
    # Imported here: a cached program needs neither dd nor the rest of the compiler.
    from softmorph_cli.compiler.lowering import lower_diagram, lower_expression, lower_increasing

    if logic not in (DIAGRAM, NESTED, MINMAX):
        return lower_expression(update, logic)
    from softmorph_cli.compiler import diagram

    if logic != MINMAX:
        return lower_diagram(diagram.build(update, order), nested=logic == NESTED)
    # A rule too large for a diagram still has a fuzzy logic.
    with suppress(RuleError):
        built = diagram.build(update, order)
        if diagram.is_increasing(built):
            return lower_increasing(built)
    return lower_expression(update, logic)
