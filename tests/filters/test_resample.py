from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from softmorph_cli import Volume
from softmorph_cli.errors import InputError
from softmorph_cli.filters.resample import isotropic, resampled
from softmorph_cli.losses import label_pyramid
from softmorph_cli.volume import rectangular


@pytest.mark.parametrize(("count", "size"), [(10, 5), (7, 3), (9, 4), (10, 9), (5, 1), (60, 37), (8, 8)])
def test_a_coarser_voxel_is_the_mean_of_those_it_covers(count: int, size: int) -> None:
    image = np.random.default_rng(count).random((3, count, 2)).astype(np.float32)
    found = resampled(Volume(image, "ZYX", (1.0, 1.0, 1.0), "mm"), (1.0, count / size, 1.0))
    # Cut so finely that every part lies in one old and one new voxel.
    parts = np.repeat(image.astype(np.float64), size, axis=1).reshape(3, size, count, 2)
    np.testing.assert_allclose(found.array, parts.mean(axis=2), atol=1e-6)
    assert found.spacing == pytest.approx((1.0, count / size, 1.0))


@pytest.mark.parametrize(
    ("axes", "shape", "sizes"),
    [
        ("YX", (12, 15), (4, 5)),
        ("YX", (10, 7), (5, 3)),
        ("ZYX", (9, 11, 60), (4, 10, 37)),
        ("CYX", (3, 13, 8), (1, 8)),
        ("TCZYX", (2, 2, 5, 9, 6), (2, 9, 5)),
    ],
)
def test_a_maximum_is_over_all_voxels_that_overlap(
    axes: str, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    """Of a finer grid, on which each part lies in one old and one new voxel; and as heads of networks are pooled."""
    image = np.random.default_rng(sum(shape)).random(shape).astype(np.float32)
    counts, leading = shape[-len(sizes) :], len(shape) - len(sizes)
    spacing = tuple(count / size for count, size in zip(counts, sizes, strict=True))
    found = resampled(Volume(image, axes, (1.0,) * len(sizes), "mm"), spacing, pool="max")
    parts = image
    for axis, (count, size) in enumerate(zip(counts, sizes, strict=True), leading):
        parts = np.repeat(parts, size, axis)
        # A flat dilation from each voxel on, of which one voxel in `count` is kept.
        parts = ndimage.maximum_filter1d(parts, count, axis, mode="constant", origin=-(count // 2))
        parts = parts[(slice(None),) * axis + (slice(None, None, count),)]
    np.testing.assert_array_equal(found.array, parts)
    planes = torch.from_numpy(image.reshape(1, -1, *counts))
    (head,) = label_pyramid((planes > 0.5).float(), [sizes])
    np.testing.assert_array_equal(found.array > 0.5, head.numpy().reshape(parts.shape) > 0)


def test_maxima_along_one_axis_and_interpolation_along_another() -> None:
    line = Volume(np.array([[0, 0, 1, 0, 0, 0]] * 2 + [[0] * 6] * 2, np.float32), "YX", (1.0, 1.0), "mm")
    new = resampled(line, (0.5, 2.0), pool="max").array
    np.testing.assert_allclose(new[:, 1], [1, 1, 1, 0.75, 0.25, 0, 0, 0])
    assert not new[:, [0, 2]].any()


def test_a_vessel_in_sheared_voxels_is_whole_on_larger_ones() -> None:
    affine = SHEARED["ZYX"].copy()
    array = np.zeros((9, 20, 24), np.float32)
    array[4, 10] = 1
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    sheared, coarse = Volume(array, "ZYX", spacing, "mm", affine), (spacing[0], 2.0, 2.0)
    straight = resampled(sheared, spacing)
    found = resampled(sheared, coarse, pool="max")
    assert found.affine is not None
    assert rectangular(found.affine[:3, :3])
    # As if it had been on the rectangular grid from the start.
    assert straight.spacing is not None
    again = resampled(straight, coarse, pool="max")
    np.testing.assert_array_equal(found.array, again.array)
    assert found.array.max() == straight.array.max()
    assert ndimage.label(found.array > 0.4, np.ones((3, 3, 3)))[1] == 1
    assert resampled(sheared, coarse).array.max() < 0.4


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
                np.asarray(one.affine)
                @ [*(c * n - 0.5 for c, n in zip(corner, one.array.shape, strict=True)), 1]
                for one in (old, new)
            ]
            np.testing.assert_allclose(places[0], places[1], atol=1e-12)


def test_finer_voxels_are_interpolated_and_stay_in_range() -> None:
    new = isotropic(Volume(np.array([[0, 1], [0, 1]], np.float32), "YX", (4.0, 1.0), "mm"))
    assert new.array.shape == (8, 2)
    np.testing.assert_array_equal(new.array, np.tile([0, 1], (8, 1)))


def test_unknown_voxels_are_refused() -> None:
    with pytest.raises(InputError, match="how large its voxels are"):
        resampled(Volume(np.zeros((3, 3), np.float32), "YX"), (1.0, 1.0))


SHEARED = {
    "ZYX": np.array([[0.1, 0.1, 0.5, 3.0], [0.5, 0.6, 0.0, -4.0], [2.0, 0.0, 0.02, 5.0], [0, 0, 0, 1]]),
    "YX": np.array([[0, 0.3, 0.5, 3.0], [0, 0.6, 0.0, -4.0], [1.0, 0.0, 0.0, 5.0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("axes", ["ZYX", "YX", "CZYX"])
@pytest.mark.parametrize("unit", ["mm", "um"])
def test_sheared_voxels_become_rectangular_where_they_are(axes: str, unit: str) -> None:
    """Values that are linear in the world come out exactly; where the map does not reach there is nothing."""
    affine = SHEARED[axes.replace("C", "")].copy()
    in_mm = 1.0 if unit == "mm" else 1e-3
    affine[:3] *= in_mm
    dims, shape = len(axes.replace("C", "")), (9, 20, 24)
    first = 3 - dims

    def linear(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        index = [*[np.zeros(shape)] * first, *np.indices(shape), np.ones(shape)]
        world = np.tensordot(matrix, index, 1)[:3] / in_mm
        return np.asarray(0.4 + 0.01 * (world[0] - 0.5 * world[1] + 0.3 * world[2]))

    values = linear(affine, shape[first:]).astype(np.float32)
    spacing = tuple((np.linalg.norm(affine[:3, first:3], axis=0) / in_mm).tolist())
    map_ = Volume(values[None] if "C" in axes else values, axes, spacing, unit, affine)
    straight = resampled(map_, spacing)
    assert straight.affine is not None
    assert straight.spacing is not None
    assert rectangular(straight.affine[:3, first:3])
    np.testing.assert_allclose(np.linalg.norm(straight.affine[:3, first:3], axis=0) / in_mm, straight.spacing)
    # x keeps its direction.
    np.testing.assert_allclose(
        straight.affine[:3, 2] / np.linalg.norm(straight.affine[:3, 2]),
        affine[:3, 2] / np.linalg.norm(affine[:3, 2]),
    )
    array = straight.array[0] if "C" in axes else straight.array
    wanted = linear(straight.affine, array.shape)
    index = np.stack([*[np.zeros(array.shape)] * first, *np.indices(array.shape), np.ones(array.shape)])
    old = np.tensordot(np.linalg.inv(affine) @ straight.affine, index, 1)[first:3]
    sizes = np.array(shape[first:]).reshape(-1, *[1] * dims)
    inner = ((old >= 0) & (old <= sizes - 1)).all(axis=0)
    outside = ((old < -0.51) | (old > sizes - 0.49)).any(axis=0)
    assert inner.sum() > 100
    np.testing.assert_allclose(array[inner], wanted[inner], atol=1e-5)
    assert not array[outside].any()
    # The whole map is in the box.
    volume_before = values.size * abs(np.linalg.det(affine[:3, :3]))
    assert (array > 0).sum() * abs(np.linalg.det(straight.affine[:3, :3])) == pytest.approx(
        volume_before, rel=0.06
    )


def test_rectangular_voxels_are_left_on_their_grid() -> None:
    affine = np.array([[0, 0.3, 0.4, 3.0], [0, 0.4, -0.3, -4.0], [2.0, 0.0, 0.0, 5.0], [0, 0, 0, 1]])
    map_ = Volume(
        np.random.default_rng(0).random((4, 5, 6), dtype=np.float32), "ZYX", (2.0, 0.5, 0.5), "mm", affine
    )
    np.testing.assert_array_equal(resampled(map_, (2.0, 0.5, 0.5)).array, map_.array)
