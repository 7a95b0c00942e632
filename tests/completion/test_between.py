"""Interpolation between slices: right values from scalar formulas, drawn shapes, and the MNI tissue maps."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers_mni import hidden_slices, judged, tissue

from softmorph_cli.completion.between import METHODS, excluding, fill
from softmorph_cli.errors import UsageError

Array = npt.NDArray[Any]


def classes(shape: tuple[int, ...], count: int, seed: int = 0) -> Array:
    """Return probabilities of classes that sum to 1, many of them 0 or 1."""
    scores = np.random.default_rng(seed).normal(0, 4, (count, *shape))
    found = np.exp(scores - scores.max(axis=0))
    found[found < 0.02] = 0
    return np.asarray(found / found.sum(axis=0))


def disc(radius: float, size: int = 48) -> Array:
    y, x = np.indices((size, size)) - (size - 1) / 2
    return np.asarray(np.hypot(y, x) < radius, np.float64)


def by_logit(p: float, q: float, share: float) -> float:
    """Formula of the method for two observed probabilities, in the language's own numbers."""
    first, second = (log((0.02 + 0.96 * one) / (0.98 - 0.96 * one)) for one in (p, q))
    score = (1 - share) * first + share * second
    return (1 / (1 + exp(-score)) - 0.02) / 0.96


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("shape", "axis"), [((9, 5, 6), 0), ((5, 9, 6), 1), ((5, 6, 9), 2), ((9, 6), 0), ((6, 9), 1)]
)
@pytest.mark.parametrize("count", [1, 3])
def test_observed_slices_are_bit_identical(
    method: str, shape: tuple[int, ...], axis: int, count: int
) -> None:
    maps = classes(shape, 4)[:count].astype(np.float32)
    observed = np.array([0, 1, 0, 0, 1, 1, 0, 1, 0], bool)
    damaged = maps.copy()
    damaged[(slice(None),) * (axis + 1) + (~observed,)] = 0.37
    found = fill(damaged, observed, axis, method)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_array_equal(
        np.take(found, np.flatnonzero(observed), axis + 1), np.take(maps, np.flatnonzero(observed), axis + 1)
    )
    # What stood in the missing slices does not matter, and the ends are the nearest slice.
    np.testing.assert_array_equal(found, fill(maps, observed, axis, method))
    if method in ("linear", "nearest"):
        np.testing.assert_array_equal(np.take(found, 0, axis + 1), np.take(maps, 1, axis + 1))
    if method == "logit":
        np.testing.assert_allclose(np.take(found, 8, axis + 1), np.take(maps, 7, axis + 1), atol=1e-6)


def test_every_value_is_that_of_the_formula() -> None:
    maps = classes((7, 4, 5), 2)[:1]
    observed = np.array([1, 0, 0, 0, 1, 0, 1], bool)
    logit, linear, nearest = (fill(maps, observed, 0, method) for method in ("logit", "linear", "nearest"))
    for index, below, above, share in ((1, 0, 4, 0.25), (2, 0, 4, 0.5), (3, 0, 4, 0.75), (5, 4, 6, 0.5)):
        for place in np.ndindex(4, 5):
            p, q = maps[(0, below, *place)], maps[(0, above, *place)]
            assert logit[(0, index, *place)] == pytest.approx(by_logit(p, q, share), abs=1e-12)
            assert linear[(0, index, *place)] == pytest.approx((1 - share) * p + share * q, abs=1e-12)
            assert nearest[(0, index, *place)] == (p if share <= 0.5 else q)


