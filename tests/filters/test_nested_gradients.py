"""The gradient of nested skeletons: the derivative where there is one, and the surrogate by its own formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers_maps import same_bits
from torch import Tensor
from torch.autograd import gradcheck

import softmorph_cli
from softmorph_cli import SoftSkeletonizer
from softmorph_cli.compiler.compile import RANKS, compile_rule
from softmorph_cli.errors import UsageError
from softmorph_cli.filters import arrays
from softmorph_cli.kernels import thread_pool
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.kernels.numba_cpu import NumbaBackend
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.rules import catalog

FORMS: dict[str, dict[str, Any]] = {
    "exact": {"levels": "exact"},
    "exact above 0.2": {"levels": "exact", "lowest": 0.2},
    "exact, unfinished": {"levels": "exact", "finish": False},
    "8 levels": {"levels": 8},
    "64 levels": {"levels": 64},
    "128 levels": {"levels": 128},
}
EXACT = [name for name in FORMS if name.startswith("exact")]
BINNED = [name for name in FORMS if name not in EXACT]
SHAPES = [(1, 1, 7, 8), (2, 2, 5, 6), (1, 1, 4, 5, 6), (2, 1, 4, 3, 5)]


@pytest.fixture(autouse=True)
def _small_maps_are_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_SMALL", 0)


def _ranks(*shape: int, seed: int = 1) -> Tensor:
    """A permutation: no two values alike, and none on a threshold k/64 or k/128."""
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return ((order + 1).double() / (count + 1) * 0.998).reshape(shape)


def _steps_of(*shape: int, seed: int = 0) -> Tensor:
    """A map of five values, so that most voxels have neighbours that are their equals."""
    return torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(seed)).double() / 5


def _slope(image: Tensor, weights: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    leaf = image.clone().requires_grad_()
    result = SoftSkeletonizer(method="nested", **how)(leaf)
    (slope,) = torch.autograd.grad((weights.to(result.dtype) * result).sum(), leaf)
    return result.detach(), slope


@pytest.mark.parametrize("iterations", [None, 1])
@pytest.mark.parametrize("shape", [(2, 1, 4, 6), (1, 1, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_gradcheck_where_no_two_values_are_alike(
    name: str, shape: tuple[int, ...], iterations: int | None
) -> None:
    module = SoftSkeletonizer(iterations, "nested", **FORMS[name])
    assert gradcheck(module, (_ranks(*shape).requires_grad_(),), eps=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_the_gradient_of_a_value_goes_to_the_voxel_that_has_it(
    name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    image = _ranks(*shape).to(dtype)
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=dtype)
    result, slope = _slope(image, weights, **FORMS[name])
    value = image.flatten()
    shares = torch.where(result > 0, weights, 0).flatten()
    places = (result.flatten()[:, None] == value).to(dtype)
    torch.testing.assert_close(slope.flatten(), shares @ places)
    moved = (result > 0) & (result != image)
    assert moved.any(), "some value comes from another voxel"
    assert (result == 0).any(), "some voxel is deleted"


@pytest.mark.parametrize("surrogate", [False, True])
@pytest.mark.parametrize("shape", [(2, 1, 17, 18), (1, 1, 7, 9, 8)], ids=str)
@pytest.mark.parametrize("name", BINNED)
def test_with_bins_a_voxel_keeps_its_gradient_or_loses_it(
    name: str, shape: tuple[int, ...], surrogate: bool
) -> None:
    image = torch.nn.functional.avg_pool2d(_ranks(*shape).flatten(0, -3), 3, 1, 1).reshape(shape)
    weights = _ranks(*shape, seed=3)
    result, slope = _slope(image, weights, surrogate=surrogate, **FORMS[name])
    own, cut = (result == image) & (result > 0), (result < image) & (result > 0)
    assert own.any()
    assert cut.any()
    assert torch.equal(slope, torch.where(own | (cut & surrogate), weights, 0))
    assert torch.equal(result, _slope(image, weights, **FORMS[name])[0]), "the same skeleton"


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_with_and_without_a_gradient_are_the_same_bits(name: str, dtype: torch.dtype) -> None:
    image = _ranks(2, 1, 9, 30).to(dtype)
    result, _ = _slope(image, image, **FORMS[name])
    wanted = softmorph_cli.skeletonize(image, spatial_dims=2, **FORMS[name])
    assert same_bits(result, wanted)
    assert same_bits(
        result, torch.from_numpy(softmorph_cli.skeletonize(image.numpy(), spatial_dims=2, **FORMS[name]))
    )


def test_the_default_skeleton_of_a_tensor_has_a_gradient() -> None:
    leaf = _ranks(12, 13).requires_grad_()
    softmorph_cli.skeletonize(leaf).sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert set(leaf.grad.flatten().tolist()) == {0.0, 1.0}


# ---------------------------------------------------------------- equal values


@pytest.mark.parametrize("shape", [(9, 14), (6, 7, 5)], ids=str)
def test_of_equal_values_every_backend_takes_the_same(shape: tuple[int, ...]) -> None:
    for seed in range(5):
        image = _steps_of(*shape, seed=seed)
        found = []
        backends: list[Backend] = [NumbaBackend(1), NumbaBackend(2), TorchBackend("cpu")]
        for backend in backends:
            field = backend.traced(backend.array(image))
            for rule in ("thinning", "thinning-subfields"):
                steps = compile_rule(catalog.bundled(rule, len(shape)), RANKS)
                field.begin(steps)
                for _ in range(2):
                    for step in steps:
                        field.sweep(step)
            found.append((np.asarray(field.image()).copy(), np.asarray(field.origins())))
        for values, origins in found:
            assert (values == found[0][0]).all()
            assert (origins == found[0][1]).all()
            kept = values > 0
            assert ((origins == -1) == ~kept).all()
            assert (image.numpy().flat[origins[kept]] == values[kept]).all()
        assert (origins[kept] != np.arange(image.numel()).reshape(shape)[kept]).any()


@pytest.mark.parametrize("name", FORMS)
def test_the_gradient_does_not_depend_on_threads_or_repetition(name: str) -> None:
    image, weights = _steps_of(2, 1, 40, 50), _ranks(2, 1, 40, 50).float()
    slopes = [_slope(image, weights, threads=threads, **FORMS[name])[1] for threads in (1, 2, 2)]
    assert all(same_bits(slope, slopes[0]) for slope in slopes)


@pytest.mark.parametrize("name", FORMS)
def test_plain_torch_has_the_same_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image, weights = _steps_of(2, 1, 9, 11), _ranks(2, 1, 9, 11)
    wanted = _slope(image, weights, **FORMS[name])
    monkeypatch.setattr(arrays, "choose", lambda *_args, **_kwargs: TorchBackend("cpu"))
    for got, right in zip(_slope(image, weights, **FORMS[name]), wanted, strict=True):
        assert torch.equal(got, right)


# ---------------------------------------------------------------- corners


@pytest.mark.parametrize("shape", [(1, 2, 9, 10), (1, 1, 5, 6, 7)], ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_the_gradient_is_finite_everywhere(name: str, shape: tuple[int, ...]) -> None:
    logits = torch.linspace(-200, 200, torch.Size(shape).numel()).reshape(shape)
    for image in (torch.zeros(shape), torch.ones(shape), torch.full(shape, 1e-40), logits.sigmoid()):
        result, slope = _slope(image, torch.ones(shape), **FORMS[name])
        assert torch.isfinite(slope).all()
        assert slope.sum() == (result > 0).sum() or name in BINNED


@pytest.mark.parametrize("name", FORMS)
def test_it_is_differentiable_once(name: str) -> None:
    leaf = _ranks(1, 1, 7, 8).requires_grad_()
    result = SoftSkeletonizer(method="nested", **FORMS[name])(leaf)
    (slope,) = torch.autograd.grad(result.square().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()  # type: ignore[no-untyped-call]


def test_arguments_of_the_nested_module_and_its_refusals() -> None:
    batch = _ranks(1, 1, 9, 10)
    whole = SoftSkeletonizer(method="nested")(batch)
    assert torch.equal(whole[0, 0], softmorph_cli.skeletonize(batch[0, 0], method="nested"))
    assert not torch.equal(SoftSkeletonizer(1, "nested")(batch), whole)
    for method, how, words in (
        ("smooth-levels", {}, r"smooth-levels needs a number of iterations, such as iterations=3\."),
        ("nested", {"levels": "exact", "surrogate": True}, "a number of levels; leave it out"),
        ("smooth-levels", {"surrogate": True, "iterations": 2}, "surrogate=True goes with method nested"),
    ):
        with pytest.raises(UsageError, match=words):
            SoftSkeletonizer(method=method, **how)
