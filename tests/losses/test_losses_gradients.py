"""The gradient of every loss: equal to finite differences, finite, and useful to an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers_losses import logits_of, noise, tubes
from torch import nn
from torch.autograd import gradcheck

from softmorph_cli.losses import SkeletonRecallLoss, SoftCLDiceLoss, SoftDiceCLDiceLoss, SoftDiceLoss

SMOOTH: Any = {"smooth_levels": 2, "sharpness": 2.0}
LOSSES: dict[str, Callable[..., nn.Module]] = {
    "dice": SoftDiceLoss,
    "dice, squared": lambda **how: SoftDiceLoss(squared_pred=True, **how),
    "jaccard": lambda **how: SoftDiceLoss(jaccard=True, **how),
    "dice of soft labels": lambda **how: SoftDiceLoss(soft_label=True, **how),
    "cldice, pool": lambda **how: SoftCLDiceLoss(2, **how),
    "cldice, smooth levels": lambda **how: SoftCLDiceLoss(2, "smooth-levels", **SMOOTH, **how),
    "cldice, multilinear": lambda **how: SoftCLDiceLoss(1, "multilinear", **how),
    "cldice, nested": lambda **how: SoftCLDiceLoss(method="nested", levels="exact", **how),
    "cldice, nested in bins": lambda **how: SoftCLDiceLoss(method="nested", **how),
    "both, pool": lambda **how: SoftDiceCLDiceLoss(2, 0.4, **how),
    "both, per class": lambda **how: SoftDiceCLDiceLoss(1, 0.4, per_class=True, **how),
    "recall": lambda **how: SkeletonRecallLoss(1, **how),
}


@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (1, 1, 3, 4, 3)], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name: str, shape: tuple[int, ...]) -> None:
    # A permutation: no two values alike, all far from where min and max change their minds.
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).reshape(shape)
    p = (order + 1).double() / (count + 1)
    target = noise(*shape, seed=2).round()
    assert gradcheck(LOSSES[name](), (p.requires_grad_(), target), eps=1e-6, atol=1e-6, rtol=1e-4)
    logits = torch.logit(p.detach()).requires_grad_()
    loss = LOSSES[name](sigmoid=True, reduction="none")
    assert gradcheck(loss, (logits, target), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 1, 9, 10), torch.float32), ((2, 1, 9, 10), torch.bfloat16), ((1, 1, 6, 5, 7), torch.float64)],
    ids=str,
)
@pytest.mark.parametrize("name", LOSSES)
def test_all_zeros_and_all_ones_are_finite(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ends = torch.zeros(shape, dtype=dtype), torch.ones(shape, dtype=dtype)
    for loss in (LOSSES[name](), LOSSES[name](sigmoid=True)):
        for start in ends:
            for target in ends:
                p = (start if not loss.sigmoid else 400 * (start - 0.5)).requires_grad_()
                value = loss(p, target)
                assert torch.isfinite(value)
                assert -1e-6 <= value <= 1
                (gradient,) = torch.autograd.grad(value, p)
                assert torch.isfinite(gradient).all()
            assert loss(p.detach(), start).item() < 1e-3 or name == "recall", "a perfect prediction"


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_descent_approaches_the_target(name: str) -> None:
    target = tubes(1, 1, 16, 24, seed=3)[..., 2:-2].round()
    logits = (2 * logits_of(noise(*target.shape, seed=4)) / 5).requires_grad_()
    loss = LOSSES[name](sigmoid=True)
    optimizer = torch.optim.Adam([logits], 0.3)
    values = []
    for _ in range(15):
        optimizer.zero_grad()
        value = loss(logits, target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]
