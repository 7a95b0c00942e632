"""The topological loss in patches, and with the Betti numbers of a target."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from helpers_losses import labels, logits_of, noise, tubes
from torch import Tensor

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses import TopologicalLoss
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.loss import topological_loss
from softmorph_cli.topology.patches import random_place
from softmorph_cli.topology.prior import Prior


def masks(*shape: int, seed: int = 1) -> Tensor:
    """Return a target whose Betti numbers are not all 0 or 1."""
    return (noise(*shape, seed=seed) > 0.6).float()


def crops(space: tuple[int, ...], sizes: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return the places of patches, typed anew: cuts at multiples of the size, and at the end."""
    along = [pairwise([*range(0, extent, size), extent]) for extent, size in zip(space, sizes, strict=True)]
    return [tuple(slice(*ends) for ends in place) for place in product(*along)]


@pytest.mark.parametrize(
    ("space", "patch", "sizes"),
    [
        ((24, 30), 8, (8, 8)),
        ((24, 30), (24, 7), (24, 7)),
        ((9, 10, 11), 5, (5, 5, 5)),
        ((9, 10, 11), [4, 100, 6], (4, 10, 6)),
        ((9, 10, 11), 11, (9, 10, 11)),
    ],
    ids=str,
)
def test_a_patch_has_the_loss_of_a_crop(space: tuple[int, ...], patch: Any, sizes: tuple[int, ...]) -> None:
    p, target = noise(2, 3, *space), masks(2, 3, *space)
    whole, cut = p.clone().requires_grad_(), p.clone().requires_grad_()
    loss = TopologicalLoss(patch=patch, reduction="none", min_length=0.02)(whole, target)
    means = []
    for item, channel in product(range(2), range(3)):
        one, truth = cut[item, channel], target[item, channel].numpy() > 0.5
        each = [
            topological_loss(one[place], betti_numbers(truth[place]).numbers, None, 0.02)
            for place in crops(space, sizes)
        ]
        means.append(torch.stack(each).mean())
    wanted = torch.stack(means).reshape(2, 3)
    torch.testing.assert_close(loss.flatten(1), wanted)
    gradients = [torch.autograd.grad(one.sum(), leaf)[0] for one, leaf in ((loss, whole), (wanted, cut))]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("space", [(24, 30), (9, 10, 11)], ids=str)
