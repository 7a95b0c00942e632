"""The filters as they are met in training: other types, autocast, wrappers, modes of autograd, whole losses."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from helpers_maps import same_bits
from torch import Tensor, nn
from torch.autograd import gradcheck

import softmorph_cli
from softmorph_cli import SoftErosion, SoftOpening, SoftSkeletonizer
from softmorph_cli.errors import InputError
from softmorph_cli.filters import arrays, run
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.rules import catalog

MODULES = {
    "smooth-levels": SoftSkeletonizer(2, smooth_levels=3),
    "multilinear": SoftSkeletonizer(2, "multilinear"),
    "nested": SoftSkeletonizer(method="nested", levels="exact"),
    "opening": SoftOpening(),
    "cldice": SoftSkeletonizer(2, "cldice"),
}


def _batch(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def _slope(module: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[Tensor, Tensor]:
    leaf = batch.detach().clone().requires_grad_()
    result = module(leaf)
    (gradient,) = torch.autograd.grad(result.float().square().sum(), leaf)
    return result.detach(), gradient


# ---------------------------------------------------------------- the gradient of whole filters


def _smooth_levels(image: Tensor) -> Tensor:
    return softmorph_cli.skeletonize(
        image, method="smooth-levels", iterations=1, smooth_levels=3, sharpness=2.0
    )


# Not monotone: the change of an iteration is found by comparing two maps.
MAJORITY = replace(catalog.bundled("majority-2d"), iterations=None)
FADES = pytest.mark.filterwarnings("ignore:the skeleton faded")

FILTERS: dict[str, Callable[[Tensor], Any]] = {
    "smooth-levels": _smooth_levels,
    "opening": partial(softmorph_cli.opening, method="multilinear"),
    "closing": partial(softmorph_cli.closing, method="multilinear", iterations=2),
    "gradient": partial(softmorph_cli.gradient, method="multilinear"),
    "grey-level closing": partial(softmorph_cli.closing, iterations=2),
    "until stable": lambda x: softmorph_cli.skeletonize(x, method="multilinear", tolerance=0.2),
    "majority until stable": lambda x: softmorph_cli.apply_rule(
        MAJORITY, x, method="multilinear", tolerance=0.05
    ),
}


@FADES
@pytest.mark.parametrize("name", FILTERS)
def test_gradcheck_of_whole_filters(name: str) -> None:
    image = (0.1 + 0.8 * _batch(5, 6, dtype=torch.float64)).requires_grad_()
    assert gradcheck(FILTERS[name], (image,), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["tophat", "blackhat"])
@pytest.mark.filterwarnings("ignore:a soft opening or closing can pass its input")
def test_gradcheck_of_differences_cut_at_zero(name: str) -> None:
    # Values far from where the difference is cut.
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    image = (0.05 + 0.9 * ((rows + columns) % 2)).double() - 0.1 * _batch(5, 6, dtype=torch.float64).abs()
    image = image.clamp(0.01, 0.99).requires_grad_()
    run = partial(getattr(softmorph_cli, name), method="multilinear")
    assert gradcheck(run, (image,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradcheck_of_cldice_away_from_ties() -> None:
    image = torch.randperm(30, generator=torch.Generator().manual_seed(2)).double().div(31).add(0.01)
    image = image.reshape(5, 6).requires_grad_()
    assert gradcheck(
        partial[Any](softmorph_cli.skeletonize, method="cldice", iterations=2), (image,), eps=1e-7, atol=1e-5
    )


@FADES
@pytest.mark.parametrize("name", [*FILTERS, "tophat"])
@pytest.mark.filterwarnings("ignore:a soft opening or closing can pass its input")
def test_values_with_and_without_a_gradient_are_the_same(name: str) -> None:
    image = _batch(40, 70)
    function = FILTERS.get(name) or partial[Any](softmorph_cli.tophat, method="multilinear")
    with_gradient = function(image.clone().requires_grad_())
    assert with_gradient.requires_grad
    torch.testing.assert_close(with_gradient.detach(), function(image), atol=1e-6, rtol=0)


@FADES
@pytest.mark.parametrize("method", ["multilinear", "product"])
def test_until_stable_stops_where_torch_does(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = _batch(2, 9, 30, dtype=torch.float64)

    def skeletons(leaf: Tensor) -> Tensor:
        return softmorph_cli.skeletonize(leaf, method=method, spatial_dims=2)

    got = _slope(skeletons, image)
    monkeypatch.setattr(arrays, "choose", lambda *_args, **_kwargs: TorchBackend("cpu"))
    wanted = _slope(skeletons, image)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("backend", ["compiled", "torch"])
def test_streaming_of_levels_changes_no_gradient(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend == "torch":
        monkeypatch.setattr(arrays, "choose", lambda *_args, **_kwargs: TorchBackend("cpu"))
    module = SoftSkeletonizer(2, smooth_levels=4)
    batch = _batch(1, 1, 13, 70)
    streamed = _slope(module, batch)
    monkeypatch.setattr(TorchBackend, "streamed", lambda _self, work, image: work(image))
    plain = _slope(module, batch)
    assert same_bits(streamed[0], plain[0])
    torch.testing.assert_close(streamed[1], plain[1], atol=1e-5, rtol=1e-5)
    assert plain[1].abs().max() > 0.01


def test_streaming_keeps_two_maps_however_many_the_levels() -> None:
    for levels in (2, 12):
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        batch = _batch(1, 1, 80, 128).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = SoftSkeletonizer(3, smooth_levels=levels)(batch)
        # The logits, and what logit and clamp keep of the way there.
        assert sum(kept.values()) <= 4 * batch.nbytes
        result.sum().backward()


def test_progress_of_streamed_levels_is_reported_in_order() -> None:
    told: list[int] = []
    image = _batch(6, 7).requires_grad_()
    original = run._Reporter.__call__

    def listen(self: Any, *given: Any) -> None:
        told.append(self.part)
        original(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run._Reporter, "__call__", listen)
        softmorph_cli.skeletonize(image, smooth_levels=3, iterations=1, method="smooth-levels")
    assert told == [0] * 4 + [1] * 4 + [2] * 4


# ---------------------------------------------------------------- types and layouts


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_narrow_types_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    batch = _batch(1, 2, 9, 20, dtype=dtype)
    result, gradient = _slope(MODULES[name], batch)
    assert result.dtype == gradient.dtype == dtype
    wide, slope = _slope(lambda x: MODULES[name](x).to(dtype), batch.float())
    assert torch.equal(result, wide)
    torch.testing.assert_close(gradient, slope.to(dtype), atol=1e-2, rtol=1e-2)
    # Without a gradient an erosion multiplies in another order: the last of the narrow bits may differ.
    torch.testing.assert_close(MODULES[name](batch), result)


@pytest.mark.parametrize("name", MODULES)
def test_autocast_does_not_narrow_what_is_inside(name: str) -> None:
    batch = _batch(1, 1, 9, 20)
    wanted = _slope(MODULES[name], batch)
    with torch.autocast("cpu", torch.bfloat16):
        got = _slope(MODULES[name], batch)
    assert all(same_bits(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("name", MODULES)
def test_autocast_around_a_whole_model(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid(), MODULES[name])
    with torch.autocast("cpu", torch.bfloat16):
        result = model(_batch(1, 1, 12, 13))
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model[0].weight.grad is not None


@pytest.mark.parametrize("name", MODULES)
def test_any_layout_of_a_batch(name: str) -> None:
    batch = _batch(2, 3, 8, 21)
    wanted = _slope(MODULES[name], batch)
    turned = batch.transpose(2, 3).contiguous().transpose(2, 3)
    for other in (batch.to(memory_format=torch.channels_last), turned):
        assert not other.is_contiguous()
        leaf = other.detach().requires_grad_()
        result = MODULES[name](leaf)
        (gradient,) = torch.autograd.grad(result.square().sum(), leaf)
        # torch's sigmoid differs in the last bit between the vectorised part of a row and its tail.
        torch.testing.assert_close(result, wanted[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(gradient, wanted[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_results_are_contiguous_with_and_without_a_gradient(name: str) -> None:
    for batch in (_batch(1, 1, 9, 20), _batch(2, 2, 9, 20)):
        for leaf in (batch, batch.clone().requires_grad_()):
            assert MODULES[name](leaf).is_contiguous()


@pytest.mark.parametrize("name", MODULES)
def test_one_part_of_a_result_is_enough_for_a_gradient(name: str) -> None:
    batch = _batch(3, 1, 9, 20).requires_grad_()
    MODULES[name](batch)[1, 0, 4, 3:9].sum().backward()
    assert batch.grad is not None
    assert (batch.grad[[0, 2]] == 0).all()
    assert batch.grad[1].abs().max() > 0


# ---------------------------------------------------------------- modes of autograd


@pytest.mark.parametrize("name", MODULES)
def test_modes_without_a_gradient(name: str) -> None:
    module = MODULES[name]
    batch = _batch(1, 1, 9, 20).requires_grad_()
    wanted = module(batch).detach()
    for result in (module(batch.detach()), torch.no_grad()(module)(batch)):
        assert not result.requires_grad
        torch.testing.assert_close(result, wanted, atol=1e-6, rtol=0)
    with torch.inference_mode():
        for given in (batch, _batch(1, 1, 9, 20)):
            result = module(given)
            assert not result.requires_grad
            torch.testing.assert_close(result, wanted, atol=1e-6, rtol=0)
    # A tensor that was made in inference mode, used outside of it.
    with torch.inference_mode():
        inferred = _batch(1, 1, 9, 20)
    torch.testing.assert_close(module(inferred), wanted, atol=1e-6, rtol=0)


def test_a_hard_skeleton_or_levels_without_a_gradient_in_no_grad() -> None:
    image = _batch(9, 20).requires_grad_()
    with torch.no_grad():
        assert softmorph_cli.skeletonize(image, method="levels").shape == image.shape
    with pytest.raises(InputError, match="smooth-levels"):
        softmorph_cli.skeletonize(image, method="levels")


@pytest.mark.parametrize("name", MODULES)
def test_backward_twice_with_the_graph_kept(name: str) -> None:
    batch = _batch(1, 1, 9, 20).requires_grad_()
    loss = MODULES[name](batch).square().sum()
    loss.backward(retain_graph=True)
    assert batch.grad is not None
    first = batch.grad.clone()
    batch.grad = None
    loss.backward()
    assert same_bits(batch.grad, first)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_checkpointing_around_a_module() -> None:
    from torch.utils.checkpoint import checkpoint

    module = MODULES["multilinear"]
    batch = _batch(1, 1, 9, 20)
    wanted = _slope(module, batch)
    got = _slope(lambda x: checkpoint(module, x, use_reentrant=False), batch)
    assert all(same_bits(a, b) for a, b in zip(got, wanted, strict=True))


# ---------------------------------------------------------------- wrappers and copies


@pytest.mark.parametrize("name", MODULES)
def test_copies_of_modules_do_the_same(name: str) -> None:
    module = MODULES[name]
    batch = _batch(1, 1, 9, 20)
    wanted = _slope(module, batch)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), nn.DataParallel(module)):
        assert all(same_bits(a, b) for a, b in zip(_slope(other, batch), wanted, strict=True))
        assert repr(module) in repr(other) or isinstance(other, nn.DataParallel)


def test_several_threads_at_once() -> None:
    """As DataParallel does on a machine with several devices: replicas share the module."""
    from concurrent.futures import ThreadPoolExecutor

    module = SoftSkeletonizer(2, "multilinear", threads=2)
    batches = [_batch(1, 1, 9, 16, 40 + k) for k in range(8)]
    wanted = [_slope(module, batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: _slope(module, batch), batches))
    for got, right in zip(found, wanted, strict=True):
        assert all(same_bits(a, b) for a, b in zip(got, right, strict=True))


def test_training_does_not_gather_memory_or_threads() -> None:
    import threading

    module = SoftSkeletonizer(2, "multilinear", threads=2)

    def step() -> None:
        batch = _batch(1, 1, 16, 50, 60).requires_grad_()
        module(batch).sum().backward()

    step()
    gc.collect()
    threads, tensors = threading.active_count(), _tensors()
    for _ in range(5):
        step()
    gc.collect()
    assert threading.active_count() <= threads
    assert _tensors() <= tensors


def _tensors() -> int:
    return sum(type(thing) is Tensor for thing in gc.get_objects())


def test_a_thinner_skeleton_can_be_learnt() -> None:
    """A few steps of gradient descent bring the skeleton of a map nearer to a wanted one."""
    wanted = torch.zeros(1, 1, 15, 40)
    wanted[..., 7, 5:35] = 1
    logits = torch.full((1, 1, 15, 40), -1.0)
    logits[..., 5:10, 3:37] = 1
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.2)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = (SoftSkeletonizer(3, smooth_levels=4)(torch.sigmoid(logits)) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_erosion_of_a_view_of_a_parameter() -> None:
    parameter = nn.Parameter(_batch(4, 9, 20))
    SoftErosion()(parameter[1:3, None].expand(2, 2, 9, 20)).sum().backward()
    assert parameter.grad is not None
    assert (parameter.grad[[0, 3]] == 0).all()
    assert parameter.grad[1].abs().max() > 0
