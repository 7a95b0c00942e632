"""The losses: their values, accepted and refused arguments, and their use in a training loop."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers_losses import labels, logits_of, noise, tubes
from skimage import measure, morphology
from torch import Tensor, nn

from softmorph_cli import SoftSkeletonizer
from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError
from softmorph_cli.filters.method import METHODS
from softmorph_cli.losses import (
    BettiMatchingLoss,
    SkeletonRecallLoss,
    SoftCLDiceLoss,
    SoftDiceCLDiceLoss,
    SoftDiceLoss,
    TopologicalLoss,
)
from softmorph_cli.losses.channels import ChannelLoss, SkeletonLoss
from softmorph_cli.topology.prior import Prior

LOSSES: dict[str, Callable[..., ChannelLoss]] = {
    "dice": SoftDiceLoss,
    "cldice": SoftCLDiceLoss,
    "smooth cldice": lambda **how: SoftCLDiceLoss(2, "smooth-levels", smooth_levels=3, **how),
    "nested cldice": lambda **how: SoftCLDiceLoss(method="nested", levels="exact", **how),
    "both": SoftDiceCLDiceLoss,
    "recall": SkeletonRecallLoss,
    "topological": lambda **how: TopologicalLoss((1, 0), **how),
    "betti matching": BettiMatchingLoss,
}
WITH_SKELETON = [name for name in LOSSES if name not in ("dice", "topological", "betti matching")]
WITH_TARGET = [name for name in LOSSES if name != "topological"]
DIFFERENTIABLE = [name for name, method in METHODS.items() if method.differentiable]


def _value_and_gradient(
    loss: Callable[..., Tensor], given: Tensor, target: Tensor, **more: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = given.detach().clone().requires_grad_()
    value = loss(leaf, target, **more)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


# ---------------------------------------------------------------- values


def _line(*columns: slice) -> Tensor:
    """A vessel 3 wide along a row, of the given columns."""
    image = torch.zeros(1, 1, 15, 40)
    for part in columns:
        image[..., 6:9, part] = 1
    return image


WHOLE = _line(slice(4, 36))


@pytest.mark.parametrize("name", WITH_SKELETON)
def test_a_gap_costs_more_than_as_many_voxels_at_the_border(name: str) -> None:
    """The purpose of clDice and skeleton recall; the Dice of both is equal."""
    gap, thin = _line(slice(4, 17), slice(23, 36)), WHOLE.clone()
    thin[..., 6, 10:28] = 0
    assert gap.sum() == thin.sum()
    dice = SoftDiceLoss()
    assert torch.equal(dice(gap, WHOLE), dice(thin, WHOLE))
    loss = LOSSES[name](radius=0) if name == "recall" else LOSSES[name]()
    assert loss(gap, WHOLE) > loss(thin, WHOLE) + 0.02


def test_foreground_everywhere_is_perfect_to_the_pool_skeleton_alone() -> None:
    """The flaw that the module's text warns of."""
    everywhere = torch.ones_like(WHOLE)
    assert SoftCLDiceLoss()(everywhere, WHOLE) < 1e-3
    assert SoftCLDiceLoss(method="smooth-levels")(everywhere, WHOLE) > 0.5
    # Thinned to the end, a rectangle is a line in its middle, a square a voxel or two.
    aside = WHOLE.roll(4, dims=-2)
    assert SoftCLDiceLoss(method="nested")(everywhere, aside) > 0.9
    assert 0.3 < SoftCLDiceLoss(method="nested")(everywhere[..., :15], aside[..., :15]) < 0.6


@pytest.mark.parametrize("make", [SoftCLDiceLoss, SoftDiceCLDiceLoss])
def test_iterations_are_monais_and_to_the_end_for_nested(make: Callable[..., SoftCLDiceLoss]) -> None:
    assert make().skeletonizer.iterations == 3
    assert make(method="smooth-levels").skeletonizer.iterations == 3
    assert make(method="nested").skeletonizer.iterations is None
    assert make(2, method="nested").skeletonizer.iterations == 2


def test_settings_of_a_nested_skeleton_go_through() -> None:
    p, g = tubes(1, 1, 20, 24), tubes(1, 1, 20, 24, seed=1).round()
    for how in ({"levels": 8}, {"levels": 8, "surrogate": True}, {"levels": "exact", "lowest": 0.3}):
        skeletonizer = SoftSkeletonizer(method="nested", **how)
        loss = SoftDiceCLDiceLoss(alpha=0.3, method="nested", **how)
        leaf = p.clone().requires_grad_()
        of_p, of_g = skeletonizer(leaf), skeletonizer(g)
        precision = ((of_p * g).sum() + 1) / (of_p.sum() + 1)
        sensitivity = ((of_g * leaf).sum() + 1) / (of_g.sum() + 1)
        cldice = 2 * precision * sensitivity / (precision + sensitivity + 1e-4)
        wanted = 0.7 * SoftDiceLoss(smooth_nr=1, smooth_dr=1)(leaf, g) + 0.3 * (1 - cldice)
        (gradient,) = torch.autograd.grad(wanted, leaf)
        for got, right in zip(_value_and_gradient(loss, p, g), (wanted.detach(), gradient), strict=True):
            torch.testing.assert_close(got, right)


