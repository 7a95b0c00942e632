"""Finds necessary conditions for a program to change a voxel, by partial evaluation with one input fixed.

A thinning deletes only foreground, and only where the neighbour on the side from which the pass deletes is
background. With the opposite value of that input every instruction reduces to a constant or to the voxel's value, by
identities that are exact in floating-point arithmetic (0 x = 0, 1 x = x, c + x (c - c) = c) for operands in [0, 1];
and `FILL` does not change the word of a voxel whose level sets are nested. So where a condition fails, skipping the
voxel is bit for bit the same as running the program.
"""

from __future__ import annotations

from functools import cache

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.program import Op, Program

# A known value is 0 or 1, or a copy of an instruction, whose number is counted from 2.
_FIRST = 2
_BELOW = ((Op.MUL, 0, 0), (Op.MIN, 0, 0), (Op.MAX, 1, 1))
_NEUTRAL = ((Op.MUL, 1), (Op.MIN, 1), (Op.MAX, 0), (Op.ADD, 0))


@cache
def needs(step: Step, *, bits: bool = False) -> tuple[tuple[int, int], ...]:
    """Return necessary conditions for a step to change a voxel.

    Args:
        step: A compiled sub-iteration.
        bits: Whether the step acts on bit planes, for which more identities hold.

    Returns:
        Pairs of the index of an input and a value, 0 or 1: where the input is exactly 1 - value, the step does not
        change the voxel. The pair of the centre voxel comes first, if there is one.
    """
    centre = step.centre
    if centre is None:
        return ()
    found = {
        k: 1 - value
        for k in range(len(step.offsets))
        for value in (0, 1)
        if _collapses(step.program, k, value, centre, bits)
    }
    if step.absorbing is not None:
        found[centre] = 1 - step.absorbing
    return tuple(sorted(found.items(), key=lambda pair: pair[0] != centre))


def _collapses(program: Program, fixed: int, value: int, centre: int, bits: bool) -> bool:
    known: list[int] = []
    own = value if fixed == centre else -1
    for number, (op, operands) in enumerate((i.op, i.operands) for i in program.instructions):
        this = number + _FIRST
        if op is Op.INPUT:
            known.append(value if operands[0] == fixed else this)
            if operands[0] == centre:
                own = known[-1]
        elif op is Op.CONST:
            known.append(operands[0])
        elif bits and op is Op.MIX and known[operands[0]] == 1:
            known.append(known[operands[2]])
        else:
            known.append(_simplify(op, [known[operand] for operand in operands], this))
    return known[-1] == own


def _simplify(op: Op, values: list[int], this: int) -> int:
    first, last = values[0], values[-1]
    if op is Op.NOT and first < _FIRST:
        return 1 - first
    if op is Op.FILL:
        # Compared with the voxel's word only, which is filled already.
        return first
    if op in (Op.DIV, Op.STEP) and first == 0:
        return 0
    if op is Op.SUB and last == 0:
        return first
    if op is Op.MIX:
        x, low, high = values
        if low == high and low < _FIRST:
            return low
        if x == 0:
            return low
        if x == 1 and low < _FIRST and high < _FIRST:
            return high
        if (low, high) == (0, 1):
            return x
        return this
    for kind, operand, result in _BELOW:
        if op is kind and operand in values:
            return result
    for kind, operand in _NEUTRAL:
        if op is kind and operand in values:
            return last if first == operand else first
    return this
