"""The topological loss as a module: per class, differentiable, without a target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers_losses import logits_of, noise
from torch import Tensor
from torch.autograd import gradcheck

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses import TopologicalLoss
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.loss import topological_loss


@pytest.mark.parametrize("space", [(7, 8), (4, 5, 4)], ids=str)
def test_each_class_by_itself(space: tuple[int, ...]) -> None:
    p = noise(2, 3, *space)
    priors = [(1, 0, 0)[: len(space)], (2, 1, 1)[: len(space)], (0, 0, 0)[: len(space)]]
    low, high = (4, 8) if len(space) == 2 else (6, 26)
    for connectivity in (None, low, high):
        got = TopologicalLoss(priors, connectivity, reduction="none")(p)
        assert got.shape == (2, 3, *(1,) * len(space))
        wanted = [[topological_loss(p[b, c], priors[c], connectivity) for c in range(3)] for b in range(2)]
        torch.testing.assert_close(got.flatten(1), torch.tensor(wanted, dtype=torch.float64))
        torch.testing.assert_close(TopologicalLoss(priors, connectivity)(p), got.mean())
        torch.testing.assert_close(TopologicalLoss(priors, connectivity, reduction="sum")(p), got.sum())
    one = TopologicalLoss(priors[0], include_background=False, reduction="none")(p)
    torch.testing.assert_close(one, TopologicalLoss([priors[0]] * 2, reduction="none")(p[:, 1:]))


@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (1, 1, 3, 4, 3)], ids=str)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", None])
def test_gradcheck(activation: str | None, shape: tuple[int, ...]) -> None:
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).reshape(shape)
    p = (order + 1).double() / (count + 1)
    if activation == "softmax" and shape[1] == 1:
        activation = "sigmoid"
    given = (p if activation is None else logits_of(p)).requires_grad_()
    prior = (1, 1, 1)[: len(shape) - 2]
    loss = TopologicalLoss(prior, sigmoid=activation == "sigmoid", softmax=activation == "softmax")
    assert gradcheck(loss, (given,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 1, 9, 10), (1, 1, 6, 5, 7)], ids=str)
def test_all_zeros_and_all_ones_are_finite(shape: tuple[int, ...]) -> None:
    wanted = (1, 0, 0)[: len(shape) - 2]
    for value, loss in ((0.0, 1.0), (1.0, 0.0)):
        p = torch.full(shape, value).requires_grad_()
        found = TopologicalLoss(wanted)(p)
        assert found.item() == loss, "nothing there, or one solid object"
        (gradient,) = torch.autograd.grad(found, p)
        assert torch.isfinite(gradient).all()


def _broken_ring() -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    p = torch.sigmoid(1.5 - ((rows - 12).hypot(columns - 12) - 7).abs() * 2)
    p[10:14, 17:21] = 0.2
    p[2, 2] = 0.9
    return p[None, None]


def test_gradient_descent_closes_a_ring() -> None:
    """Within a network's reach, here the steps of an optimiser on the logits: b0, b1 go from 2, 0 to 1, 1."""
    logits = logits_of(_broken_ring()).requires_grad_()
    loss = TopologicalLoss((1, 1), sigmoid=True)
    optimizer = torch.optim.Adam([logits], 0.3)
    counted = []
    for _ in range(80):
        counted.append(betti_numbers((logits[0, 0] > 0).numpy(force=True)).numbers)
        optimizer.zero_grad()
        loss(logits).backward()
        optimizer.step()
    assert counted[0] == (2, 0)
    assert counted[-1] == (1, 1)


def test_priors_of_any_integer_type() -> None:
    p = noise(2, 2, 6, 7)
    wanted = TopologicalLoss([(1, 0), (2, 1)])(p)
    priors: list[Any] = [np.array([[1, 0], [2, 1]]), [np.array([1, 0]), (np.int8(2), True)]]
    for prior in priors:
        assert torch.equal(TopologicalLoss(prior)(p), wanted)
    assert torch.equal(TopologicalLoss(np.array([1, 0]))(p), TopologicalLoss((1, 0))(p))


def test_a_target_is_accepted_and_ignored() -> None:
    p = noise(1, 1, 6, 7)
    loss = TopologicalLoss((1, 0))
    assert torch.equal(loss(p, torch.zeros(3)), loss(p))


def test_invalid_inputs_are_refused() -> None:
    p = noise(1, 2, 6, 7)
    for prior, words in (
        ([(1, 0), (1, 0), (1, 0)], "3 priors do not fit 2 classes"),
        ((1, 0, 0), "has 3 Betti numbers"),
        ((1, -1), "negative"),
    ):
        with pytest.raises(InputError, match=words):
            TopologicalLoss(prior)(p)
    with pytest.raises(InputError, match="set sigmoid=True"):
        TopologicalLoss((1, 0))(3 * p)
    with pytest.raises(UsageError, match="exclude each other"):
        TopologicalLoss((1, 0), sigmoid=True, softmax=True)
