"""The example runs, and its figures are those of masks that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from softmorph_cli.losses import example


class _Known(nn.Module):
    """Gives the same logits whatever the images."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__()
        self.logits = 2 * masks - 1

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def test_its_measures_on_known_masks() -> None:
    ring = torch.zeros(1, 1, 20, 20)
    ring[..., 4:16, 4:16] = 1
    ring[..., 7:13, 7:13] = 0
    assert example.measure(_Known(ring), ring, ring) == (1, 1, 0, 0)
    gap = ring.clone()
    gap[..., 9:11, 13:] = 0
    dice, cldice, b0, b1 = example.measure(_Known(gap), ring, ring)
    assert dice == pytest.approx(2 * gap.sum().item() / (gap.sum() + ring.sum()).item())
    assert 0.9 < cldice < 1
    assert (b0, b1) == (0, 1), "the ring is open, and one piece still"
    assert example.measure(_Known(torch.zeros_like(ring)), ring, ring) == (0, 0, 1, 1)


def test_what_is_drawn() -> None:
    images, masks = example.draw(6, np.random.default_rng(1))
    again, _ = example.draw(6, np.random.default_rng(1))
    assert torch.equal(images, again)
    assert images.shape == masks.shape == (6, 1, example.SIZE, example.SIZE)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    inside = images[masks > 0].mean() - images[masks == 0].mean()
    assert 0.2 < inside < 0.9
    assert 0.02 < masks.mean() < 0.3


def test_the_verdict_is_honest_either_way() -> None:
    rows = {
        "Dice": [(0.0, 0.5), (0.0, 0.7)],
        "good": [(0.0, 0.6), (0.0, 0.8)],
        "bad": [(0.0, 0.4), (0.0, 0.7)],
    }
    good, bad = example.verdict(rows)
    assert (
        good
        == "good: clDice above that of Dice alone on 2 of 2 seeds, by +0.100 in the mean (+0.100 to +0.100)."
    )
    assert (
        bad
        == "bad: clDice above that of Dice alone on 0 of 2 seeds, by -0.050 in the mean (-0.100 to +0.000)."
    )


def test_it_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "TRAINING", 8)
    monkeypatch.setattr(example, "TEST", 4)
    example.main(["--seeds", "1", "--steps", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 + 3 + 2
    for name, row in zip(example.LOSSES, lines[1:4], strict=True):
        assert row.startswith(f"seed 0    {name}")
        assert len(row.split()[-5:]) == 5
    with pytest.raises(SystemExit):
        example.main(["--steps", "0"])
    assert "at least 1 is needed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example.main(["--alpha", "0.7"])
    assert "alpha 0.7: it lies between" in capsys.readouterr().err


def test_networks_of_a_seed_differ_in_the_loss_alone() -> None:
    images, masks = example.draw(8, np.random.default_rng(2))
    first, second = (example.train(example.LOSSES["Dice"](0.3), 3, 2, images, masks) for _ in range(2))
    other = example.train(example.LOSSES["Dice + clDice, cldice"](0.3), 3, 2, images, masks)
    for one, same, different in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, same)
        assert (one - different).abs().max() < 0.05
    assert sum(p.numel() for p in first.parameters()) < 30_000
