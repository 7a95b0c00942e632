"""Sweeps of Triton and their gradients against plain torch; run as `test_triton_contract`, which see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_contract import lopsided
from helpers_maps import close, same_bits
from test_contract import thinning
from test_triton_contract import DEVICE, INTERPRETED, few, random_map, reference

from softmorph_cli.compiler.compile import DIAGRAM, Step, compile_rule
from softmorph_cli.compiler.program import Instruction, Op, Program
from softmorph_cli.kernels import triton_cuda
from softmorph_cli.kernels.triton_cuda import sweep, sweep_backward
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.rule import Rule


def check_both_ways(image: torch.Tensor, step: Step) -> None:
    tolerance = 1e-10 if image.dtype == torch.float64 else 1e-5
    gradient = random_map(tuple(image.shape), image.dtype, 1) - 0.5
    leaf = image.clone().requires_grad_()
    wanted = reference(leaf, step)
    (back,) = torch.autograd.grad(wanted, leaf, gradient)
    given, seed = image.to(DEVICE), gradient.to(DEVICE)
    assert close(sweep(given, step).cpu(), wanted.detach(), tolerance)
    assert close(sweep_backward(seed, given, step).cpu(), back, tolerance, tolerance)


RULES: list[tuple[Rule, str]] = [
    (catalog.bundled("thinning-2d"), DIAGRAM),
    (catalog.bundled("thinning-2d"), "hamacher"),
    (catalog.bundled("thinning-2d"), "minmax"),
    (catalog.bundled("majority-2d"), DIAGRAM),
    (catalog.bundled("thinning-3d"), DIAGRAM),
    (structuring.erosion(6, 3), DIAGRAM),
    (structuring.dilation(26, 3), "einstein"),
]


@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, marks=few), torch.float64])
@pytest.mark.parametrize(("rule", "logic"), RULES, ids=lambda v: getattr(v, "name", v))
def test_programs_agree_with_torch_forward_and_backward(rule: Rule, logic: str, dtype: torch.dtype) -> None:
    steps = compile_rule(rule, logic)
    if INTERPRETED and rule.dimensions == 3 and len(steps) == 6:
        # The direction that rolls along y and backwards. `lopsided` goes through all.
        steps = steps[2:3]
    for step in steps:
        check_both_ways(random_map((7, 40) if rule.dimensions == 2 else (4, 5, 6), dtype), step)


@pytest.mark.parametrize("direction", range(6))
def test_every_direction_forward_and_backward_over_several_tiles(direction: int) -> None:
    # Just over one tile along the axis that it rolls along, and along the image's last.
    step = lopsided()[direction]
    shape = (17, 9, 33) if triton_cuda._turn(step).axes[0] == 0 else (9, 17, 33)
    check_both_ways(random_map(shape, torch.float64), step)


def test_float32_forward_and_backward() -> None:
    check_both_ways(random_map((4, 9, 6), torch.float32), lopsided()[1])
    check_both_ways(
        random_map((9, 33), torch.float32), compile_rule(catalog.bundled("thinning-2d"), "product")[1]
    )


def test_the_steps_offsets_need_not_be_a_turn_of_the_programs() -> None:
    step = lopsided()[0]
    offsets = ((0, 0, 0), (0, 0, 1), (1, 1, 1), (-1, -1, 1), (-1, 0, -1))
    check_both_ways(random_map((3, 4, 5), torch.float64), replace(step, offsets=offsets))


@pytest.mark.parametrize("subfield", [(0, 1, 1), (1, 0, 0)])
def test_the_gradient_of_a_subfield(subfield: tuple[int, int, int]) -> None:
    for step in lopsided()[1:3]:
        check_both_ways(random_map((3, 5, 4), torch.float64), replace(step, subfield=subfield))
    for step in thinning(2)[1:2]:
        check_both_ways(random_map((2, 7, 9), torch.float64), replace(step, subfield=subfield[1:]))


@pytest.mark.parametrize(("shape", "direction"), [((66, 3, 4), 0), ((2, 2, 34, 3), 2), ((5, 2, 3, 3), 1)])
def test_a_gradient_has_the_same_bits_in_any_slabs_and_every_time(
    shape: tuple[int, ...], direction: int
) -> None:
    image, gradient = (random_map(shape, torch.float64, seed).to(DEVICE) for seed in (0, 1))
    step = lopsided()[direction]
    whole = sweep_backward(gradient, image, step).cpu()
    assert same_bits(sweep_backward(gradient, image, step).cpu(), whole)
    assert same_bits(sweep_backward(gradient, image, step, scratch=0).cpu(), whole)


def test_division_by_zero_and_saturated_maps_give_finite_gradients() -> None:
    for name in ("hamacher", "einstein"):
        step = compile_rule(catalog.bundled("thinning-2d"), name)[1]
        values = np.random.default_rng(2).choice([0.0, 0.5, 1.0], size=(7, 8))
        image = torch.tensor(values, device=DEVICE)
        assert torch.isfinite(sweep_backward(torch.ones_like(image), image, step)).all()


def test_a_constant_program_has_no_gradient() -> None:
    (step,) = compile_rule(structuring.dilation(4, 2), DIAGRAM)
    constant = replace(step, program=Program((), (Instruction(Op.CONST, (1,)),)), offsets=())
    image = torch.rand(3, 4, device=DEVICE)
    assert not sweep_backward(image, image, constant).any()


def test_planes_equal_torch_in_every_bit() -> None:
    words = np.random.default_rng(3).integers(-(2**63), 2**63 - 1, (5, 6, 37))
    image = torch.tensor(words)
    for step in (*lopsided(bits=True), thinning(3)[1]):
        wanted = reference(image, step).numpy()
        for dtype in ("uint8", "int16", "int32", "int64"):
            got = sweep(torch.tensor(words.astype(dtype), device=DEVICE), step)
            assert same_bits(got.cpu().numpy(), wanted.astype(dtype))


def test_arithmetic_cannot_run_on_planes() -> None:
    with pytest.raises(ValueError, match="cannot run on bit planes"):
        sweep(torch.zeros(3, 3, 3, dtype=torch.uint8, device=DEVICE), lopsided()[0])
