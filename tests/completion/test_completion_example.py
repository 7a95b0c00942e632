"""The example of shape priors: what it draws, and what it measures."""

from __future__ import annotations

import numpy as np
import pytest

from softmorph_cli.completion import example, hearts
from softmorph_cli.completion.box import Box, Frame


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


def test_the_rows_of_digits_that_are_hidden() -> None:
    hidden = {name: np.flatnonzero(~observed(28)).tolist() for name, observed in example.ROWS.items()}
    assert hidden["end:10"] == list(range(18, 28))
    assert hidden["every:3"] == [k for k in range(28) if k % 3]


def test_what_is_asked_and_not_met_is_told() -> None:
    assert str(example.Claim("Dice", 0.79, 0.8)) == "| Dice | 0.79 | at least 0.8 | NO |"
    assert str(example.Claim("Dice", 0.8, 0.8)).endswith("| yes |")
    assert not example.Claim("seconds", 61, 60, at_most=True).met
    assert example.Claim("seconds", 59, 60, at_most=True).met
