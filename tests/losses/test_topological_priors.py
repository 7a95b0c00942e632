"""Priors of each item and of unions of classes: a batch has the loss and the gradient of its maps one by one."""

from __future__ import annotations

import doctest
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers_losses import logits_of, noise
from torch import Tensor
from torch.autograd import gradcheck

from softmorph_cli.errors import InputError
from softmorph_cli.losses import TopologicalLoss
from softmorph_cli.losses import topological as losses_module
from softmorph_cli.topology import loss as loss_module
from softmorph_cli.topology.loss import topological_loss
from softmorph_cli.topology.persistence import bars
from softmorph_cli.topology.prior import Prior

Numbers = tuple[int | None, ...]


def _batch(*space: int, items: int = 3) -> tuple[Tensor, list[list[Numbers]]]:
    """Return probabilities of 3 classes that sum to 1, and random priors of each item and of 4 priors."""
    p = noise(items, 3, *space).softmax(1)
    rng = np.random.default_rng(len(space))
    drawn = rng.integers(-1, 3, (items, 4, len(space)))
    return p, [[tuple(None if k < 0 else int(k) for k in one) for one in row] for row in drawn]


def _bar_by_bar(p: Tensor, betti: Numbers, min_length: float) -> Tensor:
    """The formula of the loss, read one bar after the other."""
    total = p.new_zeros(())
    for wanted, found in zip(betti, bars(p.detach().numpy()).diagrams, strict=True):
        ends = zip(found.birth_at.tolist(), found.death_at.tolist(), strict=True)
        lengths = [p[tuple(birth)] - (p[tuple(death)] if death[0] >= 0 else 0) for birth, death in ends]
        if wanted is not None:
            total = total + max(wanted - len(lengths), 0)
            for length in lengths[:wanted]:
                total = total + 1 - length**2
            for length in lengths[wanted:]:
                total = total + length**2 if length.item() >= min_length else total
    return total


def _gradient(loss: Tensor, p: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, p, retain_graph=True)
    return found


@pytest.mark.parametrize("min_length", [0, 0.08])
@pytest.mark.parametrize("space", [(9, 10), (5, 4, 6)], ids=str)
def test_a_batch_equals_a_loop_of_single_calls(space: tuple[int, ...], min_length: float) -> None:
    p, betti = _batch(*space)
    unions = [(0,), (2,), (0, 1), (2, 1)]
    loss = TopologicalLoss(
        [Prior(one, (0,) * len(space)) for one in unions],
        min_length=min_length,
        exclusive=True,
        reduction="none",
    )
    p = p.requires_grad_()
    together = loss(p, priors=betti)
    assert together.shape == (3, 4, *(1,) * len(space))
    maps = [
        (p[b, list(union)].sum(0).clamp(max=1), betti[b][k])
        for b in range(3)
        for k, union in enumerate(unions)
    ]
    weight = torch.arange(1.0, 13)
    gradient = _gradient((weight * together.flatten()).sum(), p)
    assert gradient.abs().max() > 0.1
    for singly in (
        torch.stack([topological_loss(one, numbers, None, min_length) for one, numbers in maps]),
        torch.stack([_bar_by_bar(one, numbers, min_length) for one, numbers in maps]),
    ):
        torch.testing.assert_close(together.flatten(), singly, rtol=0, atol=1e-6)
        torch.testing.assert_close(gradient, _gradient((weight * singly).sum(), p), rtol=0, atol=1e-6)
    # The same numbers for all items, of the loss itself.
    same = TopologicalLoss(
        [Prior(one, numbers) for one, numbers in zip(unions, betti[0], strict=True)],
        min_length=min_length,
        exclusive=True,
        reduction="none",
    )
    torch.testing.assert_close(same(p), loss(p, priors=[betti[0]] * 3))


