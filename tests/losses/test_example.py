"""The example runs, and its measures of known masks are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from softmorph_cli.losses import example


class _Known(nn.Module):
    """A network with constant logits."""

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


@pytest.mark.parametrize("dimensions", [2, 3])
def test_drawn_images_and_masks(dimensions: int) -> None:
    images, masks = example.draw(6, np.random.default_rng(1), dimensions)
    again, _ = example.draw(6, np.random.default_rng(1), dimensions)
    assert torch.equal(images, again)
    assert images.shape == masks.shape == (6, 1, *(example.SIZE[dimensions],) * dimensions)
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    inside = images[masks > 0].mean() - images[masks == 0].mean()
    assert 0.2 < inside < 0.9
    assert 0.005 < masks.mean() < 0.3


def test_the_verdict_states_gains_and_losses() -> None:
    rows: dict[str, list[tuple[float, ...]]] = {
        "Dice": [(0.0, 0.5, 1.0, 0.0), (0.0, 0.7, 1.0, 0.0)],
        "good": [(0.0, 0.6, 0.5, 0.0), (0.0, 0.8, 0.5, 0.0)],
        "bad": [(0.0, 0.4, 1.0, 0.0), (0.0, 0.7, 1.0, 0.0)],
    }
    good, bad = example.verdict(rows)
    # Of two differences a and b the interval is (a + b) / 2 +- 12.706 |a - b| / 2.
    assert good == (
        "good minus Dice: Dice +0.000 ± 0.000, clDice +0.100 ± 0.000, b0 error -0.500 ± 0.000, "
        "b1 error +0.000 ± 0.000; clDice is above on 2 of 2 seeds."
    )
    assert "clDice -0.050 ± 0.635" in bad
    assert bad.endswith("clDice is above on 0 of 2 seeds.")
    (alone,) = example.verdict({"Dice": rows["Dice"][:1], "good": rows["good"][:1]})
    assert "clDice +0.100, b0" in alone


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_example_runs(
    dimensions: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "SIZE", {2: 32, 3: 16})
    monkeypatch.setattr(example, "TRAINING", {dimensions: 8})
    monkeypatch.setattr(example, "TEST", {dimensions: 4})
    example.main(["--dimensions", str(dimensions), "--seeds", "1", "--steps", "2"])
    lines = capsys.readouterr().out.splitlines()
    losses = len(example.LOSSES)
    assert len(lines) == 1 + losses + losses + losses - 1
    for name, row in zip(example.LOSSES, lines[1 : 1 + losses], strict=True):
        assert row.startswith(f"seed 0    {name}")
        assert len(row.split()[-5:]) == 5


def test_losses_can_be_chosen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "SIZE", {2: 32})
    monkeypatch.setattr(example, "TRAINING", {2: 4})
    monkeypatch.setattr(example, "TEST", {2: 2})
    name = "Dice + clDice, nested, 16"
    example.main(["--seeds", "1", "--steps", "1", "--losses", name])
    lines = capsys.readouterr().out.splitlines()
    assert [line[10:40].strip() for line in lines[1:5]] == ["Dice", name, "Dice", name]
    assert lines[5].startswith(f"{name} minus Dice: ")


def test_invalid_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(["--steps", "0"])
    assert "at least 1 is needed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example.main(["--alpha", "0.7"])
    assert "alpha 0.7: it lies between" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example.main(["--losses", "clDice"])
    assert "no 'clDice': use some of 'Dice', 'Dice + clDice, cldice'," in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in example.LOSSES if name != "Dice"])
def test_skeletons_are_reused_with_equal_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks = example.draw(4, np.random.default_rng(2))
    kept = example.train(example.LOSSES[name](0.3), 3, 1, images, masks)
    monkeypatch.setattr(example, "SkeletonLoss", int)
    made = example.train(example.LOSSES[name](0.3), 3, 1, images, masks)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), made.parameters(), strict=True))


def test_networks_of_a_seed_differ_in_the_loss_alone() -> None:
    images, masks = example.draw(8, np.random.default_rng(2))
    first, second = (example.train(example.LOSSES["Dice"](0.3), 3, 2, images, masks) for _ in range(2))
    other = example.train(example.LOSSES["Dice + clDice, cldice"](0.3), 3, 2, images, masks)
    for one, same, different in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, same)
        assert (one - different).abs().max() < 0.05
    assert sum(p.numel() for p in first.parameters()) < 30_000