@pytest.mark.usefixtures("torch_only")  # compiling a gradient of each takes longer than the test
@pytest.mark.parametrize("method", DIFFERENTIABLE)
def test_every_differentiable_skeleton_can_be_used(method: str) -> None:
    how: dict[str, Any] = {"smooth_levels": 2} if method == "smooth-levels" else {}
    p, g = tubes(1, 1, 12, 16), tubes(1, 1, 12, 16, seed=1).round()
    loss = SoftCLDiceLoss(2, method, **how)
    value, gradient = _value_and_gradient(loss, p, g)
    skeletonizer = SoftSkeletonizer(2, method, **how)
    of_p, of_g = skeletonizer(p.requires_grad_()), skeletonizer(g)
    precision = ((of_p * g).sum() + 1) / (of_p.sum() + 1)
    sensitivity = ((of_g * p).sum() + 1) / (of_g.sum() + 1)
    torch.testing.assert_close(value, 1 - 2 * precision * sensitivity / (precision + sensitivity + 1e-4))
    assert gradient.abs().max() > 1e-4


def test_a_method_without_a_gradient_is_refused_where_one_is_needed() -> None:
    loss = SoftCLDiceLoss(2, "levels")
    p, g = tubes(1, 1, 12, 16), tubes(1, 1, 12, 16, seed=1)
    assert 0 < loss(p, g) < 1
    with pytest.raises(InputError, match="smooth-levels"):
        loss(p.requires_grad_(), g)


@pytest.mark.parametrize("space", [(20, 24), (12, 14, 16)], ids=str)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_the_thick_skeleton_against_scikit_image(space: tuple[int, ...], radius: int) -> None:
    """Dilated and cut as scikit-image does it, with the components of the target and less of it."""
    target = (tubes(2, 2, *space) > 0.4).double()
    thick = SkeletonRecallLoss(radius).skeleton(target)
    thin = SkeletonRecallLoss(0).skeleton(target)
    assert set(thick.flatten().tolist()) == {0.0, 1.0}
    shape: Any = morphology.octahedron if len(space) == 3 else morphology.diamond
    label: Any = measure.label
    element = shape(radius)
    for truth, line, tube in zip(*(x.flatten(0, 1).numpy() > 0 for x in (target, thin, thick)), strict=True):
        assert ((morphology.dilation(line, element) & truth) == tube).all()
        assert label(line, return_num=True)[1] == label(truth, return_num=True)[1]
        assert 0 < line.sum() < 0.4 * truth.sum()


def test_recall_is_the_covered_share_of_each_class() -> None:
    target = torch.cat([WHOLE, 1 - WHOLE], 1)
    p = torch.cat([0.25 * WHOLE, 0.5 * (1 - WHOLE)], 1)
    losses = SkeletonRecallLoss(2, reduction="none", smooth_nr=0, smooth_dr=0)(p, target)
    torch.testing.assert_close(losses, torch.tensor([0.75, 0.5]).reshape(1, 2, 1, 1))
    # False positives do not count, a missing class neither.
    everything = torch.ones_like(p)
    assert SkeletonRecallLoss()(everything, target) == 0
    assert SkeletonRecallLoss()(everything, torch.zeros_like(target)) == 0


# ---------------------------------------------------------------- channels


@pytest.mark.parametrize("name", WITH_TARGET)
def test_labels_are_their_one_hot_form_and_the_background_can_be_left_out(name: str) -> None:
    given, target = 4 * noise(2, 3, 9, 10) - 2, labels(2, 3, 9, 10)
    one_hot = nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1)
    for kind in (target, target.double(), target.to(torch.uint8)):
        got = LOSSES[name](softmax=True, to_onehot_y=True, include_background=False)(given, kind)
        wanted = LOSSES[name]()(given.softmax(1)[:, 1:], one_hot[:, 1:])
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_targets_of_any_type(name: str) -> None:
    p, target = noise(1, 1, 9, 10, dtype=torch.float32), noise(1, 1, 9, 10, seed=1).round()
    wanted = LOSSES[name]()(p, target)
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32):
        torch.testing.assert_close(LOSSES[name]()(p, target.to(dtype)), wanted)


# ---------------------------------------------------------------- kept skeletons


