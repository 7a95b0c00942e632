"""The filters as modules: shapes, gradients, independence of batch mates, and early refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import softmorph_cli
from softmorph_cli import SoftClosing, SoftDilation, SoftErosion, SoftOpening, SoftSkeletonizer
from softmorph_cli.errors import InputError, UsageError

MORPHOLOGY = {
    SoftErosion: softmorph_cli.erosion,
    SoftDilation: softmorph_cli.dilation,
    SoftOpening: softmorph_cli.opening,
    SoftClosing: softmorph_cli.closing,
}


def _batch(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).random(shape))


@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (2, 1, 4, 5, 6), (1, 1, 6, 7), (1, 1, 4, 5, 6)])
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("module", MORPHOLOGY)
def test_modules_are_the_functions(module: Any, gradient: bool, shape: tuple[int, ...]) -> None:
    batch = _batch(*shape).requires_grad_(gradient)
    dims = len(shape) - 2
    for arguments in (
        {"method": "multilinear"},
        {"connectivity": 8 if dims == 2 else 18, "iterations": 2, "method": "minmax"},
    ):
        got = module(**arguments)(batch)
        assert got.shape == batch.shape
        wanted = MORPHOLOGY[module](batch.detach().numpy(), spatial_dims=dims, **arguments)
        np.testing.assert_allclose(got.detach().numpy(), wanted, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 2, 7, 8), (2, 1, 5, 6, 5), (1, 1, 7, 8)])
@pytest.mark.parametrize("method", ["smooth-levels", "multilinear", "product", "minmax", "cldice"])
def test_skeletonizer_has_a_gradient_and_keeps_shapes(method: str, shape: tuple[int, ...]) -> None:
    batch = _batch(*shape).requires_grad_()
    arguments: dict[str, Any] = {"smooth_levels": 3} if method == "smooth-levels" else {}
    result = SoftSkeletonizer(2, method, **arguments)(batch)
    assert result.shape == batch.shape
    assert result.dtype == batch.dtype
    result.sum().backward()
    assert batch.grad is not None
    assert torch.isfinite(batch.grad).all()
    for index in range(shape[0]):
        assert batch.grad[index].abs().max() > 0


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(
    "module",
    [SoftSkeletonizer(2, smooth_levels=2), SoftSkeletonizer(2, "product"), SoftOpening(), SoftErosion(8, 2)],
    ids=repr,
)
def test_batch_mates_do_not_matter(module: nn.Module, gradient: bool) -> None:
    batch = _batch(4, 2, 7, 9).requires_grad_(gradient)
    together = module(batch)
    for index in range(4):
        alone = module(batch[index : index + 1])
        if isinstance(module, SoftSkeletonizer) and gradient:
            # torch's sigmoid differs in the last bit between the vectorised part of a row and its tail.
            torch.testing.assert_close(together[index : index + 1], alone, atol=1e-13, rtol=0)
        else:
            assert torch.equal(together[index : index + 1], alone)
    if gradient:
        (slope,) = torch.autograd.grad(together[1].sum(), batch)
        assert (slope[[0, 2, 3]] == 0).all()
        assert slope[1].abs().max() > 0


def test_skeletonizer_defaults_to_smooth_levels_and_needs_iterations() -> None:
    with pytest.raises(UsageError, match="smooth-levels needs a number of iterations"):
        SoftSkeletonizer()
    batch = _batch(1, 1, 9, 9)
    wanted = softmorph_cli.skeletonize(batch[0, 0], method="smooth-levels", iterations=2)
    assert torch.equal(SoftSkeletonizer(2)(batch)[0, 0], wanted)


def test_modules_hold_no_parameters_and_describe_themselves() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Sigmoid(), SoftClosing(8, 2), SoftSkeletonizer(3))
    assert len(list(model.parameters())) == 2
    text = repr(model)
    assert "iterations=3" in text
    assert "method='smooth-levels'" in text
    assert "method='multilinear'" in text
    again = SoftSkeletonizer(3)
    again.load_state_dict(SoftSkeletonizer(3).state_dict())


def test_gradients_reach_the_layers_before() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid(), SoftOpening(), SoftSkeletonizer(2))
    model(torch.rand(2, 1, 8, 8)).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("shape", [(6,), (6, 7), (1, 6, 7), (1, 1, 1, 2, 3, 4)])
def test_shapes_that_are_no_batch_are_refused(shape: tuple[int, ...]) -> None:
    for module in (SoftErosion(), SoftSkeletonizer(1)):
        with pytest.raises(InputError, match=r"\(B, C, H, W\) or \(B, C, D, H, W\)"):
            module(torch.zeros(shape))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SoftErosion(iterations=0),
        lambda: SoftDilation(iterations=-1),
        lambda: SoftErosion(method="fuzzy"),
        lambda: SoftErosion(method="cldice"),
        lambda: SoftErosion(levels=7),
        lambda: SoftSkeletonizer(0),
        lambda: SoftSkeletonizer(2, "fuzzy"),
        lambda: SoftSkeletonizer(2, sharpness=0.0),
    ],
)
def test_wrong_arguments_are_refused_when_the_module_is_made(make: Any) -> None:
    with pytest.raises(UsageError):
        make()


def test_a_method_without_gradient_is_refused_where_one_is_needed() -> None:
    batch = _batch(1, 1, 6, 6)
    module = SoftSkeletonizer(2, "levels")
    assert module(batch).shape == batch.shape
    with pytest.raises(InputError, match="smooth-levels"):
        module(batch.requires_grad_())


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_logits_instead_of_probabilities_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"probabilities lie in \[0, 1\]"):
        SoftErosion()(torch.full((1, 1, 4, 4), value))
