"""Training of a prior: the same seed gives the same tensors, and maps that do not fit each other are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_subjects import QUICK, disc, drawn, prior, volume_of

from softmorph_cli.completion import training
from softmorph_cli.completion.box import Box, Grid
from softmorph_cli.completion.prior import Prior
from softmorph_cli.completion.training import Subject, TrainingOptions, TrainingProgress, train
from softmorph_cli.errors import InputError, UsageError

SHORT = replace(QUICK, steps=8)


def same(first: Prior, second: Prior) -> bool:
    return torch.equal(first.latents, second.latents) and first.network_hash() == second.network_hash()


def test_the_same_seed_gives_the_same_tensors() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        subjects = drawn(8, 5)
        before = torch.random.get_rng_state()
        first, second = train(subjects, SHORT), train(subjects, SHORT)
        other = train(subjects, replace(SHORT, seed=4))
    finally:
        torch.set_num_threads(threads)
    assert same(first, second)
    assert not same(first, other)
    # Nobody else's random numbers are used up.
    assert torch.equal(before, torch.random.get_rng_state())


def test_it_says_how_far_it_is_and_the_loss_falls() -> None:
    told: list[TrainingProgress] = []
    train(drawn(8, 5), replace(QUICK, steps=90), told.append)
    assert [(one.step, one.steps) for one in told] == [(20, 90), (40, 90), (60, 90), (80, 90), (90, 90)]
    assert told[-1].loss < told[0].loss - 0.2
    assert told[-1].seconds_left == 0
    assert all(one.seconds_left > 0 for one in told[:-1])


def test_a_prior_states_what_it_was_made_of() -> None:
    found = prior()
    assert found.axes == "ZYX"
    assert found.box.size == pytest.approx((80, 80, 80))
    assert found.box.unit == "mm"
    assert found.directions == ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    assert found.classes == ("left ventricle", "myocardium", "right ventricle")
    assert found.subjects == tuple(f"heart {k}" for k in range(16))
    assert found.latents.shape == (16, 64)
    assert found.training["steps"] == QUICK.steps
    assert found.seed == 3


def test_maps_in_2d_without_images() -> None:
    found = train([disc(k) for k in range(8)], replace(SHORT, activation="wire"))
    assert (found.axes, found.classes, found.intensity) == ("YX", ("class 1",), None)
    assert found.architecture.activation == "wire"
    assert found.directions is None


def moved(one: Subject, affine: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Subject:
    return replace(one, grid=Grid(one.grid.shape, affine, True, "mm"))


def test_maps_that_do_not_fit_each_other_are_refused() -> None:
    subjects = drawn(8, 5)
    with pytest.raises(InputError, match="at least 8 maps, and these are 7"):
        train(subjects[:7], SHORT)
    other = replace(subjects[3], classes=("left ventricle", "myocardium", "aorta"))
    with pytest.raises(InputError, match=r"heart 3 has the classes .*aorta, and heart 0 .*right ventricle"):
        train([*subjects[:3], other, *subjects[4:]], SHORT)
    turned = subjects[5].grid.affine.copy()
    turned[:3, 0] *= -1
    with pytest.raises(InputError, match="heart 5 has its axes in other directions than heart 0"):
        train([*subjects[:5], moved(subjects[5], turned), *subjects[6:]], SHORT)
    exchanged = subjects[5].grid.affine[:, [1, 0, 2, 3]]
    with pytest.raises(InputError, match="heart 5 has its axes in other directions"):
        train([*subjects[:5], moved(subjects[5], exchanged), *subjects[6:]], SHORT)
    nowhere = replace(subjects[2], grid=replace(subjects[2].grid, oriented=False))
    with pytest.raises(
        InputError, match=r"of heart 2 and heart 0 only one states a unit .*; voxels=True ignores both"
    ):
        train([*subjects[:2], nowhere, *subjects[3:]], SHORT)
    with pytest.raises(InputError, match="disc 1 has 2 spatial axes, and heart 0 3"):
        train([*subjects, replace(disc(1), classes=subjects[0].classes)], SHORT)
    blind = replace(subjects[6], image=None)
    with pytest.raises(
        InputError, match="heart 6 has no image, and others have: give one for each map, or none"
    ):
        train([*subjects[:6], blind, subjects[7]], SHORT)
    doubled = [replace(one, classes=("wall", "wall", "lumen")) for one in subjects]
    with pytest.raises(
        InputError, match="heart 0 has the classes 'wall', 'wall', 'lumen': give each channel a name"
    ):
        train(doubled, SHORT)
    nameless = [replace(one, classes=("wall", "", "lumen")) for one in subjects]
    with pytest.raises(InputError, match="give each channel a name of its own"):
        train(nameless, SHORT)
    with pytest.raises(
        InputError, match="box='80,80' has 2 sides, and the maps have 3 spatial axes: give 3 sides"
    ):
        train(subjects, replace(SHORT, box=(80.0, 80.0)))
    with pytest.raises(
        InputError, match="heart 0 measures 80 x 80 x 80 mm, which is larger than the prior's box"
    ):
        train(subjects, replace(SHORT, box=(70.0, 90.0, 90.0)))


def test_a_box_may_be_larger_than_the_maps() -> None:
    subjects = drawn(8, 5)
    grid = Grid((16, 16, 16), 10 * np.eye(4)[[2, 1, 0, 3]], True, "mm")
    grid.affine[3, 3] = 1
    found = train(subjects, replace(SHORT, steps=1))
    with pytest.raises(InputError, match="train a prior with a larger box"):
        found.place(grid)
    found = train(subjects, replace(SHORT, steps=1, box=(160.0, 160.0, 160.0)))
    assert found.box.size == (160.0, 160.0, 160.0)
    _, place = found.place(grid)
    ends = place.at(np.array([0, place.size - 1]))
    # The middles of the outermost voxels of 10 mm.
    assert np.sort(ends, axis=0) == pytest.approx(np.array([[5 / 160] * 3, [155 / 160] * 3]))


def test_maps_that_differ_in_geometry_are_counted_in_voxels() -> None:
    volumes = [volume_of(one.probabilities.argmax(0).astype(np.uint8)) for one in drawn(8, 5, ((8, 16, 16),))]
    volumes[2] = replace(volumes[2], affine=None)
    with pytest.raises(
        InputError, match=r"of case 2 and case 0 only one states .*; voxels=True ignores both"
    ):
        train([Subject.of(f"case {k}", one) for k, one in enumerate(volumes)], SHORT)
    counted = [Subject.of(f"case {k}", one, voxels=True) for k, one in enumerate(volumes)]
    assert train(counted, replace(SHORT, steps=1)).box == Box((8.0, 16.0, 16.0), "voxels")


def test_subjects_that_are_none() -> None:
    one = drawn(1, 0)[0]
    volume = volume_of(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="its image"):
        Subject.of("case", volume, one.image)
    with pytest.raises(InputError, match="a prior is of one image with its classes"):
        Subject.of(
            "case", replace(volume, array=np.zeros((2, 3, 4, 4, 4), np.float32), axes="TCZYX", channels=None)
        )


def test_options_are_checked() -> None:
    for wrong, message in (
        ({"steps": 0}, "at least 1 is needed"),
        ({"activation": "tanh"}, "use sine, wire, relu"),
        ({"validate": 0.6}, "is 0 to 0.5"),
        ({"box": "10,-1"}, r"box '10,-1': give auto, or the lengths of its 2 or 3 sides"),
        ({"box": (-1.0, -1.0)}, r"box -1.0,-1.0: give auto, or the lengths of its 2 or 3 sides"),
        ({"box": (1.0, 2.0, 3.0, 4.0)}, "the lengths of its 2 or 3 sides"),
        ({"layers": 257}, "layers 257: give 1 to 256"),
        ({"width": 5000}, "width 5000: give 1 to 4096"),
        ({"seed": 2**63}, "seed 9223372036854775808: give 0 to 9223372036854775807"),
        ({"seed": -1}, "seed -1: give 0 to"),
    ):
        with pytest.raises(UsageError, match=message):
            TrainingOptions(**wrong)
    assert TrainingOptions(box="10,20x30").box == (10.0, 20.0, 30.0)  # type: ignore[arg-type]
    assert TrainingOptions(box="auto").box is None  # type: ignore[arg-type]


def test_of_many_subjects_a_step_draws_more(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_at_once: list[tuple[int, int]] = []
    draw = training._Samples.draw

    def counted(self: training._Samples, count: int, points: int, generator: torch.Generator) -> Any:
        drawn_at_once.append((count, points))
        return draw(self, count, points, generator)

    monkeypatch.setattr(training._Samples, "draw", counted)
    discs = [disc(k, 4) for k in range(96)]
    for count in (8, 48, 96):
        train(discs[:count], TrainingOptions(1, 0, 4, 2, device="cpu", subjects=2, points=30))
    # A 24th of the subjects, and 60 voxels in all.
    assert drawn_at_once == [(2, 30), (2, 30), (4, 15)]


def test_a_prior_too_large_for_a_file_is_refused_before_it_is_trained() -> None:
    told: list[TrainingProgress] = []
    with pytest.raises(InputError, match=r"takes 336 MB, .* hold 256 MB: train one of a smaller width"):
        train(drawn(8, 5), replace(SHORT, steps=20, width=4096, layers=4), told.append)
    assert not told
