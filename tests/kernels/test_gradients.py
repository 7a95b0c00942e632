"""Gradients through `torch_eager`: float64 `gradcheck` for every logic that has one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_run import sweep_all
from torch.autograd import gradcheck

from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.kernels.autograd import CompiledBackend
from softmorph_cli.kernels.torch_eager import TorchBackend, TorchField
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.rule import Rule

RULES = {
    "thinning-2d": catalog.bundled("thinning-2d"),
    "thinning-3d": catalog.bundled("thinning-3d"),
    "erosion-4": structuring.erosion(4, 2),
    "dilation-8": structuring.dilation(8, 2),
    "erosion-18": structuring.erosion(18, 3),
    "majority-2d": catalog.bundled("majority-2d"),
}
SMOOTH = (DIAGRAM, "product", "einstein", "hamacher")
PIECEWISE = ("minmax", "lukasiewicz")


def _distinct(shape: tuple[int, ...], seed: int, gap: float) -> torch.Tensor:
    """Values no two of which (nor a value and the complement of another) lie closer than a gap."""
    count = int(np.prod(shape))
    ladder = 0.02 + 0.96 * (np.arange(count) + 0.25) / count
    assert np.diff(np.sort(np.concatenate([ladder, 1 - ladder]))).min() > gap
    values = np.random.default_rng(seed).permutation(ladder).reshape(shape)
    return torch.tensor(values, requires_grad=True)


def _apply(rule: Rule, logic: str, image: torch.Tensor) -> torch.Tensor:
    field = TorchField(image)
    for step in compile_rule(rule, logic):
        field.sweep(step)
    return field.image()


@pytest.mark.parametrize("logic", SMOOTH + PIECEWISE)
@pytest.mark.parametrize("name", RULES)
def test_gradcheck(name: str, logic: str) -> None:
    rule = RULES[name]
    shape = (4, 5) if rule.dimensions == 2 else (3, 3, 3)
    image = _distinct(shape, 1, 1e-4)
    if name == "thinning-3d":
        # One direction of six: all six are the same program.
        rule = replace(rule, sub_iterations=rule.sub_iterations[1:2])
    assert gradcheck(lambda x: _apply(rule, logic, x), (image,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradcheck_can_fail() -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        return x * x.detach()

    image = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    assert not gradcheck(wrong, (image,), raise_exception=False)


@pytest.mark.parametrize("logic", SMOOTH + PIECEWISE)
@pytest.mark.parametrize("name", RULES)
def test_gradients_are_finite_at_exact_zeros_and_ones(name: str, logic: str) -> None:
    rule = RULES[name]
    rng = np.random.default_rng(2)
    values = rng.choice([0.0, 0.5, 1.0], size=(7, 8) if rule.dimensions == 2 else (4, 5, 6))
    image = torch.tensor(values, requires_grad=True)
    result = _apply(rule, logic, image)
    (gradient,) = torch.autograd.grad(result.sum(), image)
    assert torch.isfinite(gradient).all()
    assert ((result >= 0) & (result <= 1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sharpening_has_a_finite_gradient_at_0_and_1(dtype: torch.dtype) -> None:
    image = torch.tensor([[0.0, 1e-12, 0.3, 1 - 1e-9, 1.0]], dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(TorchBackend("cpu").sharpen(image, 0.5, 20.0).sum(), image)
    assert torch.isfinite(gradient).all()
    assert gradient[0, 2] > 0


def test_sharpening_gradcheck() -> None:
    image = _distinct((4, 4), 3, 1e-4)
    assert gradcheck(lambda x: TorchBackend("cpu").sharpen(x, 0.4, 3.0), (image,))


def test_a_whole_iteration_is_differentiable_and_the_input_is_left_alone() -> None:
    image = torch.rand(2, 6, 7, dtype=torch.float64, requires_grad=True)
    before = image.detach().clone()
    field = TorchField(image)
    steps = compile_rule(RULES["thinning-2d"], DIAGRAM)
    sweep_all(field, steps, 3)
    field.image().sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(image.detach(), before)
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_the_floating_point_mode_is_restored() -> None:
    def tiny_survives() -> bool:
        return bool((np.array([1e-40], np.float32) + np.float32(0))[0] > 0)

    assert tiny_survives()
    for name in ("thinning-2d", "thinning-3d"):
        rule = catalog.bundled(name)
        image = torch.rand((5,) * rule.dimensions, requires_grad=True)
        field = CompiledBackend(1).field(image)
        field.begin(compile_rule(rule, DIAGRAM))
        sweep_all(field, compile_rule(rule, DIAGRAM), 1)
        result = field.image()
        assert tiny_survives()
        result.sum().backward()
        assert tiny_survives()
