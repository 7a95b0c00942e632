"""What a voxel's change needs: never claimed too much, in the very bits of float arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers_maps import same_bits

from softmorph_cli.compiler.compile import DIAGRAM, Step, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.compiler.necessary_conditions import needs
from softmorph_cli.compiler.program import Instruction, Op, Program, execute
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.neighborhood import CONNECTIVITIES
from softmorph_cli.rules.rule import Rule

ELEMENTS = [(c, d) for d, all_ in CONNECTIVITIES.items() for c in all_]
RULES = {name: catalog.bundled(name) for name in catalog.names()}
RULES |= {f"erosion-{c}": structuring.erosion(c, d) for c, d in ELEMENTS}
RULES |= {f"dilation-{c}": structuring.dilation(c, d) for c, d in ELEMENTS}

# Voxels drawn for each claim.
COUNT = 300


def _floats(dtype: str, contracted: bool) -> dict[Op, Callable[..., Any]]:
    one = np.dtype(dtype).type(1)

    def divide(a: Any, b: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.asarray(b) == 0, one - one, np.true_divide(a, b)).astype(dtype)

    def mix(x: Any, low: Any, high: Any) -> Any:
        if not contracted:
            return low + x * (high - low)
        # A multiply-add with one rounding, as the compiler may make of it.
        wide = np.longdouble if dtype == "float64" else np.float64
        return (low + np.asarray(x, wide) * np.asarray(high - low, wide)).astype(dtype)

    return {
        Op.CONST: lambda value: np.full(COUNT, value, dtype),
        Op.NOT: lambda a: one - a,
        Op.ADD: np.add,
        Op.SUB: np.subtract,
        Op.MUL: np.multiply,
        Op.DIV: divide,
        Op.MIN: np.minimum,
        Op.MAX: np.maximum,
        Op.MIX: mix,
        Op.STEP: lambda a: (a > 0).astype(dtype),
        Op.FILL: lambda a: a,
    }


BITS: dict[Op, Callable[..., Any]] = {
    Op.CONST: lambda value: np.full(COUNT, -value, np.int64),
    Op.NOT: np.invert,
    Op.MUL: np.bitwise_and,
    Op.MIX: lambda x, low, high: low ^ (x & (low ^ high)),
}


def _drawn(inputs: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(inputs)
    if dtype == "int64":
        return rng.integers(-(2**63), 2**63 - 1, (inputs, COUNT))
    tiny = np.finfo(dtype).smallest_subnormal
    steps = np.array([0, 0.5, 1, 1e-20, tiny, 1 - np.finfo(dtype).epsneg])
    some = np.where(
        rng.random((inputs, COUNT)) < 0.5, rng.random((inputs, COUNT)), rng.choice(steps, (inputs, COUNT))
    )
    return some.astype(dtype)


def _holds(step: Step, fixed: int, value: int, dtype: str, contracted: bool) -> bool:
    """Say whether the voxel keeps its value, bit for bit, wherever the input is 1 - value."""
    values = _drawn(len(step.offsets), dtype)
    values[fixed] = value - 1 if dtype == "int64" else 1 - value
    algebra = BITS if dtype == "int64" else _floats(dtype, contracted)
    centre = step.offsets.index((0,) * len(step.offsets[0]))
    return same_bits(execute(step.program, list(values), algebra), values[centre])


def _steps(rule: Rule, logic: str) -> list[Step]:
    """One step of each program: the others are the same with other offsets."""
    return list({step.program: step for step in compile_rule(rule, logic)}.values())


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("logic", [DIAGRAM, *LOGICS])
@pytest.mark.parametrize("name", RULES)
def test_where_a_condition_fails_nothing_changes(name: str, logic: str, dtype: str, contracted: bool) -> None:
    for step in _steps(RULES[name], logic):
        for fixed, value in needs(step):
            assert _holds(step, fixed, value, dtype, contracted)


@pytest.mark.parametrize("name", RULES)
def test_where_a_condition_fails_no_bit_changes(name: str) -> None:
    for step in _steps(RULES[name], DIAGRAM):
        assert set(needs(step)) <= set(needs(step, bits=True))
        for fixed, value in needs(step, bits=True):
            assert _holds(step, fixed, value, "int64", False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_the_check_refuses_every_other_claim(dtype: str) -> None:
    """Of 18 claims about the 2D rule two hold; on floats one of them by rounding alone, so it is not named."""
    (step,) = _steps(RULES["thinning-2d"], DIAGRAM)
    every = [(k, value) for k in range(9) for value in (0, 1)]
    true = {(k, v) for k, v in every if _holds(step, k, v, dtype, False)}
    assert true == set(needs(step, bits=True))
    assert len(true) == 2


# ---------------------------------------------------------------- what is found


def _named(
    rule: Rule, logic: str = DIAGRAM, *, bits: bool = False
) -> list[list[tuple[tuple[int, ...], int]]]:
    return [
        [(step.offsets[k], value) for k, value in needs(step, bits=bits)]
        for step in compile_rule(rule, logic)
    ]


# The side from which each sub-iteration takes.
BORDERS = ((0, -1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, -1), (-1, 0, 0))


@pytest.mark.parametrize("bits", [False, True])
def test_thinning_in_3d_takes_foreground_from_the_border_side_alone(bits: bool) -> None:
    named = _named(RULES["thinning-3d"], bits=bits)
    assert len(named) == 6
    for found in named:
        assert found[0] == ((0, 0, 0), 1)
        assert len(found) == 2
        (border, value) = found[1]
        assert value == 0
        assert sum(map(abs, border)) == 1
    assert {found[1][0] for found in named} == set(BORDERS)


@pytest.mark.parametrize("logic", [DIAGRAM, *LOGICS])
@pytest.mark.parametrize("name", ["thinning-2d", "thinning-3d", "prune-2d", "isolated-3d", "guo-hall-2d"])
def test_what_deletes_needs_foreground(name: str, logic: str) -> None:
    for found in _named(RULES[name], logic):
        assert found[0] == ((0,) * RULES[name].dimensions, 1)


def test_on_bits_the_border_side_is_found_in_2d_too() -> None:
    sides = [found[1] for found in _named(RULES["thinning-2d"], bits=True)]
    assert sides == [((-1, 0), 0), ((0, 1), 0), ((1, 0), 0), ((0, -1), 0)]


@pytest.mark.parametrize(("connectivity", "dimensions"), ELEMENTS)
def test_erosion_needs_foreground_and_dilation_background(connectivity: int, dimensions: int) -> None:
    centre = (0,) * dimensions
    for bits in (False, True):
        assert _named(structuring.erosion(connectivity, dimensions), bits=bits) == [[(centre, 1)]]
    assert _named(structuring.dilation(connectivity, dimensions), bits=True) == [[(centre, 0)]]


def test_a_rule_that_does_not_depend_on_the_voxel_itself_has_no_conditions() -> None:
    (step,) = compile_rule(structuring.erosion(4, 2), DIAGRAM)
    shift = Program(((0, 1),), (Instruction(Op.INPUT, (0,)),))
    assert needs(replace(step, program=shift, offsets=((0, 1),), absorbing=None)) == ()
    constant = Program((), (Instruction(Op.CONST, (1,)),))
    assert needs(replace(step, program=constant, offsets=(), absorbing=None)) == ()
    assert _named(RULES["majority-2d"]) == [[]]