@pytest.mark.parametrize("space", [(12, 16), (8, 9, 10)], ids=str)
@pytest.mark.parametrize("name", WITH_SKELETON)
def test_a_kept_skeleton_changes_nothing(name: str, space: tuple[int, ...]) -> None:
    loss = LOSSES[name]()
    assert isinstance(loss, SkeletonLoss)
    p, g = noise(2, 2, *space), tubes(2, 2, *space).round()
    kept = loss.skeleton(g)
    for got, wanted in zip(
        _value_and_gradient(loss, p, g, target_skeleton=kept), _value_and_gradient(loss, p, g), strict=True
    ):
        assert torch.equal(got, wanted)
    assert not torch.equal(loss(p, g, target_skeleton=torch.zeros_like(kept)), loss(p, g)), "it is looked at"
    # Kept in half the bytes for a data loader.
    torch.testing.assert_close(loss(p, g, target_skeleton=kept.half()), loss(p, g), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", WITH_SKELETON)
def test_a_kept_skeleton_of_labels(name: str) -> None:
    loss = LOSSES[name](softmax=True, to_onehot_y=True, include_background=False)
    assert isinstance(loss, SkeletonLoss)
    given, target = 4 * noise(2, 3, 9, 10) - 2, labels(2, 3, 9, 10)
    kept = loss.skeleton(target, channels=3)
    assert kept.shape == (2, 2, 9, 10)
    torch.testing.assert_close(loss(given, target, target_skeleton=kept), loss(given, target))
    with pytest.raises(InputError, match=r"skeleton\(target, channels=3\)"):
        loss.skeleton(target)
    with pytest.raises(InputError, match="target_skeleton has shape"):
        loss(given, target, target_skeleton=kept[:, :1])
    with pytest.raises(InputError, match="target_skeleton lies in"):
        loss(given, target, target_skeleton=kept + 1)


# ---------------------------------------------------------------- types, copies, compiling


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_autocast_and_narrow_types_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss = LOSSES[name](sigmoid=True)
    narrow, target = logits_of(noise(2, 1, 12, 16)).to(dtype), tubes(2, 1, 12, 16).round()
    with torch.autocast("cpu", dtype):
        value, gradient = _value_and_gradient(loss, narrow, target)
    wanted, wide = _value_and_gradient(loss, narrow.float(), target)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.equal(value, wanted)
    torch.testing.assert_close(gradient, wide.to(dtype))


def test_sums_that_float16_could_not_hold() -> None:
    p = torch.full((1, 1, 300, 300), 0.9, dtype=torch.float16)
    assert SoftDiceLoss()(p, torch.ones(1, 1, 300, 300)).item() == pytest.approx(1 - 1.8 / 1.9, abs=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_around_a_network(name: str) -> None:
    network = nn.Conv2d(1, 2, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        value = LOSSES[name](softmax=True, to_onehot_y=True)(
            network(torch.rand(1, 1, 12, 16)), labels(1, 2, 12, 16)
        )
    value.backward()
    assert network.weight.grad is not None
    assert torch.isfinite(network.weight.grad).all()
    assert network.weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_copies_and_moves_do_the_same(name: str) -> None:
    loss = LOSSES[name](sigmoid=True)
    given, target = logits_of(noise(1, 2, 12, 16)), tubes(1, 2, 12, 16).round()
    wanted = _value_and_gradient(loss, given, target)
    assert not list(loss.parameters())
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loss.double().to("cpu").eval()):
        other.load_state_dict(loss.state_dict())
        assert all(
            torch.equal(got, want)
            for got, want in zip(_value_and_gradient(other, given, target), wanted, strict=True)
        )


# The exact skeleton breaks the graph, where torch looks at what it then warns of itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_loss_is_the_same(name: str) -> None:
    loss = LOSSES[name](softmax=True, to_onehot_y=True)
    given, target = 4 * noise(2, 3, 9, 10, dtype=torch.float32) - 2, labels(2, 3, 9, 10)
    compiled = torch.compile(
        loss, backend="aot_eager", fullgraph=name not in ("recall", "topological", "betti matching")
    )
    for got, wanted in zip(
        _value_and_gradient(compiled, given, target), _value_and_gradient(loss, given, target), strict=True
    ):
        torch.testing.assert_close(got, wanted)


# ---------------------------------------------------------------- refused input


@pytest.mark.parametrize("name", WITH_TARGET)
def test_wrong_tensors_are_refused(name: str) -> None:
    loss = LOSSES[name]()
    p, g = noise(2, 3, 9, 10), noise(2, 3, 9, 10, seed=1).round()
    for wrong_p, wrong_g, words in (
        (p, g[:1], r"input has shape \(2, 3, 9, 10\) and target \(1, 3, 9, 10\): they must agree\."),
        (p, g[:, :1], "labels in one channel need to_onehot_y=True"),
        (p[0], g, r"input has shape \(3, 9, 10\); \(B, C, H, W\).*input\[None\] adds the axis of items"),
        (p, g[0, 0], r"target has shape \(9, 10\); \(B, C, H, W\)"),
        (p[:0], g[:0], "none of them 0"),
        (p * 3, g, r"input lies in \[0, 1\].* set sigmoid=True or softmax=True"),
        (p * float("nan"), g, "the input holds NaN"),
        (p, g * float("nan"), "the target holds NaN"),
        (p + 1 - p.max() + 1e-7, g, r"to 1\.0000001; if"),
        (p, g - 0.5, r"target lies in \[0, 1\]; this one has values from -0\.5 to 0\.5"),
        (p, labels(2, 3, 9, 10), "labels of classes need to_onehot_y=True"),
        (p.int(), g, "of type torch.int32"),
    ):
        with pytest.raises(InputError, match=words):
            loss(wrong_p, wrong_g)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_no_hint_at_labels_for_a_single_channel(name: str) -> None:
    with pytest.raises(InputError, match=r"they must agree\.$"):
        LOSSES[name]()(noise(1, 1, 9, 10), noise(1, 1, 9, 9))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", LOSSES)
def test_logits_that_are_nan_are_refused_by_all_losses_alike(name: str, activation: str) -> None:
    logits = torch.zeros(1, 2, 9, 10)
    logits[0, 1, 3, 3] = float("nan")
    with pytest.raises(InputError, match="the input holds NaN"):
        LOSSES[name](**{activation: True})(logits, labels(1, 2, 9, 10).expand(1, 2, 9, 10))


@pytest.mark.parametrize("name", LOSSES)
def test_a_warning_names_the_line_that_called(name: str) -> None:
    loss = LOSSES[name](include_background=False)
    with pytest.warns(SoftmorphWarning, match="has no effect") as caught:
        loss(noise(1, 1, 9, 10), noise(1, 1, 9, 10).round())
    assert {warning.filename for warning in caught} == {__file__}


def test_wrong_labels_are_refused() -> None:
    loss = SoftDiceLoss(to_onehot_y=True)
    p = noise(2, 3, 9, 10)
    for target, words in (
        (labels(2, 4, 9, 10), "labels from 0 to 3 do not fit 3 channels: 0 to 2 do"),
        (labels(2, 3, 9, 10) - 1, "labels from -1"),
        (labels(2, 3, 9, 10) / 2, "whole numbers"),
        (noise(2, 3, 9, 10), "this target has 3"),
        (labels(2, 3, 9, 9), "they must agree"),
    ):
        with pytest.raises(InputError, match=words):
            loss(p, target)
    with pytest.raises(InputError, match="use sigmoid=True"):
        SoftDiceLoss(softmax=True)(p[:, :1], p[:, :1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SoftDiceLoss(sigmoid=True, softmax=True), "exclude each other"),
        (lambda: SoftDiceLoss(reduction="median"), "mean, sum, none"),
        (lambda: SoftCLDiceLoss(0), "iterations 0"),
        (lambda: SoftCLDiceLoss(3, "fuzzy"), "unknown method 'fuzzy'"),
        (lambda: SoftCLDiceLoss(smooth=0.0), "must be positive"),
        (lambda: SoftCLDiceLoss(smooth=float("nan")), "must be positive"),
        (lambda: TopologicalLoss(1), r"prior 1: whole numbers b0, b1"),  # type: ignore[arg-type]
        (lambda: TopologicalLoss((1.0, 0)), r"prior \(1\.0, 0\): whole numbers"),  # type: ignore[arg-type]
        (lambda: TopologicalLoss(()), "whole numbers"),
        (lambda: TopologicalLoss([Prior((0,), (1, 0)), (1, 0)]), "whole numbers"),  # type: ignore[arg-type]
        (lambda: TopologicalLoss((1, 0), min_length=1.5), r"min_length 1\.5"),
        (lambda: SoftCLDiceLoss(3, "smooth-levels", sharpness=-1.0), "sharpness"),
        (lambda: SoftDiceCLDiceLoss(alpha=0.6), "alpha 0.6: it lies between 0"),
        (lambda: SoftDiceCLDiceLoss(alpha=float("nan")), "alpha nan"),
        (lambda: SkeletonRecallLoss(-1), "radius -1"),
    ],
)
def test_wrong_settings_are_refused_when_the_loss_is_made(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_a_misspelt_setting_is_refused() -> None:
    for loss in map(LOSSES.__getitem__, ("dice", "cldice", "recall")):
        with pytest.raises(TypeError, match="sigmod"):
            loss(sigmod=True)