@pytest.mark.parametrize("connectivity", [True, False])
def test_numbers_counted_before_are_those_of_a_call(space: tuple[int, ...], connectivity: bool) -> None:
    p, target = noise(2, 3, *space), masks(2, 3, *space)
    loss = TopologicalLoss(connectivity=2 * len(space) if connectivity else None, patch=7)
    numbers = loss.betti(target)
    along = [-(-extent // 7) for extent in space]
    assert numbers.shape == (2, 3, *along, len(space))
    last = tuple(slice(7 * (count - 1), None) for count in along)
    counted = betti_numbers(target[1, 2].numpy()[last] > 0.5, loss.connectivity).numbers
    assert tuple(numbers[(1, 2, *(-1 for _ in along))].tolist()) == counted
    assert numbers.max() > 1
    assert torch.equal(loss(p, priors=numbers), loss(p, target))
    assert torch.equal(loss(p, torch.zeros(3), priors=numbers), loss(p, target))  # priors come first
    # -1 is any number: the loss of all dimensions is the sum of those of one.
    singly = []
    for dimension in range(len(space)):
        only = torch.full_like(numbers, -1)
        only[..., dimension] = numbers[..., dimension]
        singly.append(loss(p, priors=only))
    torch.testing.assert_close(torch.stack(singly).sum(), loss(p, target))


def test_without_patches_a_target_says_the_numbers_where_there_is_no_prior() -> None:
    p, target = noise(2, 2, 12, 13), masks(2, 2, 12, 13)
    numbers = TopologicalLoss().betti(target)
    assert numbers.shape == (2, 2, 2)
    assert tuple(numbers[1, 0].tolist()) == betti_numbers(target[1, 0].numpy() > 0.5).numbers
    assert torch.equal(TopologicalLoss()(p, target), TopologicalLoss()(p, priors=numbers))
    assert torch.equal(TopologicalLoss((1, 0))(p, target), TopologicalLoss((1, 0))(p))


def test_labels_backgrounds_and_unions_of_a_target() -> None:
    p, target = noise(2, 3, 12, 13).softmax(1), labels(2, 3, 12, 13)
    one_hot = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    asked = TopologicalLoss(to_onehot_y=True, include_background=False, patch=6, reduction="none")
    plain = TopologicalLoss(patch=6, reduction="none")
    torch.testing.assert_close(asked(p, target), plain(p, one_hot)[:, 1:])
    assert torch.equal(asked.betti(target, channels=3), plain.betti(one_hot)[:, 1:])
    unions = TopologicalLoss([Prior((1, 2), (1, 0))], to_onehot_y=True, exclusive=True, patch=6)
    torch.testing.assert_close(
        unions(p, target), TopologicalLoss(patch=6)(p[:, 1:].sum(1, keepdim=True), (target > 0).float())
    )
    assert torch.equal(unions.betti(target, channels=3), plain.betti((target > 0).float()))


def test_a_channel_counts_once_in_a_union_and_a_prior_may_be_a_tensor() -> None:
    p = noise(2, 3, 12, 13).softmax(1)
    once, twice = (
        TopologicalLoss([Prior(channels, (1, 0))], exclusive=True)(p) for channels in ((1, 2), (2, 1, 2, 1))
    )
    torch.testing.assert_close(once, twice)
    for prior in (torch.tensor([1, 0]), np.array([1, 0]), torch.tensor([[1, 0], [1, 0], [1, 0]])):
        assert torch.equal(TopologicalLoss(prior)(p), TopologicalLoss((1, 0))(p))


def test_a_random_patch_is_one_of_the_map() -> None:
    p, target = noise(3, 2, 20, 24), masks(3, 2, 20, 24)
    loss = TopologicalLoss(patch=(9, 24), random_patch=True, reduction="none")
    torch.manual_seed(5)
    leaf = p.clone().requires_grad_()
    found = loss(leaf, target)
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    torch.manual_seed(5)
    assert torch.equal(loss(p, target), found)
    assert not torch.equal(loss(p, target), found)
    rows = set()
    for item in range(3):
        possible = [
            torch.stack(
                [
                    topological_loss(
                        p[item, k, row : row + 9],
                        betti_numbers(target[item, k, row : row + 9].numpy() > 0).numbers,
                    )
                    for k in range(2)
                ]
            )
            for row in range(12)
        ]
        # Both classes at the same place, and nothing outside of it.
        (row,) = [row for row, losses in enumerate(possible) if torch.allclose(losses, found[item].flatten())]
        rows.add(row)
        assert gradient[item, :, row : row + 9].count_nonzero() == gradient[item].count_nonzero() > 0
    assert len(rows) > 1


def test_every_place_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [random_place((6, 4, 9), (4, 4, 7), generator) for _ in range(900)]
    counts = np.unique([[along.start for along in place] for place in drawn], axis=0, return_counts=True)
    assert counts[0].tolist() == [[z, 0, x] for z in range(3) for x in range(3)]
    assert counts[1].min() > 60
    assert all(place[1:] == (slice(0, 4), slice(place[2].start, place[2].start + 7)) for place in drawn)


def test_training_reaches_the_numbers_of_each_patch() -> None:
    """Gradient descent on logits: a network that draws too much, then the target's Betti numbers everywhere."""
    target = (tubes(1, 1, 32, 32, seed=3) > 0.5).float()
    start = 0.6 * (2 * target - 1) + 0.7 * torch.randn(
        target.shape, generator=torch.Generator().manual_seed(0)
    )
    logits = start.clone().requires_grad_()
    loss = TopologicalLoss(patch=16, sigmoid=True)
    wanted = loss.betti(target)
    optimizer = torch.optim.Adam([logits], 0.1)
    before = (loss.betti((logits > 0).float()) - wanted).abs().sum()
    for _ in range(150):
        optimizer.zero_grad()
        loss(logits, priors=wanted).backward()
        optimizer.step()
    assert before > 8
    assert torch.equal(loss.betti((logits > 0).float()), wanted)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: TopologicalLoss((1, 0), patch=32),
            r"patch=32 excludes a prior.*call the loss with a target",
        ),
        (lambda: TopologicalLoss([(1, 0)] * 2, patch=(8, 9)), r"patch=\(8, 9\) excludes a prior"),
        (lambda: TopologicalLoss(patch=0), "patch 0: whole numbers of voxels"),
        (lambda: TopologicalLoss(patch=True), "patch True: whole numbers of voxels"),
        (lambda: TopologicalLoss(patch=2.5), r"patch 2\.5: whole numbers of voxels"),  # type: ignore[arg-type]
        (lambda: TopologicalLoss(patch=(8, -1)), r"patch \(8, -1\): whole numbers"),
        (lambda: TopologicalLoss(patch=()), r"patch \(\): whole numbers"),
        (lambda: TopologicalLoss(random_patch=True), "random_patch=True has no effect without patch"),
    ],
)
def test_arguments_that_exclude_each_other_are_refused(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_calls_that_do_not_fit_are_refused() -> None:
    p, target = noise(2, 2, 12, 13), masks(2, 2, 12, 13)
    loss = TopologicalLoss(patch=6)
    numbers = loss.betti(target)
    union = TopologicalLoss([Prior((1,), (1, 0))], patch=6)
    drawn = TopologicalLoss(patch=6, random_patch=True)
    refused: list[tuple[Any, str]] = [
        (
            lambda: loss(p),
            r"patch=6: each patch.*call the loss with a target, or with priors=loss.betti\(target\)",
        ),
        (lambda: union(p), "patch=6: each patch has Betti numbers of its own"),
        (
            lambda: loss(p, priors=[(1, 0)] * 2),
            r"shape \(2, 2\) do not fit .* \(2, 2, 2, 3, 2\), as of betti",
        ),
        (lambda: loss(p, priors=numbers[:, :, 1:]), r"shape \(2, 2, 1, 3, 2\) do not fit"),
        (lambda: loss(p, target[:1]), "they must agree"),
        (lambda: TopologicalLoss((2**63, 0))(p), "a number above 1099511627776"),
        (lambda: TopologicalLoss()(p, priors=[(1e20, 0)] * 2), "a number above 1099511627776"),
        (lambda: loss(p, 3 * target), "the target lies in"),
        (
            lambda: TopologicalLoss(patch=(6, 6, 6))(p, target),
            r"patch \(6, 6, 6\) has 3 sizes, and the map 2 axes",
        ),
        (lambda: drawn(p, priors=numbers), "give the call a target, not priors"),
        (lambda: drawn.betti(target), "give the call a target, not priors"),
        (lambda: TopologicalLoss()(p), "there is no prior.*or a target"),
        (
            lambda: TopologicalLoss(to_onehot_y=True).betti(target[:, :1]),
            r"how many channels.*betti\(target, channels=3\)",
        ),
    ]
    for call, words in refused:
        with pytest.raises(InputError, match=words):
            call()
    # What the messages advise.
    assert torch.equal(loss(p, target), loss(p, priors=loss.betti(target)))
    assert torch.isfinite(drawn(p, target))
    assert torch.isfinite(TopologicalLoss()(p, target))
    assert torch.isfinite(TopologicalLoss(patch=(6, 6))(logits_of(p).sigmoid(), target))
