"""Compiles a rule under a logic to the steps of one iteration, with a cache on disk."""

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
    """One associative and commutative operation over all inputs, as an alternative to a step's program.

    Attributes:
        op: `MUL` (which is AND on bit planes), `MIN` or `MAX`.
        complement: Whether inputs and result are negated: OR, as the complement of AND.
    """

    op: Op
    complement: bool = False

    @property
    def neutral(self) -> int:
        """The neutral element, after negation if any."""
        return 0 if self.op is Op.MAX else 1


@dataclass(frozen=True)
class Step:
    """A compiled sub-iteration.

    Attributes:
        program: The new value of a voxel.
        offsets: The offset of each of the program's inputs, turned to the direction of the step.
        outside: The value of voxels outside the image.
        absorbing: A value that the step never changes, 0 or 1, so that runs of it can be skipped; None if there is
            none.
        fold: A fold equivalent to `program`, if there is one whose neutral element is the value outside the image.
        subfield: The parity along each axis of the indices, in the whole map, of the voxels to which the step is
            applied; None for all voxels.
        ranked: Whether the step acts on values by their order: a voxel is lowered to the highest of its value and its
            neighbours' lower values at which `program` keeps it, with the neighbours of at least that value as
            foreground.
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
        """The index of the centre voxel among the inputs; None if the program does not depend on it."""
        return next((k for k, offset in enumerate(self.offsets) if not any(offset)), None)


@cache
def compile_rule(rule: Rule, logic: str) -> tuple[Step, ...]:
    """Return the steps of one iteration of a rule under a logic: `DIAGRAM`, `NESTED`, `RANKS` or one of `LOGICS`.

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
    """Return whether a rule is increasing: more foreground in the input never gives less in the output.

    `MINMAX` is then exact at every threshold: each level set of the output is the binary rule on that level set of the
    input. For any other rule it is a fuzzy logic on the condition as written. A rule too large for a diagram counts as
    increasing only if its condition is written without complements.
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
