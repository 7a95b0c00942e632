"""Deep supervision: MONAI's values, eq. 9 by hand, and slopes that are right and finite."""

from __future__ import annotations

import doctest
import math
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers_losses import labels, noise
from torch import Tensor, nn
from torch.autograd import gradcheck

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses import (
    DeepSupervisionLoss,
    MultiLabelDeepSupervisionLoss,
    SoftDiceLoss,
    deep_supervision,
    label_pyramid,
    weak_labels,
)

# From its module: `monai.losses` alone is quicker to load than all of MONAI.
from monai.losses.dice import DiceLoss  # isort: skip
from monai.losses.ds_loss import DeepSupervisionLoss as MonaiDeepSupervisionLoss  # isort: skip

# Of the finest head first; those that divide and those that do not.
SIZES: dict[str, list[tuple[int, ...]]] = {
    "2D": [(16, 12), (8, 6), (4, 3), (2, 2), (1, 1), (1, 1)],
    "2D, odd": [(15, 13), (8, 7), (4, 4), (3, 2)],
    "3D": [(8, 6, 10), (4, 3, 5), (3, 2, 2)],
}


def _heads(
    sizes: Sequence[tuple[int, ...]], channels: int = 2, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    return [
        (6 * noise(2, channels, *size, seed=k, dtype=dtype) - 3).requires_grad_()
        for k, size in enumerate(sizes)
    ]


def _value_and_slopes(loss: nn.Module, heads: list[Tensor], target: Tensor) -> tuple[Tensor, ...]:
    value = loss(heads, target)
    return (value.detach(), *torch.autograd.grad(value, heads))


def _same(ours: nn.Module, theirs: nn.Module, heads: list[Tensor], target: Tensor) -> None:
    for got, wanted in zip(
        _value_and_slopes(ours, heads, target), _value_and_slopes(theirs, heads, target), strict=True
    ):
        torch.testing.assert_close(got, wanted, atol=1e-7, rtol=1e-6)


# ---------------------------------------------------------------- MONAI


@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("weights", [None, (0.3, 0.0, 2.0, 0.7, 0.1, 1.0, 9.0)], ids=["mode", "weights"])
@pytest.mark.parametrize("mode", deep_supervision.WEIGHT_MODES)
def test_nearest_is_monais(mode: str, weights: Sequence[float] | None, sizes: list[tuple[int, ...]]) -> None:
    heads = _heads(sizes)
    target = noise(2, 2, *sizes[0], seed=9, dtype=torch.float32).round()
    theirs = MonaiDeepSupervisionLoss(
        DiceLoss(sigmoid=True), mode, None if weights is None else list(weights)
    )
    for inner in (DiceLoss(sigmoid=True), SoftDiceLoss(sigmoid=True)):
        _same(DeepSupervisionLoss(inner, mode, weights, "nearest"), theirs, heads, target)
    _same(
        DeepSupervisionLoss(nn.BCEWithLogitsLoss(), mode, weights, "nearest"),
        MonaiDeepSupervisionLoss(nn.BCEWithLogitsLoss(), mode, None if weights is None else list(weights)),
        heads,
        target,
    )


def test_nearest_is_monais_for_labels_and_for_a_single_head() -> None:
    heads, target = _heads(SIZES["2D, odd"], 3), labels(2, 3, 15, 13)
    theirs = MonaiDeepSupervisionLoss(DiceLoss(softmax=True, to_onehot_y=True))
    for inner in (DiceLoss(softmax=True, to_onehot_y=True), SoftDiceLoss(softmax=True, to_onehot_y=True)):
        ours = DeepSupervisionLoss(inner, pooling="nearest")
        _same(ours, theirs, heads, target.float())
        assert torch.equal(ours(heads, target), ours(heads, target.float())), "of whole numbers too"
        torch.testing.assert_close(ours(heads[0], target.float()), theirs(heads[0], target.float()))


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
def test_pooled_targets_are_the_pyramids(pooling: str, sizes: list[tuple[int, ...]]) -> None:
    heads, target = _heads(sizes), noise(2, 2, *sizes[0], seed=9, dtype=torch.float32).round()
    found = DeepSupervisionLoss(SoftDiceLoss(sigmoid=True), "same", pooling=pooling)(heads, target)
    levels = label_pyramid(target, sizes, pooling=pooling)
    wanted = sum(SoftDiceLoss(sigmoid=True)(head, level) for head, level in zip(heads, levels, strict=True))
    torch.testing.assert_close(found, wanted)
    nearest = DeepSupervisionLoss(SoftDiceLoss(sigmoid=True), "same", pooling="nearest")(heads, target)
    assert abs(nearest - found) > 1e-3


def test_shares_of_classes_suit_a_softmax() -> None:
    """Cross-entropy with shares is least where the softmax is the shares; with a set of classes it cannot be met."""
    (planes,) = label_pyramid(labels(1, 3, 8, 8), [(8, 8)], classes=3)
    (shares,) = label_pyramid(planes, [(2, 2)], pooling="mean")
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 2, 2))
    head = shares.log().requires_grad_()
    loss = DeepSupervisionLoss(nn.CrossEntropyLoss(), "same", pooling="mean")([head], planes)
    (slope,) = torch.autograd.grad(loss, head)
    assert slope.abs().max() < 1e-6


