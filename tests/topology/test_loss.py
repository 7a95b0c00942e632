"""The topological loss on drawn maps compared with its formula, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.topology.loss import topological_loss, topological_losses


def drawn() -> torch.Tensor:
    """Draw a ring of 0.8 that is 0.4 at its weakest, around 0.1, and a speck of 0.6, on 0."""
    p = torch.zeros(7, 11, dtype=torch.float64)
    p[1:6, 1:6] = 0.8
    p[2:5, 2:5] = 0.1
    p[3, 1] = 0.4
    p[5, 9] = 0.6
    return p


@pytest.mark.parametrize(
    ("prior", "loss"),
    [
        ((1, 1), (1 - 0.8**2) + 0.6**2 + (1 - 0.3**2)),
        ((2, 0), (1 - 0.8**2) + (1 - 0.6**2) + 0.3**2),
        ((0, 0), 0.8**2 + 0.6**2 + 0.3**2),
        ((3, 2), (1 - 0.8**2) + (1 - 0.6**2) + 1 + (1 - 0.3**2) + 1),
    ],
)
def test_drawn_maps_have_the_loss_of_the_formula(prior: tuple[int, int], loss: float) -> None:
    assert topological_loss(drawn(), prior).item() == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize(
    ("prior", "min_length", "loss"),
    [
        ((1, None), 0, (1 - 0.8**2) + 0.6**2),
        ((None, 0), 0, 0.3**2),
        ((None, None), 0, 0),
        ((0, 0), 0.29, 0.8**2 + 0.6**2 + 0.3**2),
        ((0, 0), 0.31, 0.8**2 + 0.6**2),
        ((0, 1), 0.31, 0.8**2 + 0.6**2 + (1 - 0.3**2)),  # asked for, it counts at any length
        ((1, 0), 0.7, 1 - 0.8**2),
        ((2, 2), 1, (1 - 0.8**2) + (1 - 0.6**2) + (1 - 0.3**2) + 1),
    ],
)
def test_any_number_and_short_bars(prior: tuple[int | None, ...], min_length: float, loss: float) -> None:
    assert topological_loss(drawn(), prior, None, min_length).item() == pytest.approx(loss, abs=1e-12)


def test_loops_of_any_number_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    p = torch.rand((6, 5, 7), generator=torch.Generator().manual_seed(0))
    each = [topological_loss(p, [2 if k == axis else None for k in range(3)]) for axis in range(3)]
    assert torch.stack(each).sum().item() == pytest.approx(topological_loss(p, (2, 2, 2)).item(), rel=1e-6)
    monkeypatch.setattr("softmorph_cli.topology.persistence.loops", None)
    assert topological_loss(p, (2, None, 2)).item() == pytest.approx((each[0] + each[2]).item(), rel=1e-6)


def test_a_map_with_the_topology_has_loss_0() -> None:
    assert topological_loss((drawn() > 0.3).double(), (2, 1)).item() == 0
    assert topological_loss(torch.zeros(4, 5, 6), (0, 0, 0)).item() == 0
    assert topological_loss(torch.zeros(4, 5, 6), (1, 0, 2)).item() == 3


def test_the_gradient_is_nonzero_at_births_and_deaths_alone() -> None:
    p = drawn().requires_grad_()
    (gradient,) = torch.autograd.grad(topological_loss(p, (1, 1)), p)
    touched = {tuple(at): round(gradient[tuple(at)].item(), 9) for at in gradient.nonzero().tolist()}
    assert touched.pop((5, 9)) == 1.2  # the speck goes down
    assert touched.pop((3, 1)) == -0.6  # the gap goes up
    # A voxel of the ring goes up, one inside of it down; none of the voxels of 0 is where the speck ends.
    assert {value: p[at].item() for at, value in touched.items()} == {-1.6: 0.8, 0.6: 0.1}


@pytest.mark.parametrize(
    ("shape", "connectivity"), [((5, 6), 8), ((5, 6), 4), ((4, 3, 4), 26), ((4, 3, 4), 6)]
)
def test_gradcheck(shape: tuple[int, ...], connectivity: int) -> None:
    # Values a fiftieth apart: the order, and with it the pairs, stay under gradcheck's steps.
    size = int(np.prod(shape))
    values = np.random.default_rng(0).permutation(size) / (size + 2) + 0.01
    p = torch.from_numpy(values.reshape(shape)).requires_grad_()
    prior = (2, 1, 1)[: len(shape)]
    assert torch.autograd.gradcheck(lambda q: topological_loss(q, prior, connectivity), (p,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_narrow_types(dtype: torch.dtype) -> None:
    loss = topological_loss(drawn().to(dtype), (1, 1))
    assert loss.dtype == dtype
    assert loss.item() == pytest.approx(1.63, abs=0.02)


@pytest.mark.parametrize("count", [1, 3])
def test_each_map_has_betti_numbers_of_its_own(count: int) -> None:
    with pytest.raises(InputError, match=f"there are 2 maps, and Betti numbers for {count}"):
        topological_losses(drawn().expand(2, -1, -1), [(1, 1)] * count)


@pytest.mark.parametrize("prior", [(1,), (1, 0, 0), (1, -1)])
def test_a_prior_that_does_not_fit_is_refused(prior: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"the prior .* Betti numbers"):
        topological_loss(drawn(), prior)


@pytest.mark.parametrize("length", [-0.1, 1.1, float("nan")])
def test_a_length_outside_of_0_to_1_is_refused(length: float) -> None:
    with pytest.raises(UsageError, match="min_length"):
        topological_loss(drawn(), (1, 0), min_length=length)
