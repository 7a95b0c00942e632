"""Smooth levels: close to levels, and a gradient that arrives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers_maps import close, tree

import softmorph_cli
from softmorph_cli import SoftmorphWarning, SoftSkeletonizer
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.kernels.torch_eager import TorchField
from softmorph_cli.rules import catalog


def test_correlation_with_levels_on_a_vessel_tree() -> None:
    image = tree().astype(np.float32)
    levels = softmorph_cli.skeletonize(image, method="levels")
    soft = softmorph_cli.skeletonize(image, method="smooth-levels", iterations=8)
    assert np.corrcoef(levels.ravel(), soft.ravel())[0, 1] >= 0.9
    assert soft.max() > 0.6
    with pytest.warns(SoftmorphWarning, match="faded"):
        multilinear = softmorph_cli.skeletonize(image, method="multilinear", iterations=4)
    assert np.corrcoef(levels.ravel(), multilinear.ravel())[0, 1] < 0.9


@pytest.mark.parametrize("shape", [(9, 10), (5, 6, 7)])
def test_gradient_is_finite_and_not_zero(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    values[(0,) * len(shape)] = 0
    values[(3,) * len(shape)] = 1
    values[(-1,) * len(shape)] = 1e-30
    for dtype in (torch.float32, torch.float64)[: 4 - len(shape)]:
        batch = torch.tensor(values, dtype=dtype)[None, None].requires_grad_()
        SoftSkeletonizer(3)(batch).sum().backward()
        assert batch.grad is not None
        assert torch.isfinite(batch.grad).all()
        assert batch.grad.abs().max() > 1e-3


def test_gradient_of_a_saturated_map_is_finite() -> None:
    logits = torch.linspace(-200, 200, 63).reshape(1, 1, 7, 9).requires_grad_()
    SoftSkeletonizer(3)(torch.sigmoid(logits)).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_definition(kind: str) -> None:
    """Mean over T levels t = (k + 1/2) / T of multilinear run on sigmoid(s (logit p - logit t))."""
    image = np.random.default_rng(1).random((10, 11))
    image[0, :2] = (0, 1)
    total = np.zeros_like(image)
    for k in range(5):
        t = (k + 0.5) / 5
        with np.errstate(divide="ignore"):
            logit = np.clip(np.log(image) - np.log1p(-image), -16, 16)
        field = TorchField(torch.tensor(1 / (1 + np.exp(-7 * (logit - np.log(t / (1 - t)))))))
        for _ in range(2):
            for step in compile_rule(catalog.bundled("thinning-2d"), DIAGRAM):
                field.sweep(step)
        total += field.image().numpy()
    given = image if kind == "numpy" else torch.tensor(image, requires_grad=True)
    got = softmorph_cli.skeletonize(
        given, method="smooth-levels", smooth_levels=5, sharpness=7.0, iterations=2
    )
    got = got if isinstance(got, np.ndarray) else got.detach().numpy()
    assert close(got, total / 5, 1e-11)


def test_sharper_is_closer_to_levels() -> None:
    image = tree((24, 40, 30)).astype(np.float32)
    levels = softmorph_cli.skeletonize(image, iterations=5, levels=16)
    distance = [
        np.abs(
            softmorph_cli.skeletonize(image, method="smooth-levels", sharpness=s, iterations=5) - levels
        ).mean()
        for s in (2.0, 20.0, 200.0)
    ]
    assert distance[0] > distance[1] > distance[2]


def test_training_through_it_moves_towards_the_target() -> None:
    torch.manual_seed(0)
    target = torch.zeros(1, 1, 9, 15)
    target[..., 4, 2:13] = 1
    logits = torch.randn(1, 1, 9, 15, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    module = SoftSkeletonizer(2, smooth_levels=4, sharpness=5.0)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = ((module(torch.sigmoid(logits)) - target) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]