# ---------------------------------------------------------------- eq. 9


def _by_hand(heads: list[Tensor], levels: list[Tensor]) -> list[float]:
    """The mean over what is known of -m log s - (1 - m) log(1 - s), of each head."""
    found = []
    for head, level in zip(heads, levels, strict=True):
        terms = []
        for f, m in zip(head.detach().flatten().tolist(), level.flatten().tolist(), strict=True):
            if not math.isnan(m):
                s = 1 / (1 + math.exp(-f))
                terms.append(-m * math.log(s) - (1 - m) * math.log(1 - s))
        found.append(sum(terms) / len(terms))
    return found


@pytest.mark.parametrize("ignore", [None, 0, 255], ids=str)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
def test_eq_9_by_hand(sizes: list[tuple[int, ...]], ignore: int | None) -> None:
    heads, target = _heads(sizes, 3, torch.float64), labels(2, 3, *sizes[0])
    if ignore == 255:
        target[noise(*target.shape, seed=7) < 0.3] = 255
    levels = label_pyramid(target, sizes, classes=3, ignore_index=ignore)
    each = _by_hand(heads, levels)
    how: dict[str, Any] = {"to_onehot_y": True, "ignore_index": ignore}
    mean = MultiLabelDeepSupervisionLoss(**how)(heads, target)
    total = MultiLabelDeepSupervisionLoss(**how, reduction="sum")(heads, target)
    assert mean.dtype == torch.float64
    assert mean.item() == pytest.approx(sum(each) / len(each), rel=1e-6)
    assert total.item() == pytest.approx(sum(each), rel=1e-6)
    for same in (levels, label_pyramid(target, [sizes[0]], classes=3, ignore_index=ignore)[0]):
        torch.testing.assert_close(MultiLabelDeepSupervisionLoss()(heads, same), mean)
    alone = MultiLabelDeepSupervisionLoss(**how)(heads[0], target)
    assert alone.item() == pytest.approx(each[0], rel=1e-6)
    # One order of heads is as good as another.
    torch.testing.assert_close(MultiLabelDeepSupervisionLoss(**how)(heads[::-1], target), mean)


def test_what_is_not_known_has_no_slope() -> None:
    head = _heads([(4, 4)], 2)[0]
    planes = noise(2, 2, 8, 8, seed=1, dtype=torch.float32).round()
    planes[0, 1], planes[1, :, :4] = math.nan, math.nan
    (level,) = label_pyramid(planes, [(4, 4)])
    (slope,) = torch.autograd.grad(MultiLabelDeepSupervisionLoss()([head], planes), head)
    assert torch.equal(slope == 0, level.isnan())
    nothing = MultiLabelDeepSupervisionLoss()([head], torch.full_like(planes, math.nan))
    (slope,) = torch.autograd.grad(nothing, head)
    assert nothing == 0
    assert not slope.any()


# ---------------------------------------------------------------- slopes