def test_a_border_moves_with_logit_and_is_doubled_by_linear() -> None:
    maps = np.array([1.0, 0, 0, 0, 0.0]).reshape(1, 5, 1)
    observed = np.array([1, 0, 0, 0, 1], bool)
    found = fill(maps, observed, 0).ravel()
    np.testing.assert_allclose(found, [1, by_logit(1, 0, 0.25), 0.5, by_logit(1, 0, 0.75), 0], atol=1e-12)
    assert found[1] > 0.88
    np.testing.assert_allclose(fill(maps, observed, 0, "linear").ravel(), [1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dropped", [0, 1])
def test_classes_keep_their_sum(method: str, dropped: int) -> None:
    whole = classes((9, 6, 7), 4)
    maps, observed = whole[dropped:], np.array([1, 0, 0, 0, 1, 0, 1, 0, 0], bool)
    assert excluding(maps)
    found = fill(maps, observed, 0, method)
    if dropped:
        assert found.sum(axis=0).max() <= 1 + 1e-12
    else:
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-12)
    # The background is one more class, whether it is a channel or the rest to 1.
    np.testing.assert_allclose(found, fill(whole, observed, 0, method)[dropped:], atol=1e-9)


def test_a_class_that_is_in_neither_slice_is_in_none_between() -> None:
    maps = np.zeros((4, 5, 8, 8))
    maps[:3] = classes((5, 8, 8), 3)
    assert fill(maps, np.array([1, 0, 0, 0, 1], bool), 0)[3].max() < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_channels_that_overlap_are_filled_one_by_one(method: str) -> None:
    maps = np.random.default_rng(1).random((3, 6, 5, 5))
    observed = np.array([1, 0, 1, 0, 0, 1], bool)
    assert not excluding(maps)
    each = [fill(one[np.newaxis], observed, 0, method)[0] for one in maps]
    np.testing.assert_array_equal(fill(maps, observed, 0, method), each)


def test_shapes_between_discs_are_discs_of_the_radii_between() -> None:
    maps = np.zeros((1, 9, 48, 48))
    maps[0, 0], maps[0, 8] = disc(20), disc(8)
    observed = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], bool)
    found = fill(maps, observed, 0, "shape")
    for index in range(1, 8):
        radius = 20 - 1.5 * index
        assert found[0, index].sum() == pytest.approx(np.pi * radius**2, rel=0.05)
        np.testing.assert_array_equal(found[0, index] > 0.9, (found[0, index] > 0.9) & (disc(radius + 1) > 0))
    # A slice is 3 times as long along y: the same discs, drawn on that grid.
    squeezed = fill(np.ascontiguousarray(maps[:, :, 1::3]), observed, 0, "shape", spacing=(5.0, 3.0, 1.0))
    assert squeezed[0, 4].sum() == pytest.approx(np.pi * 14**2 / 3, rel=0.05)


def test_a_shape_that_ends_does_so_halfway() -> None:
    maps = np.zeros((1, 9, 48, 48))
    maps[0, 0] = disc(12)
    found = fill(maps, np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], bool), 0, "shape")[0]
    areas = found.sum(axis=(1, 2))
    assert np.all(np.diff(areas[:5]) < 0)
    assert areas[3] > 20
    assert areas[4] < 4
    np.testing.assert_array_equal(areas[5:], 0)
    full = fill(1 - maps, np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], bool), 0, "shape")[0]
    np.testing.assert_allclose(full, 1 - found, atol=1e-12)


@pytest.mark.parametrize("name", ["gm", "wm"])
@pytest.mark.parametrize("step", [4, 8])
def test_on_the_mni_maps_logit_has_the_dice_of_linear_and_less_error(name: str, step: int) -> None:
    whole = tissue(name)
    hidden = hidden_slices(len(whole), step)
    (dice, error), (usual, usual_error) = (
        judged(fill(whole[np.newaxis], ~hidden, 0, method)[0][hidden], whole[hidden])
        for method in ("logit", "linear")
    )
    assert dice >= usual - 0.005
    assert error <= 0.96 * usual_error


def test_hidden_slices_and_their_figures_by_hand() -> None:
    assert np.flatnonzero(hidden_slices(11, 4)).tolist() == [1, 2, 3, 5, 6, 7]
    found, truth = np.array([0.9, 0.6, 0.2, 0.5]), np.array([1.0, 0.0, 0.0, 0.5])
    assert judged(found, truth) == pytest.approx((2 / 3, 0.9 / 4))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UsageError, match="cubic: use logit, linear, shape or nearest"):
        fill(np.zeros((1, 3, 3)), np.array([1, 0, 1], bool), 0, "cubic")
