"""With equal arguments every loss has the value and the gradient of MONAI's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers_losses import labels, noise
from torch import Tensor, nn

from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.losses import SoftCLDiceLoss, SoftDiceCLDiceLoss, SoftDiceLoss

# From their modules: `monai.losses` alone is quicker to load than all of MONAI.
from monai.losses.cldice import SoftclDiceLoss, SoftDiceclDiceLoss  # isort: skip
from monai.losses.dice import DiceLoss  # isort: skip

SHAPES = [(2, 3, 9, 11), (2, 3, 5, 7, 6)]
PAIRS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "dice": (SoftDiceLoss, DiceLoss),
    "cldice": (SoftCLDiceLoss, SoftclDiceLoss),
    "both": (SoftDiceCLDiceLoss, SoftDiceclDiceLoss),
}
REDUCTIONS = ("mean", "sum", "none")


def _value_and_slope(loss: nn.Module, given: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = given.detach().clone().requires_grad_()
    value = loss(leaf, target)
    (gradient,) = torch.autograd.grad(value.square().sum(), leaf)
    return value.detach(), gradient


def _same(name: str, given: Tensor, target: Tensor, **settings: Any) -> None:
    ours, theirs = (make(**settings) for make in PAIRS[name])
    for got, wanted in zip(
        _value_and_slope(ours, given, target), _value_and_slope(theirs, given, target), strict=True
    ):
        assert got.shape == wanted.shape
        torch.testing.assert_close(got, wanted, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_common_arguments(name: str, shape: tuple[int, ...]) -> None:
    flat = len(shape) == 4
    for background, activation, onehot, reduction in itertools.product(
        (True, False),
        (None, "sigmoid", "softmax") if flat else ("softmax",),
        (True, False),
        REDUCTIONS if flat else ("sum",),
    ):
        # Without a reduction MONAI mixes items of Dice and clDice, see the test below.
        batch = 1 if name == "both" and reduction == "none" else 2
        given = noise(batch, *shape[1:], seed=1)
        given = given if activation is None else 6 * given - 3
        target = labels(batch, shape[1], *shape[2:]) if onehot else noise(batch, *shape[1:], seed=2)
        settings: dict[str, Any] = {activation: True} if activation else {}
        settings |= {"include_background": background, "to_onehot_y": onehot, "reduction": reduction}
        _same(name, given, target, **settings)


@pytest.mark.parametrize("soft", [False, True], ids=["hard target", "soft target"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forms_of_dice(shape: tuple[int, ...], soft: bool) -> None:
    given, target = noise(*shape, seed=1), noise(*shape, seed=2)
    target = target if soft else target.round()
    for squared, jaccard, batch, soft_label, reduction in itertools.product(*[(False, True)] * 4, REDUCTIONS):
        for smooth in ({}, {"smooth_nr": 0.0, "smooth_dr": 1e-3}):
            _same(
                "dice",
                given,
                target,
                squared_pred=squared,
                jaccard=jaccard,
                batch=batch,
                soft_label=soft_label,
                reduction=reduction,
                **smooth,
            )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["cldice", "both"])
def test_iterations_and_smoothing_of_cldice(name: str, shape: tuple[int, ...]) -> None:
    given, target = noise(*shape, seed=3), noise(*shape, seed=4).round()
    for iterations in (1, 10):
        _same(name, given, target, iter_=iterations)
    _same(name, given, target, smooth_nr=0.1, smooth_dr=0.01, smooth=1e-2)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5])
def test_alpha(alpha: float) -> None:
    _same("both", noise(2, 1, 9, 11, seed=5), noise(2, 1, 9, 11, seed=6).round(), alpha=alpha)


@pytest.mark.parametrize("shape", [(2, 1, 9, 11), (1, 1, 5, 7, 6)], ids=str)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore:single channel prediction:UserWarning")
def test_a_single_channel_is_never_dropped(name: str, shape: tuple[int, ...]) -> None:
    given, target = 6 * noise(*shape, seed=7) - 3, noise(*shape, seed=8).round()
    _same(name, given, target, sigmoid=True)
    assert PAIRS[name][0](sigmoid=True)(given, target) > 0.1
    for useless in ({"include_background": False}, {"to_onehot_y": True}):
        with pytest.warns(SoftmorphWarning, match="has no effect"):
            _same(name, given, target, sigmoid=True, **useless)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_narrower_types_agree_as_far_as_their_digits_go(name: str, dtype: torch.dtype) -> None:
    given, target = noise(2, 2, 9, 11, seed=9, dtype=dtype), noise(2, 2, 9, 11, seed=10, dtype=dtype).round()
    ours, theirs = (make()(given, target).float() for make in PAIRS[name])
    torch.testing.assert_close(ours, theirs, atol=8 * torch.finfo(dtype).eps, rtol=0)


def test_items_that_monai_mixes_without_reduction_are_separate() -> None:
    """(B, C, 1, 1) + (B,) is (B, C, 1, B) there; ours is where both items are the same one."""
    given, target = noise(3, 2, 9, 11, seed=11), noise(3, 2, 9, 11, seed=12).round()
    theirs = SoftDiceclDiceLoss(reduction="none")(given, target)
    assert theirs.shape == (3, 2, 1, 3)
    ours = SoftDiceCLDiceLoss(reduction="none")(given, target)
    assert ours.shape == (3, 2, 1, 1)
    for item in range(3):
        torch.testing.assert_close(ours[item, :, 0, 0], theirs[item, :, 0, item])


@pytest.mark.parametrize("name", ["cldice", "both"])
def test_per_class_is_each_channel_by_itself(name: str) -> None:
    given, target = noise(2, 3, 9, 11, seed=13), noise(2, 3, 9, 11, seed=14).round()
    ours, theirs = PAIRS[name]
    got = ours(per_class=True, reduction="none")(given, target)
    assert got.shape == (2, 3, 1, 1)
    for item, channel in itertools.product(range(2), range(3)):
        one = slice(item, item + 1), slice(channel, channel + 1)
        torch.testing.assert_close(got[item, channel, 0, 0], theirs()(given[one], target[one]))
    assert (got - ours(reduction="none")(given, target).reshape(2, -1, 1, 1)).abs().max() > 1e-3
