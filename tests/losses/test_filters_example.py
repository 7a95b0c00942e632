"""The example of filters in training runs, its last layers are an opening-closing, its tables are right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from softmorph_cli.losses import example, filters_example, training_data
from softmorph_cli.losses.recall import SkeletonRecallLoss

Mask = npt.NDArray[np.bool_]
TRAINED = [name for name, arm in filters_example.FILTERS.items() if arm.filtered is None]
LAYERS = [
    name for name, arm in filters_example.FILTERS.items() if arm.filtered is None and arm.layers is not list
]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters_example, "SIDE", {2: 24, 3: 16})
    monkeypatch.setattr(filters_example, "TRAINING", 6)
    monkeypatch.setattr(filters_example, "TEST", 3)


def drawn(count: int, dimensions: int, side: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(5)
    return training_data.batched(
        training_data.vessels(rng, (side,) * dimensions, (1.0, 1.8)) for _ in range(count)
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("table", "data", "titles"),
    [
        ("filters", "vessels-2d", "Dice | clDice | b0 error | b1 error"),
        (
            "alpha",
            "roads",
            "Dice | accuracy | clDice | b0 error | b1 error | Euler error | StreetMover | Opt-J F1",
        ),
    ],
)
def test_it_runs_and_prints_its_columns(
    table: str, data: str, titles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filters_example.main([table, "--data", data, "--seeds", "1", "--steps", "2"])
    lines = capsys.readouterr().out.splitlines()
    arms = list(filters_example.TABLES[table].arms)
    for name, row in zip(arms, lines[1:], strict=False):
        assert row.startswith(f"seed 0    {name}")
    begin = lines.index(next(line for line in lines if line.startswith("| minus")))
    head, _, *rows = lines[begin : begin + 2 + len(arms)]
    assert head == f"| minus {arms[0]} | {titles} | CPU s / 100 steps |"
    assert [row.split(" | ")[0].removeprefix("| ").removesuffix(" (absolute)") for row in rows] == arms
    assert {row.count("|") for row in rows} == {head.count("|")}


@pytest.mark.usefixtures("small")
def test_cavities_are_counted_in_3d(capsys: pytest.CaptureFixture[str]) -> None:
    arm = "last layers, minmax"
    filters_example.main(["filters", "--data", "vessels-3d", "--seeds", "1", "--steps", "1", "--arms", arm])
    head, _, *rows = capsys.readouterr().out.splitlines()[-4:]
    assert head == "| minus none | Dice | clDice | b0 error | b1 error | b2 error | CPU s / 100 steps |"
    assert [row.split(" | ")[0] for row in rows] == ["| none (absolute)", f"| {arm}"]


@pytest.mark.usefixtures("small")
def test_arms_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    filters_example.main(["filters", "--seeds", "2", "--steps", "1", "--arms", "skeleton recall"])
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split(" | ")[0] for row in rows] == ["| none (absolute)", "| skeleton recall"]
    assert rows[1].count("±") == 4
    with pytest.raises(SystemExit):
        filters_example.main(["filters", "--arms", "all"])
    assert "no 'all': use some of 'none', 'clDice" in capsys.readouterr().err


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss(name: str) -> None:
    images, masks = drawn(4, 2, 24)
    arm, data = filters_example.FILTERS[name], filters_example.DATA["vessels-2d"]
    loss = arm.loss()

    def after(steps: int, rate: float) -> float:
        network = filters_example.trained(arm, data._replace(rate=rate), 0, steps, images, masks)
        with torch.no_grad():
            return float(loss(network.train()(images), masks))

    untrained, trained = after(1, 1e-9), after(15, 1e-2)
    assert trained < 0.9 * untrained


def eroded(mask: Mask, outside: bool) -> Mask:
    """Return the erosion by a voxel and its nearest neighbours along the axes, by the definition."""
    padded = np.pad(mask, 1, constant_values=outside)
    result = np.zeros_like(mask)
    for place in np.ndindex(mask.shape):
        centre = np.array(place) + 1
        arms = [centre + sign * step for step in np.eye(mask.ndim, dtype=int) for sign in (-1, 1)]
        result[place] = all(padded[tuple(one)] for one in (centre, *arms))
    return result


def opened_and_closed(mask: Mask) -> Mask:
    """Return the closing of the opening; outside of the image neither erodes nor dilates."""

    def erode(one: Mask) -> Mask:
        return eroded(one, outside=True)

    def dilate(one: Mask) -> Mask:
        return ~eroded(~one, outside=True)

    return erode(dilate(dilate(erode(mask))))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(16, 16), (9, 9, 9)])
def test_last_layers_open_and_close_what_the_network_gives(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    mask = rng.random(shape) > 0.25
    mask[: shape[0] // 2] = rng.random((shape[0] // 2, *shape[1:])) > 0.6
    expected = opened_and_closed(mask)
    assert 0 < expected.mean() < 1
    assert (expected & ~mask).any()
    assert (mask & ~expected).any()
    layers = nn.Sequential(nn.Sigmoid(), *filters_example.FILTERS[name].layers())
    logits = torch.from_numpy(np.where(mask, 100.0, -100.0))[None, None]
    np.testing.assert_allclose(layers(logits)[0, 0].numpy(), expected, atol=1e-12)


def test_minmax_layers_are_exact_at_every_threshold() -> None:
    probabilities = np.random.default_rng(3).random((12, 12))
    layers = nn.Sequential(*filters_example.opening_closing("minmax"))
    found = layers(torch.from_numpy(probabilities)[None, None])[0, 0].numpy()
    for threshold in (0.2, 0.5, 0.7):
        np.testing.assert_array_equal(found > threshold, opened_and_closed(probabilities > threshold))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_gradient_passes_the_last_layers(name: str, dimensions: int) -> None:
    images, masks = drawn(2, dimensions, 16)
    arm = filters_example.FILTERS[name]
    torch.manual_seed(0)
    network = nn.Sequential(example.SmallUNet(dimensions), nn.Sigmoid(), *arm.layers())
    arm.loss()(network(images), masks).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(gradients) == len(list(network.parameters()))
    assert all(one.isfinite().all() for one in gradients)
    assert gradients[0].abs().max() > 1e-6


def test_exact_zeros_and_ones_have_a_finite_gradient() -> None:
    p = torch.tensor([[[[0.0, 1.0, 0.5]]]], requires_grad=True)
    filters_example.CrossEntropyDice()(p, torch.tensor([[[[1.0, 0.0, 1.0]]]])).backward()
    assert p.grad is not None
    assert p.grad.isfinite().all()


def test_losses_are_the_sums_that_they_say() -> None:
    _, masks = drawn(2, 2, 24)
    p = (0.8 * masks + 0.1).double()
    base = filters_example.CrossEntropyDice()(p, masks)
    truth = masks.double()
    entropy = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    axes = (1, 2, 3)
    dice = (2 * (p * truth).sum(axes) + 1) / (p.sum(axes) + truth.sum(axes) + 1)
    torch.testing.assert_close(base, entropy + 1 - dice.mean())
    term = SkeletonRecallLoss()
    both = filters_example.WithSkeletons(term)
    torch.testing.assert_close(both(p, masks), base + filters_example.WEIGHT * term(p, masks))
    torch.testing.assert_close(both.skeleton(masks), term.skeleton(masks))


def test_dice_of_skeletons_ignores_widths() -> None:
    thick, thin, aside = (torch.zeros(1, 1, 15, 30) for _ in range(3))
    thick[..., 4:9, 2:28], thin[..., 6, 4:26], aside[..., 10:13, 2:28] = 1, 1, 1
    loss = filters_example.SkeletonDiceLoss()
    assert loss(thick, thick) == 0
    assert loss(thick, thin) < 0.1
    assert loss(thick, aside) > 0.9


@pytest.mark.usefixtures("small")
def test_what_is_filtered_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[int, Tensor] = {}

    def seen(network: nn.Module, images: Tensor, masks: Tensor, *_: object) -> tuple[float, ...]:
        with torch.no_grad():
            shown[len(shown)] = network(images)
        return (0.0,)

    monkeypatch.setattr(filters_example, "measure", seen)
    arms = {
        name: arm
        for name, arm in filters_example.FILTERS.items()
        if name == "none" or arm.filtered is not None
    }
    rows = list(filters_example.run_seed(arms, filters_example.DATA["vessels-2d"], 0, 2, "", ["dice"]))
    assert [name for name, _ in rows] == ["none", "none, filtered afterwards", "true masks, filtered"]
    for alone, filtered in zip(shown[0], shown[1], strict=True):
        np.testing.assert_array_equal(filtered[0] > 0.5, opened_and_closed(alone[0].numpy() > 0.5))
    assert set(shown[2].flatten().tolist()) == {0.0, 1.0}


def test_the_table_is_of_paired_differences() -> None:
    measures = (
        filters_example.Measure("dice", "Dice"),
        filters_example.Measure("betti_0_error", "b0 error", 2),
    )
    rows = {
        "none": [(0.5, 3.0, 1.0), (0.7, 3.0, 2.0)],
        "good": [(0.6, 2.0, 2.0), (0.8, 2.0, 2.0)],
        "true masks, filtered": [(0.9, 0.0, 0.0), (1.0, 0.5, 0.0)],
    }
    assert filters_example.table(rows, measures) == [
        "| minus none | Dice | b0 error | CPU s / 100 steps |",
        "|---|---|---|---|",
        "| none (absolute) | 0.600 | 3.00 | 1.5 |",
        "| good | +0.100 ± 0.000 | -1.00 ± 0.00 | 2.0 |",
        "| true masks, filtered (absolute) | 0.950 | 0.25 | 0.0 |",
    ]


def test_two_arms_are_compared_seed_by_seed() -> None:
    measures = (filters_example.Measure("", "Dice"), filters_example.Measure("", "b0 error", 2))
    rows = {
        "through": [(0.75, 3.0, 1.0), (0.5, 2.0, 1.0)],
        "none": [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)],
        "after": [(0.5, 3.0, 1.0), (0.375, 3.0, 1.0)],
    }
    assert filters_example.paired(rows, measures, "through", "after") == [
        "| minus after | Dice | b0 error |",
        "|---|---|---|",
        # Differences 0.25 and 0.125, 0 and -1: half of their distance times Student's 12.706.
        "| through | +0.188 ± 0.794 | -0.50 ± 6.35 |",
        "| seeds above, of 2 | 2 | 0 |",
    ]


@pytest.mark.usefixtures("small")
def test_last_layers_are_compared_with_the_same_filters_afterwards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["last layers, minmax", "none, filtered afterwards"]
    filters_example.main(["filters", "--seeds", "2", "--steps", "1", "--arms", *names])
    head, _, row, above = capsys.readouterr().out.splitlines()[-4:]
    assert head == f"| minus {names[1]} | Dice | clDice | b0 error | b1 error |"
    assert row.startswith(f"| {names[0]} | ")
    assert above.startswith("| seeds above, of 2 | ")


def test_a_trend_is_told_where_its_interval_excludes_zero() -> None:
    measures = [filters_example.Measure("", name) for name in ("up", "down", "noise")]

    def row(alpha: float) -> list[tuple[float, ...]]:
        return [(alpha + 1, 5 - 2 * alpha, alpha), (1.1 * alpha, -2.2 * alpha, -alpha)]

    rows = {f"alpha {alpha}": row(alpha) for alpha in filters_example.ALPHAS}
    titles, _, slopes, words = filters_example.trends(rows, measures)
    assert titles == "| for each 0.1 of alpha, 0 to 0.5 | up | down | noise |"
    # Slopes 0.1 and 0.11 for each 0.1, -0.2 and -0.22, 0.1 and -0.1: half the difference times Student's 12.706.
    assert slopes == "| slope | +0.1050 ± 0.0635 | -0.2100 ± 0.1271 | +0.0000 ± 1.2706 |"
    assert words == "| trend | rises | falls | no trend |"


def test_what_no_alpha_changes_has_no_trend() -> None:
    # The means over 40 images are such numbers; the weights of a slope do not sum to 0 exactly.
    rows = {f"alpha {alpha}": [(0.1,), (0.125,), (0.075,)] for alpha in filters_example.ALPHAS}
    for alphas in (filters_example.ALPHAS, filters_example.ALPHAS[:-1]):
        *_, slopes, words = filters_example.trends(rows, [filters_example.Measure("", "b2")], alphas)
        assert (slopes, words) == ("| slope | +0.0000 ± 0.0000 |", "| trend | no trend |")


def test_a_trend_can_leave_out_the_greatest_alpha() -> None:
    rows = {f"alpha {alpha}": [(alpha, 0.0), (2 * alpha, 0.0)] for alpha in filters_example.ALPHAS}
    rows["alpha 0.5"] = [(-9.0, 0.0), (9.0, 0.0)]
    measures = [filters_example.Measure("", "up")]
    titles, _, slopes, _ = filters_example.trends(rows, measures, filters_example.ALPHAS[:-1])
    assert titles.startswith("| for each 0.1 of alpha, 0 to 0.4 |")
    assert slopes == "| slope | +0.1500 ± 0.6353 |"


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_alpha_weighs_cldice(alpha: float) -> None:
    _, masks = drawn(2, 2, 24)
    p = 0.8 * masks + 0.1
    make: Callable[[], nn.Module] = filters_example.TABLES["alpha"].arms[f"alpha {alpha:g}"].loss
    alone, half = (
        filters_example.TABLES["alpha"].arms[name].loss()(p, masks) for name in ("alpha 0", "alpha 0.5")
    )
    # Linear in alpha: what 0 and 0.5 give says what every other weight gives.
    torch.testing.assert_close(make()(p, masks), alone + (half - alone) * alpha / 0.5)
