"""The example of shape priors: what it draws, and what it measures."""

from __future__ import annotations

import numpy as np
import pytest

from softmorph_cli.completion import example, hearts
from softmorph_cli.completion.box import Box, Frame
from softmorph_cli.completion.prior import Prior
from softmorph_cli.completion.training import Subject


def test_a_drawn_heart_fills_its_box() -> None:
    one = example.drawn(1, 0, ((4, 8, 16),))[0]
    assert one.grid.extents == pytest.approx((128, 128, 128))
    place = Box((128.0, 128.0, 128.0), "mm").coordinates(one.grid, Frame.of(one.grid))
    found = place.at(np.arange(place.size)).reshape(4, 8, 16, 3)
    assert found == pytest.approx(hearts.centres((4, 8, 16)), abs=1e-6)


def test_a_grid_of_half_the_steps_shares_every_second_voxel() -> None:
    grid = example.drawn(1, 0, ((4, 8, 16),))[0].grid
    finer = example.between_voxels(grid)
    assert finer.shape == (7, 15, 31)
    index = np.array([3, 5, 11, 1])
    assert finer.affine @ (index * [2, 2, 2, 1]) == pytest.approx(grid.affine @ index)


def test_an_oblique_plane_goes_through_the_middle_of_the_heart() -> None:
    grid = example.drawn(1, 0)[0].grid
    plane = example.oblique(0.5)
    assert plane.middle == pytest.approx(grid.middle)
    assert np.linalg.norm(plane.steps, axis=1) == pytest.approx(1)
    # The normal of the plane is the axis of z, turned by the angle.
    assert plane.steps[0] @ (0, 0, 1) == pytest.approx(-np.sin(0.5))


def test_mean_dice_by_hand() -> None:
    one = example.labelled("one", np.array([[[0, 1, 1, 2]], [[3, 3, 0, 0]]], np.uint8))
    found = np.eye(4)[np.array([[[0, 1, 0, 2]], [[3, 0, 0, 0]]])].transpose(3, 0, 1, 2)
    assert example.mean_dice(found, one) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_a_class_in_neither_mask_does_not_count() -> None:
    one = example.labelled("one", np.array([[[0, 1, 1, 0]]], np.uint8))
    found = np.eye(4)[np.array([[[0, 1, 0, 0]]])].transpose(3, 0, 1, 2)
    assert example.mean_dice(found, one) == pytest.approx(2 / 3)


def test_numbers_below_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--seeds", "--steps"):
        with pytest.raises(SystemExit):
            example.main([option, "0"])
        assert f"{option}: 0: at least 1 is needed" in capsys.readouterr().err


def test_the_table_leaves_out_subjects_whose_hidden_slices_are_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`scores` has no Dice (None) where no hidden slice holds an object: it is neither 0 nor a tie."""
    dice = {"heart 0/0": (0.75, 0.5, 0.25), "heart 0/1": (None, None, None), "heart 0/2": (0.25, 0.5, 0.0)}

    def known(_: object, one: Subject, *__: object, **___: object) -> dict[str, dict[str, float | None]]:
        return {
            name: {"all": value}
            for name, value in zip(("prior", "logit", "linear"), dice[one.name], strict=True)
        }

    monkeypatch.setattr(example, "scores", known)
    prior = Prior.__new__(Prior)
    found, _ = example.fill_table(
        prior, example.drawn(3, 0, ((4, 8, 8),)), {"end:1/4": lambda n: np.arange(n) < 3}
    )
    assert found["end:1/4"]["prior"] == [0.75, 0.25]
    assert capsys.readouterr().out.splitlines()[-1] == "| end:1/4 | 0.500 | 0.500 | 0.125 | 1 of 2 |"


def test_the_rows_of_digits_that_are_hidden() -> None:
    hidden = {name: np.flatnonzero(~observed(28)).tolist() for name, observed in example.ROWS.items()}
    assert hidden["end:10"] == list(range(18, 28))
    assert hidden["every:3"] == [k for k in range(28) if k % 3]


def test_what_is_asked_and_not_met_is_told() -> None:
    assert str(example.Claim("Dice", 0.79, 0.8)) == "| Dice | 0.79 | at least 0.8 | NO |"
    assert str(example.Claim("Dice", 0.8, 0.8)).endswith("| yes |")
    assert not example.Claim("seconds", 61, 60, at_most=True).met
    assert example.Claim("seconds", 59, 60, at_most=True).met
