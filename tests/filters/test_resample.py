from __future__ import annotations

import numpy as np
import pytest

from softmorph_cli import Volume
from softmorph_cli.errors import InputError
from softmorph_cli.filters.resample import isotropic, resampled


@pytest.mark.parametrize(("count", "size"), [(10, 5), (7, 3), (9, 4), (10, 9), (5, 1), (60, 37), (8, 8)])
def test_a_coarser_voxel_is_the_mean_of_those_it_covers(count: int, size: int) -> None:
    image = np.random.default_rng(count).random((3, count, 2)).astype(np.float32)
    found = resampled(Volume(image, "ZYX", (1.0, 1.0, 1.0), "mm"), (1.0, count / size, 1.0))
    # Cut so finely that every part lies in one old and one new voxel.
    parts = np.repeat(image.astype(np.float64), size, axis=1).reshape(3, size, count, 2)
    np.testing.assert_allclose(found.array, parts.mean(axis=2), atol=1e-6)
    assert found.spacing == pytest.approx((1.0, count / size, 1.0))


def test_the_comparison_sees_a_shift_of_half_a_voxel() -> None:
    line = Volume(np.array([[0, 0, 1, 1, 0, 0, 0, 0]], np.float32), "YX", (1.0, 1.0), "mm")
    np.testing.assert_array_equal(resampled(line, (1.0, 2.0)).array, [[0, 1, 0, 0]])


def test_corners_of_the_grid_stay_in_the_world() -> None:
    affine = np.diag([0.5, 0.5, 2.0, 1.0])[[2, 1, 0, 3]]
    old = Volume(np.ones((4, 6, 8), np.float32), "ZYX", (2.0, 0.5, 0.5), "mm", affine=affine)
    for new in (isotropic(old), resampled(old, (4.0, 1.0, 0.8))):
        assert new.affine is not None
        for corner in ((0, 0, 0), (1, 1, 1), (1, 0, 1)):
            places = [
                one.affine @ [*(c * n - 0.5 for c, n in zip(corner, one.array.shape, strict=True)), 1]
                for one in (old, new)
            ]
            np.testing.assert_allclose(*places, atol=1e-12)


def test_finer_voxels_are_interpolated_and_stay_in_range() -> None:
    new = isotropic(Volume(np.array([[0, 1], [0, 1]], np.float32), "YX", (4.0, 1.0), "mm"))
    assert new.array.shape == (8, 2)
    np.testing.assert_array_equal(new.array, np.tile([0, 1], (8, 1)))


def test_unknown_voxels_are_refused() -> None:
    with pytest.raises(InputError, match="how large its voxels are"):
        resampled(Volume(np.zeros((3, 3), np.float32), "YX"), (1.0, 1.0))
