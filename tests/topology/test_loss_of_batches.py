"""The topological loss of batches: compared with gudhi, in threads, and of parts of maps."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from helpers_topology import gudhi_intervals
from torch import Tensor

from softmorph_cli.topology import persistence
from softmorph_cli.topology.loss import topological_loss, topological_losses
from softmorph_cli.topology.patches import Place, in_threads
from softmorph_cli.topology.prior import BettiPrior

PRIOR = (2, 1, 1)


def distinct(*shape: int, seed: int = 0) -> Tensor:
    """Return values of float64 in (0, 1) no two of which are equal, with smooth parts so that bars are long too."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    sizes = (0,) * (len(shape) - 2) + (1, 1)
    drawn = gaussian_filter(rng.normal(size=shape), sizes) + 0.2 * rng.normal(size=shape)
    ranks = drawn.ravel().argsort().argsort().reshape(shape)
    return torch.from_numpy((ranks + 1) / (drawn.size + 2))


def of_gudhi(p: Tensor, prior: BettiPrior, connectivity: int) -> tuple[float, Tensor]:
    """Return the loss and its gradient, by the intervals of gudhi; a value names its voxel."""
    voxel = {value: place for place, value in enumerate(p.flatten().tolist())}
    total, gradient = 0.0, torch.zeros(p.numel(), dtype=torch.float64)
    for wanted, intervals in zip(prior, gudhi_intervals(p.numpy(), connectivity), strict=True):
        assert wanted is not None
        bars = sorted((birth - death, birth, death) for birth, death in intervals)[::-1]
        total += wanted - min(wanted, len(bars))
        for rank, (length, birth, death) in enumerate(bars):
            total += 1 - length**2 if rank < wanted else length**2
            slope = -2 * length if rank < wanted else 2 * length
            gradient[voxel[birth]] += slope
            if death > 0:
                gradient[voxel[death]] -= slope
    return total, gradient.reshape(p.shape)


@pytest.mark.parametrize(
    ("shape", "connectivity"),
    [((17, 21), 8), ((17, 21), 4), ((9, 10, 11), 26), ((9, 10, 11), 6)],
    ids=str,
)
@pytest.mark.parametrize("seed", range(4))
def test_loss_and_gradient_are_those_of_gudhi(shape: tuple[int, ...], connectivity: int, seed: int) -> None:
    p, prior = distinct(*shape, seed=seed), PRIOR[: len(shape)]
    total, slopes = of_gudhi(p, prior, connectivity)
    leaf = p.clone().requires_grad_()
    loss = topological_loss(leaf, prior, connectivity)
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert loss.item() == pytest.approx(total, rel=1e-12)
    torch.testing.assert_close(gradient, slopes, rtol=0, atol=1e-12)
    assert gradient.count_nonzero() > 40


@pytest.mark.parametrize("shape", [(9, 64, 64), (4, 24, 24, 24), (1, 40, 40, 40)], ids=str)
def test_a_batch_has_the_loss_and_gradient_of_its_maps_in_any_number_of_threads(
    shape: tuple[int, ...],
) -> None:
    batch = distinct(*shape).float()
    numbers = [[k % 3, 1, None, 2][: len(shape) - 1] for k in range(len(batch))]
    numbers[0] = [1] * (len(shape) - 1)
    weight = torch.arange(1.0, len(batch) + 1)

    def step(threads: int) -> tuple[Tensor, Tensor]:
        leaf = batch.clone().requires_grad_()
        losses = topological_losses(leaf, numbers, threads=threads)
        return losses.detach(), torch.autograd.grad((weight * losses).sum(), leaf)[0]

    losses, gradient = step(1)
    for threads in (2, 3, 7):
        again, slopes = step(threads)
        assert torch.equal(again, losses)
        assert torch.equal(slopes, gradient)
    for k, one in enumerate(batch):
        leaf = one.clone().requires_grad_()
        single = topological_loss(leaf, numbers[k])
        torch.testing.assert_close(single.detach(), losses[k])
        torch.testing.assert_close(weight[k] * torch.autograd.grad(single, leaf)[0], gradient[k])


@pytest.mark.parametrize("shape", [(0, 8, 9), (0, 4, 5, 6), (2, 0, 9)], ids=str)
def test_no_maps_and_maps_without_voxels(shape: tuple[int, ...]) -> None:
    batch = torch.rand(shape, requires_grad=True)
    losses = topological_losses(batch, [(1, 0, 2)[: len(shape) - 1]] * shape[0])
    # No bar is there where one is asked for.
    assert losses.tolist() == [1.0] * shape[0]
    assert torch.autograd.grad(losses.sum(), batch)[0].shape == shape


def test_maps_are_computed_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together, diagrams = threading.Barrier(2), persistence.diagrams

    def meeting(*of_map: Any) -> Any:
        together.wait(30)  # until another map is being computed
        return diagrams(*of_map)

    monkeypatch.setattr("softmorph_cli.topology.stacks.diagrams", meeting)
    batch = distinct(2, 130, 130)
    topological_losses(batch, [(1, 0)] * 2, threads=2)


def test_each_item_is_taken_once() -> None:
    counts = [0] * 500

    def once(k: int) -> int:
        counts[k] += 1
        return k * k

    assert in_threads(once, range(500), 5, 10**6) == [k * k for k in range(500)]
    assert counts == [1] * 500
    assert in_threads(once, [], 5, 10**6) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_after_an_error_nothing_else_is_begun(threads: int) -> None:
    begun = []

    def fails(k: int) -> None:
        begun.append(k)
        time.sleep(0.001)
        if k == 7:
            raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        in_threads(fails, range(10**5), threads, 10**6)
    assert 8 <= len(begun) < 1000


@pytest.mark.parametrize("space", [(20, 25), (8, 9, 10)], ids=str)
def test_parts_have_the_loss_and_gradient_of_crops(space: tuple[int, ...]) -> None:
    batch = distinct(3, *space)
    rng = np.random.default_rng(0)
    pieces: list[tuple[int, Place]] = []
    for _ in range(12):
        ends = np.sort([rng.choice(extent + 1, 2, replace=False) for extent in space], axis=1)
        pieces.append((int(rng.integers(3)), tuple(slice(int(a), int(b)) for a, b in ends)))
    numbers = [rng.integers(0, 3, len(space)).tolist() for _ in pieces]
    weight = torch.arange(1.0, 13)
    whole, cut = batch.clone().requires_grad_(), batch.clone().requires_grad_()
    losses = topological_losses(whole, numbers, pieces=pieces)
    of_crops = torch.stack(
        [topological_loss(cut[k][place], own) for (k, place), own in zip(pieces, numbers, strict=True)]
    )
    torch.testing.assert_close(losses, of_crops)
    gradient, wanted = (
        torch.autograd.grad((weight * one).sum(), leaf)[0] for one, leaf in ((losses, whole), (of_crops, cut))
    )
    torch.testing.assert_close(gradient, wanted)
    assert gradient.count_nonzero() > 50
