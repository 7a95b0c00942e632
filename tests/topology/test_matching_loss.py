"""The Betti matching loss compared with its formula, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.matching import match
from softmorph_cli.topology.matching_loss import betti_matching_losses


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a ring of 0.8 that is 0.4 at its weakest, around 0.1, and a speck of 0.6; and its mask, with a speck."""
    p = torch.zeros(1, 9, 16, dtype=torch.float64)
    g = torch.zeros(1, 9, 16, dtype=torch.float64)
    p[0, 1:6, 1:6], g[0, 1:6, 1:6] = 0.8, 1
    p[0, 2:5, 2:5], g[0, 2:5, 2:5] = 0.1, 0
    p[0, 3, 1], p[0, 7, 12], g[0, 2, 14] = 0.4, 0.6, 1
    return p, g


def test_a_drawn_map_has_the_loss_of_the_formula() -> None:
    components, loops = 2 * 0.2**2 + 0.6**2 + 1, 2 * (0.6**2 + 0.1**2)
    assert betti_matching_losses(*drawn()).item() == pytest.approx(components + loops, abs=1e-12)
    assert betti_matching_losses(*drawn(), dimensions=[0]).item() == pytest.approx(components, abs=1e-12)
    assert betti_matching_losses(*drawn(), dimensions=(1,)).item() == pytest.approx(loops, abs=1e-12)


def test_the_gradient_is_nonzero_at_births_and_deaths_alone() -> None:
    p, g = (one.requires_grad_() for one in drawn())
    first, second = torch.autograd.grad(betti_matching_losses(p, g).sum(), (p, g))
    touched = {tuple(at): round(first[tuple(at)].item(), 9) for at in first.nonzero().tolist()}
    assert touched.pop((0, 7, 12)) == 1.2  # the speck goes down
    assert touched.pop((0, 3, 1)) == -2.4  # the gap goes up
    # A voxel of the ring goes up, one inside of it down.
    assert {value: p[at].item() for at, value in touched.items()} == {-0.8: 0.8, 0.4: 0.1}
    # So has the target, and its speck; a death at 0 has no voxel.
    assert sorted(round(value, 9) for value in second[second != 0].tolist()) == [0.8, 2, 2.4]


@pytest.mark.parametrize(
    ("shape", "connectivity"), [((4, 5), 8), ((4, 5), 4), ((3, 3, 3), 26), ((3, 3, 3), 6)]
)
def test_gradcheck(shape: tuple[int, ...], connectivity: int) -> None:
    generator = torch.Generator().manual_seed(0)
    p, g = (torch.rand((2, *shape), generator=generator, dtype=torch.float64) for _ in range(2))
    leaves = p.requires_grad_(), g.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: betti_matching_losses(a, b, connectivity), leaves)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_has_the_losses_of_its_maps(dims: int) -> None:
    rng = np.random.default_rng(dims)
    p = rng.random((5, *(12,) * dims))
    g = (rng.random(p.shape) < 0.5).astype(float)
    whole = betti_matching_losses(torch.from_numpy(p), torch.from_numpy(g))
    assert whole.tolist() == pytest.approx([match(a, b).loss for a, b in zip(p, g, strict=True)], rel=1e-12)
    narrow = betti_matching_losses(torch.from_numpy(p).bfloat16(), torch.from_numpy(g).bfloat16())
    assert narrow.dtype == torch.float32
    assert narrow.tolist() == pytest.approx(whole.tolist(), rel=0.02)
    assert betti_matching_losses(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4)).shape == (0,)


def test_descent_closes_the_gap_and_removes_the_speck() -> None:
    p, g = drawn()
    logits = torch.logit(p.clamp(0.01, 0.99)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    g[0, 2, 14] = 0
    for _ in range(60):
        optimizer.zero_grad()
        betti_matching_losses(logits.sigmoid(), g).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = logits.detach().sigmoid()
    assert after[0, 3, 1] > 0.8
    assert after[0, 7, 12] < 0.2
    assert betti_numbers(drawn()[0][0].numpy() > 0.5).numbers == (2, 0)
    assert betti_numbers(after[0].numpy() > 0.5).numbers == (1, 1)


@pytest.mark.parametrize("dimensions", [(), (2,), (0, 0), (-1,)])
def test_dimensions_that_do_not_exist_are_refused(dimensions: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="components, loops"):
        betti_matching_losses(*drawn(), dimensions=dimensions)


def test_maps_that_do_not_fit_are_refused() -> None:
    p, g = drawn()
    for first, second in ((p, g.float()), (p, g[:, 1:]), (p * 2, g), (p[0], g[0, 0])):
        with pytest.raises(InputError):
            betti_matching_losses(first, second)
