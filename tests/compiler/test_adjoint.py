"""Reverse-mode programs against torch's autograd, in float64, for every rule and every logic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from softmorph_cli.compiler.adjoint import Adjoint, adjoint
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.compiler.program import ARITY, Instruction, Op, Program, execute, execute_all
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.neighborhood import CONNECTIVITIES

ELEMENTS = [(c, d) for d, all_ in CONNECTIVITIES.items() for c in all_]
RULES = {name: catalog.bundled(name) for name in catalog.names()}
RULES |= {f"erosion-{c}": structuring.erosion(c, d) for c, d in ELEMENTS}
RULES |= {f"dilation-{c}": structuring.dilation(c, d) for c, d in ELEMENTS}
DIFFERENTIABLE = [DIAGRAM, *(logic for logic in LOGICS if logic != "drastic")]


def _divide(a: Tensor, b: Tensor) -> Tensor:
    empty = b == 0
    return torch.where(empty, 0.0, a / torch.where(empty, 1.0, b))


TENSORS: dict[Op, Callable[..., Any]] = {
    Op.CONST: lambda value: torch.tensor(float(value), dtype=torch.float64),
    Op.NOT: lambda a: 1 - a,
    Op.ADD: torch.add,
    Op.SUB: torch.sub,
    Op.MUL: torch.mul,
    Op.DIV: _divide,
    Op.MIN: torch.minimum,
    Op.MAX: torch.maximum,
    Op.MIX: lambda x, low, high: low + x * (high - low),
    Op.STEP: lambda a: (a > 0).double(),
    Op.FILL: lambda a: a,
}


def _points(inputs: int, seed: int) -> Tensor:
    """(inputs, 96): inside the cube, on a coarse grid full of ties, and at its corners."""
    rng = np.random.default_rng(seed)
    inside = rng.random((inputs, 32))
    ties = rng.choice([0, 0.25, 0.5, 0.75, 1], size=(inputs, 32))
    corners = (rng.random((inputs, 32)) < rng.random(32)).astype(float)
    return torch.tensor(np.concatenate([inside, ties, corners], axis=1))


def _by_torch(program: Program, points: Tensor, seed: Tensor) -> Tensor:
    inputs = [row.clone().requires_grad_() for row in points]
    result = execute(program, inputs, TENSORS).expand_as(seed)
    if not result.requires_grad:
        return torch.zeros_like(points)
    found = torch.autograd.grad((result * seed).sum(), inputs, allow_unused=True, materialize_grads=True)
    return torch.stack(found)


def _by_adjoint(reverse: Adjoint, points: Tensor, seed: Tensor) -> Tensor:
    values = execute_all(reverse.instructions, reverse.partials, [*points, seed], TENSORS)
    return torch.stack([value.expand_as(seed) for value in values])


def _agree(program: Program, reverse: Adjoint, number: int = 0) -> bool:
    points = _points(len(program.inputs), number)
    seed = torch.tensor(np.random.default_rng(number + 1).normal(size=points.shape[1]))
    got, wanted = _by_adjoint(reverse, points, seed), _by_torch(program, points, seed)
    return bool(torch.isfinite(wanted).all()) and torch.allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("logic", DIFFERENTIABLE)
@pytest.mark.parametrize("name", RULES)
def test_every_rule_and_logic_agrees_with_autograd(name: str, logic: str) -> None:
    for program in {step.program for step in compile_rule(RULES[name], logic)}:
        assert _agree(program, adjoint(program))


@pytest.mark.parametrize("logic", DIFFERENTIABLE)
def test_the_comparison_sees_any_two_partials_swapped(logic: str) -> None:
    (program,) = {step.program for step in compile_rule(RULES["thinning-2d"], logic)}
    right = adjoint(program)
    for k in range(1, len(right.partials)):
        order = list(right.partials)
        order[k - 1], order[k] = order[k], order[k - 1]
        assert not _agree(program, replace(right, partials=tuple(order)))


def test_the_comparison_sees_ties_given_to_one_side() -> None:
    program = _program("input 0", "input 1", "min 0 1")
    right = adjoint(program)
    # The half of a tie is made by adding two steps: one of them alone leaves ties to the other side.
    slips = [
        replace(right, instructions=_swap(right.instructions, number, Op.MUL))
        for number, instruction in enumerate(right.instructions)
        if instruction.op is Op.ADD
    ]
    assert slips
    assert not any(_agree(program, slip) for slip in slips)


def _swap(instructions: tuple[Instruction, ...], number: int, op: Op) -> tuple[Instruction, ...]:
    return tuple(Instruction(op, i.operands) if k == number else i for k, i in enumerate(instructions))


# ---------------------------------------------------------------- operation by operation


def _program(*lines: str) -> Program:
    instructions = []
    for line in lines:
        op, *operands = line.split()
        instructions.append(Instruction(Op(op), tuple(map(int, operands))))
    inputs = max((i.operands[0] + 1 for i in instructions if i.op is Op.INPUT), default=0)
    return Program(tuple((0, k) for k in range(inputs)), tuple(instructions))


def _partials(program: Program, *values: float) -> list[float]:
    points = torch.tensor(values, dtype=torch.float64)[:, None]
    return _by_adjoint(adjoint(program), points, torch.ones(1, dtype=torch.float64))[:, 0].tolist()


@pytest.mark.parametrize(
    ("line", "values", "wanted"),
    [
        ("not 0", (0.2,), [-1]),
        ("step 0", (0.2,), [0]),
        ("fill 0", (0.2,), [1]),
        ("add 0 1", (0.2, 0.7), [1, 1]),
        ("sub 0 1", (0.2, 0.7), [1, -1]),
        ("mul 0 1", (0.25, 0.75), [0.75, 0.25]),
        ("div 0 1", (0.25, 0.5), [2, -1]),
        ("min 0 1", (0.2, 0.7), [1, 0]),
        ("max 0 1", (0.2, 0.7), [0, 1]),
        ("mix 0 1 2", (0.25, 0.5, 1), [0.5, 0.75, 0.25]),
        # Corners: what is not differentiable, and what is defined by convention.
        ("min 0 1", (0.5, 0.5), [0.5, 0.5]),
        ("max 0 1", (0.5, 0.5), [0.5, 0.5]),
        ("step 0", (0.0,), [0]),
        ("div 0 1", (0.25, 0), [0, 0]),
        ("div 0 1", (0, 0), [0, 0]),
        # One value in both places.
        ("mul 0 0", (0.25,), [0.5]),
        ("sub 0 0", (0.25,), [0]),
        ("div 0 0", (0.25,), [0]),
        ("min 0 0", (0.25,), [1]),
        ("mix 0 0 0", (0.25,), [1]),
    ],
)
def test_the_derivative_of_each_operation(line: str, values: tuple[float, ...], wanted: list[float]) -> None:
    program = _program(*(f"input {k}" for k in range(len(values))), line)
    assert _partials(program, *values) == wanted


def test_the_table_above_has_every_operation() -> None:
    marks: list[pytest.Mark] = vars(test_the_derivative_of_each_operation)["pytestmark"]
    (mark,) = (m for m in marks if m.name == "parametrize")
    assert {Op(case[0].split()[0]) for case in mark.args[1]} == set(ARITY) - {Op.INPUT, Op.CONST}


def test_the_identity_program_passes_the_gradient_on() -> None:
    assert _partials(_program("input 0"), 0.3) == [1]


def test_an_input_without_influence_has_no_gradient() -> None:
    assert _partials(_program("input 0", "input 1", "step 1", "mul 0 2"), 0.3, 0.6) == [1, 0]


@pytest.mark.parametrize("value", [0, 1])
def test_a_program_without_inputs_has_no_partials(value: int) -> None:
    assert adjoint(_program(f"const {value}")).partials == ()


def test_gradients_of_a_value_that_is_used_often_are_added() -> None:
    # x + x x + x x x at 1/2
    program = _program("input 0", "mul 0 0", "mul 0 1", "add 0 1", "add 2 3")
    assert _partials(program, 0.5) == [1 + 1 + 0.75]


def test_numbers_of_instructions_stay_in_proportion() -> None:
    (program,) = {step.program for step in compile_rule(RULES["thinning-3d"], DIAGRAM)}
    assert len(adjoint(program).instructions) < 900
    for logic in DIFFERENTIABLE:
        (program,) = {step.program for step in compile_rule(RULES["thinning-2d"], logic)}
        assert len(adjoint(program).instructions) < 10 * len(program.instructions)


def test_nothing_is_computed_that_no_partial_needs() -> None:
    (program,) = {step.program for step in compile_rule(RULES["thinning-3d"], DIAGRAM)}
    reverse = adjoint(program)
    used = set(reverse.partials)
    for instruction in reverse.instructions:
        if instruction.op not in (Op.INPUT, Op.CONST):
            used.update(instruction.operands)
    assert used == set(range(len(reverse.instructions)))
