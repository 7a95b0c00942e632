"""`interpolate` on maps with a grid: voxel sizes, grids of other images, oblique planes, what is invented."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import softmorph_cli as sm
from softmorph_cli.completion.between import METHODS, fill
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.resample import resampled

Array = npt.NDArray[Any]
# Slices 4 mm apart along world z; x and y of a file turn by a right angle.
AFFINE = np.array([[0, 0, 1.0, -4], [0, 1.0, 0, 2], [4.0, 0, 0, 7], [0, 0, 0, 1]])


def ball(shape: tuple[int, int, int] = (12, 14, 15), seed: int = 3) -> Array:
    """Return a soft ball with some noise in its logits, in voxels that are 4 times as long along z."""
    z, y, x = (np.indices(shape).T - np.array(shape) / 2).T
    noise = np.random.default_rng(seed).normal(0, 0.5, shape)
    return np.asarray(1 / (1 + np.exp(np.hypot(np.hypot(2 * z, y), x) - 5 + noise)), np.float32)


def volume(array: Array | None = None, axes: str = "ZYX") -> sm.Volume:
    return sm.Volume(ball() if array is None else array, axes, (4.0, 1.0, 1.0), "mm", affine=AFFINE)


def logit(p: Array) -> Array:
    kept = 0.02 + 0.96 * p
    return np.log(kept / (1 - kept))


def sampled(scores: Array, place: Array) -> float:
    """Return the linear interpolation at one index (z, y, x), clamped to the outermost centres."""
    place = np.clip(place, 0, np.array(scores.shape) - 1)
    low = np.minimum(np.floor(place).astype(int), np.array(scores.shape) - 2)
    share = place - low
    return float(
        sum(
            np.prod(np.where(corner, share, 1 - share)) * scores[tuple(low + corner)]
            for corner in np.ndindex(2, 2, 2)
        )
    )


@pytest.mark.parametrize("method", METHODS)
def test_slices_are_filled_along_the_axis_asked_for(method: str) -> None:
    array = ball()
    found = sm.interpolate(array, missing="3:5,9", method=method)
    observed = np.ones(12, bool)
    observed[[3, 4, 9]] = False
    np.testing.assert_array_equal(found.image, fill(array[np.newaxis], observed, 0, method)[0])
    np.testing.assert_array_equal(found.image[observed], array[observed])
    np.testing.assert_array_equal(found.filled, np.broadcast_to(~observed[:, None, None], array.shape))
    turned = sm.interpolate(np.moveaxis(array, 0, 2), missing=[3, 4, 9], axis="X", method=method)
    np.testing.assert_array_equal(turned.image, np.moveaxis(found.image, 0, 2))
    assert (turned.axis, turned.missing, turned.document["slices"]) == ("x", (3, 4, 9), 12)


def test_rows_of_a_flat_map() -> None:
    array = ball()[6]
    found = sm.interpolate(array, missing="empty" if not array[5].any() else "5")
    assert found.axis == "y"
    np.testing.assert_array_equal(found.image, sm.interpolate(array.T.copy(), missing="5", axis="x").image.T)


def test_a_finer_grid_has_the_values_of_the_formula_and_keeps_the_corners() -> None:
    array = ball((6, 7, 8))
    given = volume(array)
    found = sm.interpolate(given, spacing="1mm,0.5mm,1mm").image
    assert found.array.shape == (24, 14, 8)
    assert found.spacing == (1.0, 0.5, 1.0)
    assert found.affine is not None
    np.testing.assert_allclose(found.affine, np.asarray(resampled(given, (1.0, 0.5, 1.0)).affine))
    scores = logit(array.astype(np.float64))
    for index in [(0, 0, 0), (1, 3, 5), (11, 6, 2), (13, 13, 7), (23, 2, 4), (9, 9, 3)]:
        place = (np.array(index) + 0.5) / [4, 2, 1] - 0.5
        score = sampled(scores, place)
        assert found.array[index] == pytest.approx((1 / (1 + np.exp(-score)) - 0.02) / 0.96, abs=2e-6)


def test_linear_is_what_resample_does() -> None:
    for spacing, sizes in (("iso", (1.0, 1.0, 1.0)), ("2mm,3mm,1mm", (2.0, 3.0, 1.0))):
        found = sm.interpolate(volume(), spacing=spacing, method="linear").image
        np.testing.assert_allclose(found.array, resampled(volume(), sizes).array, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_centres_that_both_grids_have_come_out_bit_identical(method: str) -> None:
    array = ball()
    found = sm.interpolate(volume(array), spacing="0.8mm,1mm,0.2mm", method=method)
    # Of five new voxels the third has the old one's centre.
    np.testing.assert_array_equal(found.image.array[2::5, :, 2::5], array)
    np.testing.assert_array_equal(found.filled.array[:, 0, 0], np.tile([1, 1, 0, 1, 1], 12))


def test_missing_slices_are_left_out_of_a_finer_grid() -> None:
    array = ball()
    observed = np.ones(12, bool)
    observed[[4, 5, 6]] = False
    scores = logit(array.astype(np.float64))[observed]
    found = sm.interpolate(
        volume(np.where(observed[:, None, None], array, 0)), missing="empty", spacing="iso"
    )
    assert found.missing == (4, 5, 6)
    places = (np.arange(48) + 0.5) / 4 - 0.5
    wanted = [
        [np.interp(places, np.flatnonzero(observed), scores[:, y, x]) for x in range(15)] for y in range(14)
    ]
    wanted = (1 / (1 + np.exp(-np.moveaxis(np.array(wanted), 2, 0))) - 0.02) / 0.96
    np.testing.assert_allclose(found.image.array, wanted, atol=2e-6)
    # The two planes beside the centre of an observed slice touch it; those between do not.
    away = np.abs(places[:, None] - np.flatnonzero(observed)).min(axis=1)
    np.testing.assert_array_equal(found.filled.array[:, 3, 3], away > 0.125 + 1e-9)


def test_the_grid_of_another_image() -> None:
    turn = np.radians(20)
    turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag([0.9, 0.8, 1.5])[:, [2, 1, 0]]
    affine[:3, 3] = (-7.0, 3.0, 12.0)
    grid = sm.Volume(np.zeros((9, 10, 11), np.float32), "ZYX", (1.5, 0.8, 0.9), "mm", affine=affine)
    array = ball()
    found = sm.interpolate(volume(array), like=grid)
    assert found.image.affine is not None
    np.testing.assert_array_equal(found.image.affine, affine)
    assert (found.image.array.shape, found.image.spacing) == ((9, 10, 11), (1.5, 0.8, 0.9))
    scores, back = logit(array.astype(np.float64)), np.linalg.inv(AFFINE) @ affine
    outside = 0
    for index in np.ndindex(9, 10, 11):
        place = (back @ [*index, 1])[:3]
        value, invented = found.image.array[index], found.filled.array[index]
        if not ((place >= -0.5) & (place <= np.array(array.shape) - 0.5)).all():
            outside += 1
            assert float(value) == 0
            assert invented
            continue
        assert value == pytest.approx((1 / (1 + np.exp(-sampled(scores, place))) - 0.02) / 0.96, abs=2e-6)
        # A voxel is 1.5 of 4 mm high.
        assert invented == (abs(place[0] - round(place[0])) > 1.5 / 8)
    assert found.document["outside_voxels"] == outside > 50
    assert "outside of the map" in found.notes[-1]


def test_an_oblique_plane() -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0.6, 1.0], [0.0, 0.8, 0.0], [1.0, 0.3, 0.0]])
    affine[:3, 3] = (-4, 2, 20)
    plane = sm.Volume(np.zeros((9, 15), np.float32), "YX", (1.0, 1.0), "mm", affine=affine)
    array = np.stack([ball(), 1 - ball()])
    found = sm.interpolate(volume(array, "CZYX"), like=plane).image
    assert (found.axes, found.array.shape) == ("CYX", (2, 9, 15))
    np.testing.assert_allclose(found.array.sum(axis=0), found.array.sum(axis=0).round(), atol=1e-6)
    back, scores = np.linalg.inv(AFFINE) @ affine, logit(ball().astype(np.float64))
    for index in [(0, 0), (4, 7), (7, 9), (3, 1)]:
        place = (back @ [0, *index, 1])[:3]
        value = (1 / (1 + np.exp(-sampled(scores, place))) - 0.02) / 0.96
        assert found.array[0][index] == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_own_grid_as_that_of_an_image_changes_nothing(method: str) -> None:
    given = volume()
    found = sm.interpolate(given, like=given, method=method)
    np.testing.assert_array_equal(found.image.array, given.array)
    assert not found.filled.array.any()
    again = sm.interpolate(given, like=given, missing="5", method=method)
    np.testing.assert_array_equal(
        again.image.array, sm.interpolate(given, missing="5", method=method).image.array
    )
    np.testing.assert_array_equal(np.unique(np.nonzero(again.filled.array)[0]), [5])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", [{"spacing": "iso"}, {"spacing": "2mm,1.7mm,3mm"}, {"missing": "2:5"}])
def test_classes_sum_to_1_at_each_time_and_keep_their_places(method: str, grid: dict[str, Any]) -> None:
    scores = np.random.default_rng(0).normal(0, 3, (2, 3, 8, 6, 7))
    maps = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)
    found = sm.interpolate(volume(maps, "TCZYX"), method=method, **grid)
    assert found.document["classes_exclude_each_other"]
    np.testing.assert_allclose(found.image.array.sum(axis=1), 1, atol=1e-5)
    alone = sm.interpolate(volume(maps[1], "CZYX"), method=method, **grid)
    np.testing.assert_array_equal(found.image.array[1], alone.image.array)
    # In another order of the axes.
    swapped = sm.interpolate(volume(maps.swapaxes(0, 1).copy(), "CTZYX"), method=method, **grid)
    np.testing.assert_array_equal(swapped.image.array, found.image.array.swapaxes(0, 1))


def test_what_stands_in_missing_slices_counts_for_nothing() -> None:
    maps = np.stack([ball(), 1 - ball()])
    other = maps.copy()
    other[:, 4] = 0.9
    grids: tuple[dict[str, Any], ...] = ({}, {"spacing": "iso"})
    for grid in grids:
        found = [sm.interpolate(volume(one, "CZYX"), missing=[4], **grid) for one in (maps, other)]
        np.testing.assert_array_equal(found[0].image.array, found[1].image.array)
        assert found[1].document["classes_exclude_each_other"]


def test_sheared_voxels_become_rectangular_with_0_outside() -> None:
    affine = AFFINE.copy()
    affine[0, 0] = 3.0
    maps = np.stack([ball(), 1 - ball()])
    given = sm.Volume(maps, "CZYX", (5.0, 1.0, 1.0), "mm", affine=affine)
    found = sm.interpolate(given, spacing="iso")
    total = found.image.array.sum(axis=0)
    np.testing.assert_allclose(total, total.round(), atol=1e-5)
    np.testing.assert_allclose(
        (total == 0).mean(), (resampled(given, (1.0,) * 3).array.sum(axis=0) == 0).mean(), atol=0.01
    )
    assert 0 < found.document["outside_voxels"] < total.size


def test_what_cannot_be_interpolated_is_refused() -> None:
    array, placed = ball(), volume()
    asked: list[tuple[str, Any, dict[str, Any]]] = [
        ("nothing is missing and no grid", array, {}),
        ("either spacing or like", placed, {"spacing": "iso", "like": placed}),
        ("use z, y or x", array, {"missing": "3", "axis": "t"}),
        ("use logit, linear, shape or nearest", array, {"missing": "3", "method": "cubic"}),
        ("names no slices", array, {"missing": "three"}),
    ]
    for message, image, options in asked:
        with pytest.raises(UsageError, match=message):
            sm.interpolate(image, **options)
    flat = sm.Volume(array[6], "YX", (1.0, 1.0), "mm", affine=AFFINE)
    asked = [
        ("no slice 12 along z", array, {"missing": "3,12"}),
        ("1 slice along z is observed", array, {"missing": "1:"}),
        ("names every slice", array, {"missing": ":"}),
        ("no slice between others is empty along z", array, {"missing": "empty"}),
        ("every slice along z is empty", np.zeros((3, 4, 5)), {"missing": "empty"}),
        ("the map is 2D; use y or x", flat, {"missing": "3", "axis": "z"}),
        ("how large its voxels are", array, {"spacing": "iso"}),
        ("the map does not say where its voxels lie", sm.Volume(array, "ZYX"), {"like": placed}),
        ("that image does not say where", placed, {"like": sm.Volume(array, "ZYX")}),
        ("the map is 2D and that image 3D", flat, {"like": placed}),
    ]
    for message, image, options in asked:
        with pytest.raises(InputError, match=message):
            sm.interpolate(image, **options)


def test_a_grid_larger_than_memory_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: 1 << 22)
    affine = np.diag([0.01, 0.01, 0.01, 1.0])
    grid = sm.Volume(np.broadcast_to(np.float32(0), (100, 200, 300)), "ZYX", (0.01,) * 3, "mm", affine=affine)
    grids: tuple[dict[str, Any], ...] = ({"like": grid}, {"spacing": "0.05mm"})
    for options in grids:
        with pytest.raises(InputError, match="GiB may be used: choose larger voxels"):
            sm.interpolate(volume(), **options)


def test_a_missing_slice_may_be_an_index() -> None:
    image = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    wanted = sm.interpolate(image, missing=[1]).image
    others: tuple[Any, ...] = (1, np.int64(1), np.array([1]))
    for one in others:
        np.testing.assert_array_equal(sm.interpolate(image, missing=one).image, wanted)
    no_index: Any = 1.5
    with pytest.raises(UsageError, match=r"missing '1\.5' names no slices"):
        sm.interpolate(image, missing=no_index)
