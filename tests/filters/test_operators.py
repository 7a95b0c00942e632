"""Filters as torch operators: `torch.compile`, autocast and DataParallel go through them."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from softmorph_cli.errors import InputError
from softmorph_cli.filters.modules import SoftClosing, SoftErosion, SoftSkeletonizer
from softmorph_cli.filters.operators import follow

MODULES: dict[str, Callable[[], nn.Module]] = {
    "smooth skeleton": lambda: SoftSkeletonizer(2, smooth_levels=4),
    "multilinear skeleton": lambda: SoftSkeletonizer(2, method="multilinear"),
    "cldice skeleton": lambda: SoftSkeletonizer(2, method="cldice"),
    "nested skeleton": lambda: SoftSkeletonizer(method="nested", levels="exact"),
    "nested skeleton, surrogate": lambda: SoftSkeletonizer(2, "nested", levels=8, surrogate=True),
    "erosion": lambda: SoftErosion(8, method="product"),
    "closing": lambda: SoftClosing(4, 2),
}
SHAPE = (2, 1, 11, 13)


def _batch(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()


def _gradient(net: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[Tensor, Tensor]:
    out = net(batch)
    (gradient,) = torch.autograd.grad(out.float().square().sum(), batch)
    return out.detach(), gradient


@pytest.mark.parametrize("name", MODULES)
def test_compiled_whole_equals_eager(name: str) -> None:
    module = MODULES[name]()

    def net(x: Tensor) -> Tensor:
        out: Tensor = module(x.sigmoid()) * 2
        return out

    # aot_eager traces forward and backward as any other backend does, and needs no C compiler.
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for seed in (1, 2):
        out, gradient = _gradient(net, _batch(seed))
        again, found = _gradient(compiled, _batch(seed))
        # Without a gradient erosion takes another way through the same numbers.
        torch.testing.assert_close(out, again)
        torch.testing.assert_close(gradient, found)
        assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("name", MODULES)
def test_the_operator_keeps_torchs_own_rules(name: str) -> None:
    recipe = MODULES[name]().recipe
    torch.library.opcheck(torch.ops.softmorph.filter.default, (_batch(3), recipe))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_float32(dtype: torch.dtype) -> None:
    module = MODULES["multilinear skeleton"]()
    narrow = _batch(4, dtype)
    with torch.autocast("cpu", torch.bfloat16):
        out, gradient = _gradient(module, narrow)
    wide, wanted = _gradient(module, narrow.detach().float().requires_grad_())
    assert out.dtype == gradient.dtype == dtype
    assert torch.equal(out, wide.to(dtype))
    torch.testing.assert_close(gradient.float(), wanted, atol=0.02, rtol=0.02)


def test_data_parallel_copies_and_files() -> None:
    module = MODULES["smooth skeleton"]()
    batch = _batch(5)
    wanted = module(batch)
    assert torch.equal(nn.DataParallel(module)(batch), wanted)
    assert torch.equal(copy.deepcopy(module)(batch), wanted)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(batch), wanted)


def test_a_recipe_is_all_that_is_needed() -> None:
    module = SoftSkeletonizer(3, smooth_levels=5, sharpness=7.0)
    batch = _batch(6)
    assert torch.equal(follow(module.recipe)(batch), module(batch))
    assert not torch.equal(follow(SoftSkeletonizer(3).recipe)(batch), module(batch))


def test_wrong_values_are_refused_inside_a_graph_too() -> None:
    compiled = torch.compile(SoftErosion(), fullgraph=True, backend="aot_eager")
    with pytest.raises(InputError, match=r"probabilities lie in \[0, 1\]"):
        compiled(torch.full(SHAPE, 3.0))