@pytest.mark.parametrize(
    ("how", "wanted"),
    [({}, "max"), ({"exclusive": True}, "sum"), ({"softmax": True}, "sum"), ({"sigmoid": True}, "max")],
    ids=str,
)
def test_the_probability_of_a_union(how: dict[str, bool], wanted: str) -> None:
    p = noise(2, 3, 7, 8)
    given = p if "sigmoid" not in how and "softmax" not in how else logits_of(p)
    seen = given.softmax(1) if "softmax" in how else given.sigmoid() if "sigmoid" in how else given
    union = seen[:, 1:].sum(1).clamp(max=1) if wanted == "sum" else seen[:, 1:].amax(1)
    found = TopologicalLoss([Prior((1, 2), (1, 0))], **how)(given)  # type: ignore[arg-type]
    torch.testing.assert_close(found, TopologicalLoss((1, 0))(union[:, None]))
    # Channels are counted in the network's output, whether or not the background is left out.
    less = TopologicalLoss(Prior((2, 1), (1, 0)), include_background=False, **how)(given)  # type: ignore[arg-type]
    torch.testing.assert_close(less, found)


@pytest.mark.parametrize("space", [(4, 5), (3, 3, 2)], ids=str)
def test_gradcheck(space: tuple[int, ...]) -> None:
    p, betti = _batch(*space, items=4 - len(space))
    loss = TopologicalLoss(
        [Prior(one, (0,) * len(space)) for one in ((0,), (1,), (0, 1), (1, 2))], min_length=0.05, softmax=True
    )
    given = (3 * p.detach()).requires_grad_()
    assert gradcheck(lambda q: loss(q, priors=betti), (given,), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize(
    "priors",
    [
        [(1, 0), (None, 1)],
        [(1, 0), (-1, 1)],
        [[1.0, 0.0], [math.nan, 1.0]],
        np.array([[1, 0], [-1, 1]]),
        torch.tensor([[1, 0], [-1, 1]], dtype=torch.int8),
        torch.tensor([[1, 0], [math.nan, 1]]),
        torch.tensor([[[1, 0]] * 2, [[-1, 1]] * 2]),
    ],
    ids=str,
)
def test_forms_of_priors(priors: Any) -> None:
    p = noise(2, 2, 6, 7)
    wanted = torch.stack([TopologicalLoss((1, 0))(p[:1]), TopologicalLoss((None, 1))(p[1:])])
    for loss in (TopologicalLoss(), TopologicalLoss((5, 5)), TopologicalLoss([(5, 5), (3, 3)])):
        torch.testing.assert_close(loss(p, priors=priors), wanted.mean())


@pytest.mark.parametrize("module", [losses_module, loss_module])
def test_the_examples_of_docstrings(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted > 0


def test_items_of_any_numbers_have_no_gradient() -> None:
    p = noise(2, 1, 6, 7).requires_grad_()
    gradient = _gradient(TopologicalLoss()(p, priors=[(None, None), (1, 0)]), p)
    assert gradient[0].abs().max() == 0
    assert gradient[1].abs().max() > 0
    nothing = TopologicalLoss((None, None))(p)
    assert nothing.item() == 0
    assert _gradient(nothing, p).abs().max() == 0


@pytest.mark.parametrize(
    ("loss", "priors", "words"),
    [
        (TopologicalLoss(), None, "there is no prior"),
        (TopologicalLoss(), [(1, 0)], r"shape \(1, 2\) do not fit 2 items.*\(2, 2\), or \(2, 3, 2\)"),
        (TopologicalLoss(), [(1, 0), (1, 0, 0)], "do not fit 2 items"),
        (TopologicalLoss(), [(1, 0), (1, -2)], "priors hold -2"),
        (TopologicalLoss(), [(1, 0), (1, 0.5)], r"priors hold 0\.5"),
        (TopologicalLoss(), [(1, 0), (1, "x")], "priors hold 'x'"),
        (TopologicalLoss([Prior((3,), (1, 0))]), None, r"channels \(3,\) does not fit: 0 to 2"),
        (TopologicalLoss([Prior((), (1, 0))]), None, "does not fit"),
        (
            TopologicalLoss([Prior((0, 1), (1, 0))], include_background=False),
            None,
            r"channels \(0, 1\) does not fit: 1 to 2",
        ),
        (TopologicalLoss([Prior((0, 1, 2), (1, 0))], exclusive=True), None, "everywhere"),
        (TopologicalLoss([Prior((1,), (1, 0, 0))]), None, "has 3 Betti numbers"),
    ],
)
def test_what_does_not_fit_is_refused(loss: TopologicalLoss, priors: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        loss(noise(2, 3, 6, 7), priors=priors)