@pytest.mark.parametrize("pooling", ["max", "mean", "nearest"])
@pytest.mark.parametrize("sizes", [[(5, 4), (3, 2)], [(4, 3, 5), (2, 2, 3)]], ids=["2D", "3D"])
def test_gradcheck(sizes: list[tuple[int, ...]], pooling: str) -> None:
    heads = tuple(_heads(sizes, 2, torch.float64))
    target = noise(2, 2, *sizes[0], seed=9).round()
    unknown = target.masked_fill(noise(*target.shape, seed=8) < 0.2, math.nan)
    deep = DeepSupervisionLoss(SoftDiceLoss(sigmoid=True), pooling=pooling)
    several = MultiLabelDeepSupervisionLoss(pooling=pooling)
    assert gradcheck(lambda *given: deep(given, target), heads)
    assert gradcheck(lambda *given: several(given, target), heads)
    assert gradcheck(lambda *given: several(given, unknown), heads)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_logits_of_100_are_finite(dtype: torch.dtype, sign: int) -> None:
    target = noise(2, 2, 16, 12, seed=9, dtype=torch.float32).round()
    heads = [
        (sign * 100 * (2 * one - 1)).to(dtype).requires_grad_() for one in label_pyramid(target, SIZES["2D"])
    ]
    for loss in (
        MultiLabelDeepSupervisionLoss(),
        DeepSupervisionLoss(nn.BCEWithLogitsLoss()),
        DeepSupervisionLoss(SoftDiceLoss(sigmoid=True)),
    ):
        value, *slopes = _value_and_slopes(loss, heads, target)
        assert value.isfinite()
        assert all(bool(one.isfinite().all()) for one in slopes)
    # All right costs nothing, and all wrong 100 a cell.
    wanted = 0 if sign == 1 else 100
    assert MultiLabelDeepSupervisionLoss()(heads, target).item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeepSupervisionLoss(SoftDiceLoss(sigmoid=True)),
        MultiLabelDeepSupervisionLoss,
    ],
    ids=["deep", "multi-label"],
)
def test_a_compiled_loss_is_the_same(make: Callable[[], nn.Module]) -> None:
    heads, target = _heads(SIZES["2D, odd"]), noise(2, 2, 15, 13, seed=9, dtype=torch.float32).round()
    compiled: Any = torch.compile(make(), backend="aot_eager", fullgraph=True)
    for got, wanted in zip(
        _value_and_slopes(compiled, heads, target), _value_and_slopes(make(), heads, target), strict=True
    ):
        torch.testing.assert_close(got, wanted)


# ---------------------------------------------------------------- what is refused


def test_settings_that_are_refused() -> None:
    with pytest.raises(UsageError, match="use one of exp, same, two"):
        DeepSupervisionLoss(SoftDiceLoss(), "half")
    with pytest.raises(UsageError, match="use one of max, mean, nearest"):
        DeepSupervisionLoss(SoftDiceLoss(), pooling="median")
    with pytest.raises(UsageError, match="use one of max, mean, nearest"):
        MultiLabelDeepSupervisionLoss(pooling="median")
    with pytest.raises(UsageError, match="use one of mean, sum"):
        MultiLabelDeepSupervisionLoss(reduction="none")
    with pytest.raises(UsageError, match="to_onehot_y=True"):
        MultiLabelDeepSupervisionLoss(ignore_index=3)


def test_heads_that_are_refused() -> None:
    heads, target = _heads([(8, 8), (4, 4)], 3), labels(2, 3, 8, 8)
    deep = DeepSupervisionLoss(SoftDiceLoss(sigmoid=True))
    with pytest.raises(InputError, match="no head"):
        deep([], target)
    with pytest.raises(InputError, match=r"target\[:, None\]"):
        deep(heads, target[:, 0])
    with pytest.raises(InputError, match="1 weights for 2 heads"):
        DeepSupervisionLoss(SoftDiceLoss(sigmoid=True), weights=[1], pooling="nearest")(
            heads, target.expand(2, 3, 8, 8) > 0
        )
    several = MultiLabelDeepSupervisionLoss()
    with pytest.raises(InputError, match="no head"):
        several([], target)
    with pytest.raises(InputError, match="2 heads and 1 targets"):
        several(heads, [target])
    with pytest.raises(InputError, match="need to_onehot_y=True"):
        several(heads, target > 0)


def test_labels_are_not_pooled_and_the_advice_works() -> None:
    heads, target = _heads([(8, 8), (4, 4)], 3), labels(2, 3, 8, 8)
    deep = DeepSupervisionLoss(SoftDiceLoss(sigmoid=True))
    with pytest.raises(InputError, match=r"label_pyramid\(target, \[target.shape\[2:\]\], classes=3\)\[0\]"):
        deep(heads, target)
    planes = label_pyramid(target, [target.shape[2:]], classes=3)[0]
    np.testing.assert_array_equal(planes.argmax(1).numpy(), target[:, 0].numpy())
    assert deep(heads, planes).isfinite()


# Not `label_pyramid` as the package exports it: a function.
PYRAMIDS = sys.modules[label_pyramid.__module__]


@pytest.mark.parametrize(
    "module", [deep_supervision, PYRAMIDS, weak_labels], ids=lambda module: module.__name__
)
def test_the_examples_of_the_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0
