"""Two maps on one grid: comparison of headers, errors and notes, geometry of only one of them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from softmorph_cli.errors import InputError
from softmorph_cli.metrics.grid import NEAR, on_one_grid
from softmorph_cli.volume import Volume

SHAPE = (5, 6, 7)


def volume(shape: tuple[int, ...] = SHAPE, **more: Any) -> Volume:
    return Volume(np.zeros(shape, np.float32), "ZYX"[-len(shape) :], **more)


def affine(*, angle: float = 0.0, offset: tuple[float, ...] = (0, 0, 0)) -> np.ndarray:
    """Return an affine for (z, y, x), voxels of 2 x 1 x 0.5 mm, turned about the z axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag([0.5, 1.0, 2.0])
    found = np.eye(4)
    found[:3, :3] = turned[:, ::-1]
    found[:3, 3] = offset
    return found


def test_equal_headers_and_rounded_ones_pass() -> None:
    here = volume(affine=affine(angle=0.3, offset=(5, -6, 7)))
    there = volume(affine=affine(angle=0.3, offset=(5, -6, 7)).astype(np.float32).astype(float))
    found, told = on_one_grid(here, there)
    assert found is here
    assert told == ()


@pytest.mark.parametrize("part", [0.5, 0.99, 1.01, 3.0])
def test_a_tenth_of_a_voxel_is_the_limit(part: float) -> None:
    here = volume(affine=affine())
    there = volume(affine=affine(offset=(0, part * NEAR * 0.5, 0)))
    if part < 1:
        on_one_grid(here, there)
    else:
        with pytest.raises(InputError, match=r"\[1, 3\] is 0 and 0\.\d+\. If"):
            on_one_grid(here, there)


@pytest.mark.parametrize("angle", [0.1, -0.5, 3.0])
def test_how_far_apart_is_the_farthest_voxel(angle: float) -> None:
    one, other = affine(), affine(angle=angle, offset=(1, 2, 3))
    places = np.array(list(itertools.product(*map(range, SHAPE))))
    away = np.linalg.norm(places @ (one - other)[:3, :3].T + (one - other)[:3, 3], axis=1).max()
    with pytest.raises(InputError) as caught:
        on_one_grid(volume(affine=one), volume(affine=other))
    told = re.search(r"up to ([0-9.]+) mm \(([0-9.]+) voxels\)", str(caught.value))
    assert told
    assert float(told[1]) == pytest.approx(away, rel=1e-2)
    assert float(told[2]) == pytest.approx(away / 0.5, rel=1e-2)


def test_each_entry_that_differs_is_named_as_a_nifti_has_it() -> None:
    changed = affine()
    changed[1, 2] += 0.25  # row y, array axis x: the first column of a file
    with pytest.raises(InputError, match=r"in NIfTI's order, \[1, 0\] is 0 and 0\.25\. If"):
        on_one_grid(volume(affine=affine()), volume(affine=changed))
    flat = affine()[[0, 1, 2, 3]]
    moved = flat.copy()
    moved[0, 1] += 0.3
    with pytest.raises(InputError, match=r"order, \[0, 1\] is 0 and 0\.3\. If"):
        on_one_grid(volume((6, 7), affine=flat), volume((6, 7), affine=moved))


def test_many_small_entries_that_add_up_are_shown() -> None:
    changed = affine()
    # Each less than a tenth of a voxel at its far end, all of them more.
    changed[0, :3] += 0.04 / np.array(SHAPE)
    with pytest.raises(InputError, match=r"\[0, \d\] is"):
        on_one_grid(volume(affine=affine()), volume(affine=changed))


def test_same_grid_takes_the_predictions_header() -> None:
    here, there = volume(affine=affine()), volume(affine=affine(angle=1))
    assert on_one_grid(here, there, same_grid=True)[0] is here
    with pytest.raises(InputError, match="5 × 6 × 7"):
        on_one_grid(here, volume((5, 6, 8)), same_grid=True)


def test_voxel_sizes_without_affines() -> None:
    here = volume(spacing=(2.0, 1.0, 0.5), unit="mm")
    assert on_one_grid(here, volume(spacing=(2000.0, 1000.0, 500.0), unit="um")) == (here, ())
    other = volume(spacing=(2.0, 1.0, 0.7), unit="mm")
    with pytest.raises(
        InputError, match=r"measure 2 × 1 × 0\.5 mm and those of the reference 2 × 1 × 0\.7 mm"
    ):
        on_one_grid(here, other)
    assert on_one_grid(here, other, same_grid=True)[0] is here


def test_geometry_of_the_reference_alone_is_copied_to_the_prediction() -> None:
    there = volume(affine=affine(), spacing=(2.0, 1.0, 0.5), unit="mm")
    found, told = on_one_grid(volume(), there)
    assert found.affine is there.affine
    assert (found.spacing, found.unit) == ((2.0, 1.0, 0.5), "mm")
    assert "the prediction does not say how large its voxels are" in told[0]
    # Where sizes agree the affine is no news.
    found, told = on_one_grid(volume(spacing=(2.0, 1.0, 0.5), unit="mm"), there)
    assert found.affine is there.affine
    assert told == ()


def test_geometry_of_the_prediction_alone_is_kept() -> None:
    here = volume(affine=affine(), spacing=(2.0, 1.0, 0.5), unit="mm")
    found, told = on_one_grid(here, volume())
    assert found is here
    assert "only the shapes were compared" in told[0]
    assert on_one_grid(volume(), volume())[1] == ()
