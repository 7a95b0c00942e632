"""The Betti matching loss of batches: channels, labels, reductions, and what it prefers."""

from __future__ import annotations

import pytest
import torch

from softmorph_cli.losses import BettiMatchingLoss
from softmorph_cli.topology.matching_loss import betti_matching_losses


def test_items_and_channels_are_maps() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 8, 9), generator=generator)
    labels = torch.randint(3, (2, 1, 8, 9), generator=generator)
    loss = BettiMatchingLoss(softmax=True, to_onehot_y=True, include_background=False, reduction="none")
    found = loss(logits, labels)
    assert found.shape == (2, 2, 1, 1)
    p = logits.softmax(1)
    for item in range(2):
        for channel in (1, 2):
            (alone,) = betti_matching_losses(p[item, channel][None], (labels[item] == channel).float())
            assert found[item, channel - 1].item() == pytest.approx(alone.item(), rel=1e-6)
    assert BettiMatchingLoss(sigmoid=True)(logits, p).item() == pytest.approx(
        BettiMatchingLoss(sigmoid=True, reduction="sum")(logits, p).item() / 6, rel=1e-5
    )


def test_arguments_reach_the_matching() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand((1, 1, 6, 7, 5), generator=generator)
    g = (torch.rand(p.shape, generator=generator) < 0.6).float()
    each = [BettiMatchingLoss(dimensions=[k])(p, g).item() for k in range(3)]
    assert BettiMatchingLoss()(p, g).item() == pytest.approx(sum(each), rel=1e-5)
    assert min(each) > 0
    assert BettiMatchingLoss(6)(p, g).item() == pytest.approx(
        betti_matching_losses(p[0], g[0], 6)[0].item(), rel=1e-6
    )
    assert abs(BettiMatchingLoss(6)(p, g).item() / BettiMatchingLoss()(p, g).item() - 1) > 0.01


def test_a_wrong_place_costs_more_than_a_faint_right_one() -> None:
    target = torch.zeros(1, 1, 12, 30)
    target[..., 3:9, 3:9] = 1
    faint, elsewhere = 0.6 * target, target.roll(15, -1)
    # Both have one component and no loop, so that the numbers alone do not tell.
    loss = BettiMatchingLoss()
    assert loss(target, target) == 0
    assert loss(faint, target).item() == pytest.approx(2 * 0.4**2, rel=1e-5)
    assert loss(elsewhere, target).item() == pytest.approx(2)


def test_it_compiles_around_the_bars() -> None:
    p = torch.rand((1, 1, 6, 6), generator=torch.Generator().manual_seed(0))
    target = (p > 0.5).float()
    loss = BettiMatchingLoss()
    compiled = torch.compile(loss, backend="eager")
    assert compiled(p, target).item() == pytest.approx(loss(p, target).item())
