"""The example of deep supervision runs, its arms differ in what they should alone, and its figures are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from softmorph_cli.losses import supervision_example as example


class _Known(nn.Module):
    """Gives the same labels as logits, whatever the images."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.logits = nn.functional.one_hot(labels[:, 0], example.CLASSES).movedim(-1, 1).float()

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.logits, []


def test_its_measures_on_known_labels() -> None:
    truth = torch.zeros(2, 1, 20, 20, dtype=torch.long)
    truth[0, 0, 3, 2:18] = 1
    truth[1, 0, 8, 2:18] = 2
    images = example.Images(torch.zeros(2, 1, 20, 20), truth)
    assert example.measure(_Known(truth), images) == (1, 0)
    found = truth.clone()
    found[0, 0, 3, 10] = 0  # the bright one is cut
    found[1, 0, 15, 15], found[1, 0, 17, 17] = 2, 2  # the dim one has two specks beside it
    # Dice 2 * 15 / (15 + 16) and 2 * 16 / (18 + 16); one and two components too many, each of two images.
    dice, off = example.measure(_Known(found), images)
    assert dice == pytest.approx((30 / 31 + 32 / 34) / 2)
    assert off == pytest.approx((1 / 2 + 2 / 2) / 2)


def test_what_is_drawn() -> None:
    images, labels = example.draw(40, np.random.default_rng(1))
    again, _ = example.draw(40, np.random.default_rng(1))
    assert torch.equal(images, again)
    assert images.shape == labels.shape == (40, 1, example.SIZE, example.SIZE)
    kinds = {tuple(row) for row in example.in_image(labels).int().tolist()}
    assert kinds == {(1, 1, 0), (1, 0, 1), (1, 1, 1)}, "some have one kind, some both, and all a background"
    bright, dim, nothing = (images[labels == name].mean() for name in (1, 2, 0))
    assert bright - 0.2 > dim > nothing + 0.2


def test_boxes_hold_the_vessels_and_are_tight() -> None:
    _, labels = example.draw(6, np.random.default_rng(2))
    planes = example.boxed(labels)
    for name in (1, 2):
        inside = planes[:, name] == 1
        assert inside[labels[:, 0] == name].all()
        assert inside.float().mean() < 0.35
    assert (labels[:, 0][planes[:, 0] == 1] == 0).all()
    assert planes[:, 0].isnan().equal(planes[:, 1:].amax(1) > 0)


def test_a_box_ends_with_its_window() -> None:
    diagonal = torch.eye(example.SIZE, dtype=torch.long)[None, None]
    blocks = np.kron(np.eye(example.SIZE // example.WINDOW), np.ones((example.WINDOW,) * 2))
    np.testing.assert_array_equal(example.boxed(diagonal)[0, 1].numpy(), blocks)


def test_what_nearest_keeps() -> None:
    every = torch.ones(1, 1, example.SIZE, example.SIZE, dtype=torch.long)
    assert example.kept_by_nearest(every) == [1, 1, 1]
    # Every 8th row: max-pooling keeps it in all cells of 8, nearest in none whose centre is another row.
    lines = torch.zeros_like(every)
    lines[:, :, ::8] = 1
    assert example.kept_by_nearest(lines) == [0, 0, 0]


def test_predictions_leave_the_network_as_it_is() -> None:
    network = example.HeadedUNet().train()
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(80_000, rel=0.05)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    images = torch.rand(2, 1, example.SIZE, example.SIZE)
    output = example.predicted(network, images)
    assert network.training
    assert not output.requires_grad
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    _, heads = network(images)
    assert [head.shape[2] * shrink for head, shrink in zip(heads, example.HEADS, strict=True)] == [
        example.SIZE
    ] * 3


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "SIZE", 32)
    monkeypatch.setattr(example, "FURTHER", 6)
    monkeypatch.setattr(example, "TEST", 4)


@pytest.mark.usefixtures("small")
def test_all_arms_see_the_same_and_end_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    masked, further = example.draw(4, rng), example.draw(6, rng)
    seen: list[Tensor] = []
    turned = example._turned

    def spied(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        found = turned(images, labels)
        seen.append(found[0])
        return found

    monkeypatch.setattr(example, "_turned", spied)
    weights, batches = {}, {}
    for name, arm in example.ARMS.items():
        seen.clear()
        network: Any = example.train(arm, 3, 6, 0.5, masked, further)
        network = getattr(network, "module", network)
        weights[name], batches[name] = network.down[0][0].weight.detach(), torch.stack(seen)
    first = batches.pop("cross-entropy")
    assert all(torch.equal(one, first) for one in batches.values())
    different = torch.stack([one.flatten() for one in weights.values()])
    assert len(torch.unique(different, dim=0)) == len(example.ARMS)


@pytest.mark.usefixtures("small")
def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example.main(["--seeds", "1", "--steps", "2", "--labelled", "3"])
    lines = capsys.readouterr().out.splitlines()
    arms = len(example.ARMS)
    for name, row, cells in zip(example.ARMS, lines, lines[-arms:], strict=False):
        assert row.startswith(f"seed 0: {name}: ")
        assert cells.startswith(f"| {name} | ")
    assert "at 1/2, 1/4, 1/8 of the size nearest targets keep" in lines[arms + 1]


def test_the_table_is_honest_either_way() -> None:
    rows: dict[str, list[tuple[float, ...]]] = {
        "cross-entropy": [(0.5, 3.0, 1.0), (0.7, 3.0, 1.0)],
        "good": [(0.6, 2.0, 2.0), (0.8, 2.0, 2.0)],
        "bad": [(0.4, 3.0, 1.0), (0.7, 5.0, 1.0)],
    }
    *_, alone, good, bad = example.table(rows)
    assert alone == "| cross-entropy | 0.600 |  |  | 3.00 |  |  | 1.0 |"
    assert good == "| good | 0.700 | +0.100 ± 0.000 | 2 of 2 | 2.00 | -1.000 ± 0.000 | 2 of 2 | 2.0 |"
    # Of two differences a and b the interval is (a + b) / 2 +- 12.706 |a - b| / 2.
    assert bad == "| bad | 0.550 | -0.050 ± 0.635 | 0 of 2 | 4.00 | +1.000 ± 12.706 | 0 of 2 | 1.0 |"
