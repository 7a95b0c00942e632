"""Cancelling short bars: what is proven of components and cavities, and what is found of loops, on random maps.

The judge is gudhi's cubical complex, which shares no code with `softmorph_cli.topology`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers_topology import noisy, vessels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from softmorph_cli.errors import InputError
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.simplify import simplify

Array = npt.NDArray[Any]
gudhi: Any = import_module("gudhi")


def judged(image: Array, connectivity: int) -> list[Array]:
    """Return the bars (birth, death) of each dimension by gudhi, without the component that never dies."""
    box = -np.pad(image.astype(np.float64), 1)
    kind = "vertices" if connectivity == 2 * image.ndim else "top_dimensional_cells"
    cube = gudhi.CubicalComplex(**{kind: box})
    cube.compute_persistence(homology_coeff_field=2, min_persistence=0)
    found = [
        -np.asarray(cube.persistence_intervals_in_dimension(k)).reshape(-1, 2) for k in range(image.ndim)
    ]
    return [bars[np.isfinite(bars[:, 1])] for bars in found]


def short(image: Array, persistence: float, connectivity: int) -> list[int]:
    return [int((b[:, 0] - b[:, 1] < persistence).sum()) for b in judged(image, connectivity)]


def changed(image: Array, result: Array) -> float:
    return float(np.abs(result.astype(np.float64) - image).max())


@st.composite
def maps(draw: st.DrawFn) -> tuple[Array, int]:
    dims = draw(st.sampled_from((2, 3)))
    shape = draw(st.tuples(*[st.integers(1, 12 if dims == 2 else 6)] * dims))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed).random(shape)
    kind = draw(st.sampled_from(("plain", "steps", "smooth", "holes")))
    image: Array = random.astype(draw(st.sampled_from((np.float32, np.float64))))
    if kind == "steps":
        image = np.round(image * 8) / 8
    elif kind == "holes":
        image[np.random.default_rng(seed + 1).random(shape) < 0.4] = 0
    elif kind == "smooth":
        image = gaussian_filter(image, 0.7)
    return image, draw(st.sampled_from({2: (8, 4), 3: (26, 6)}[dims]))


@settings(max_examples=40, deadline=None)
@given(drawn=maps(), persistence=st.sampled_from((0.05, 0.125, 0.3, 0.6, 1.0)))
def test_no_short_component_or_cavity_is_left_and_no_value_changes_by_more(
    drawn: tuple[Array, int], persistence: float
) -> None:
    image, connectivity = drawn
    kept = image.copy()
    result = simplify(image, persistence, connectivity).array
    np.testing.assert_array_equal(image, kept)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    left = short(result, persistence, connectivity)
    assert (left[0], left[-1]) == (0, 0)
    assert changed(image, result) <= persistence
    # Values are exchanged, and none is made.
    assert set(np.unique(result)) <= set(np.unique(image)) | {0}
    # No loop appears, and bars of twice the length stay, as the change is smaller than the length.
    before, after = judged(image, connectivity), judged(result, connectivity)
    for one, other in zip(before, after, strict=True):
        assert (other[:, 0] - other[:, 1] >= persistence).sum() >= (
            one[:, 0] - one[:, 1] >= 2 * persistence
        ).sum()
    assert short(result, persistence, connectivity)[1] <= short(image, persistence, connectivity)[1]


@pytest.mark.parametrize("seed", range(6))
def test_in_2d_the_bars_that_stay_are_those_of_the_map(seed: int) -> None:
    # Of components that hold no hole and holes that hold no component, ends stay as they are.
    image = gaussian_filter(np.random.default_rng(seed).random((40, 40)), 2)
    image = ((image - image.min()) / np.ptp(image)).astype(np.float32)
    result = simplify(image, 0.1).array
    for one, other in zip(judged(image, 8), judged(result, 8), strict=True):
        long = one[one[:, 0] - one[:, 1] >= 0.1]
        np.testing.assert_array_equal(np.unique(long, axis=0), np.unique(other, axis=0))


def test_a_peak_a_pit_and_an_island_in_a_pit() -> None:
    row = np.array([[0.2, 0.9, 0.8, 0.875, 0.3]])
    np.testing.assert_array_equal(simplify(row, 0.1).array, [[0.2, 0.9, 0.8, 0.8, 0.3]])
    # Equal to the persistence is not shorter.
    np.testing.assert_array_equal(simplify(row, 0.875 - 0.8).array, row)
    pit = np.full((3, 3), 0.5)
    pit[1, 1] = 0.4375
    np.testing.assert_array_equal(simplify(pit, 0.0625).array, pit)
    np.testing.assert_array_equal(simplify(pit, 0.125).array, np.full((3, 3), 0.5))
    # The island (0.75 down to 0.125) lasts for 0.625; once the pit is filled to 0.5, it lasts for 0.25 and goes too.
    island = np.full((5, 5), 0.5)
    island[1:4, 1:4] = 0.125
    island[2, 2] = 0.75
    island[0, 0] = 1
    np.testing.assert_array_equal(simplify(island, 0.25).array, island)
    level = np.full((5, 5), 0.5)
    level[0, 0] = 1
    np.testing.assert_array_equal(simplify(island, 0.5).array, level)


def test_zeros_and_constant_maps() -> None:
    for shape in ((4, 5), (3, 4, 5)):
        for value in (0.0, 0.3, 1.0):
            flat = np.full(shape, value, np.float32)
            np.testing.assert_array_equal(simplify(flat, 0.5).array, flat)
    # A cavity of zeros is filled, the surroundings are not.
    shell = np.zeros((5, 5, 5), np.float32)
    shell[1:4, 1:4, 1:4] = 0.25
    shell[2, 2, 2] = 0
    filled = simplify(shell, 0.5).array
    assert filled[2, 2, 2] == 0.25
    assert filled.sum() == pytest.approx(27 * 0.25)


def test_half_precision_is_kept() -> None:
    image = np.random.default_rng(0).random((5, 6, 7)).astype(np.float16)
    result = simplify(image, 0.25).array
    assert result.dtype == np.float16
    assert [short(result, 0.25, 26)[k] for k in (0, 2)] == [0, 0]


@pytest.mark.parametrize("persistence", [1e-40, 0.1])
@pytest.mark.parametrize("shape", [(12, 13), (8, 9, 10)])
def test_zeros_among_the_least_numbers_above_0(shape: tuple[int, ...], persistence: float) -> None:
    # As a softmax in single precision leaves them: 0 to 3 times the least number above 0, and larger ones.
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4, shape).astype(np.float32) * np.nextafter(np.float32(0), np.float32(1))
    image[..., 5:] = np.where(rng.random(image[..., 5:].shape) < 0.3, 0.5, image[..., 5:])
    assert short(image, persistence, 3**image.ndim - 1)[-1] > 0
    for connectivity in (3**image.ndim - 1, 2 * image.ndim):
        result = simplify(image, persistence, connectivity).array
        left = short(result, persistence, connectivity)
        assert (left[0], left[-1]) == (0, 0)
        assert changed(image, result) < persistence
        assert set(np.unique(result)) <= set(np.unique(image))


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6)])
def test_any_order_of_bytes_and_axes(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    wanted = simplify(image, 0.2).array
    assert (wanted != image).any()
    turned = np.flip(np.ascontiguousarray(np.flip(image)))
    for other in (np.asfortranarray(image), turned, image.astype(">f4"), image.astype(">f8")):
        found = simplify(other, 0.2).array
        assert found.dtype == other.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("persistence", [0.05, 0.2])
def test_nearly_all_short_loops_of_noisy_vessels_are_cancelled(persistence: float) -> None:
    image = noisy(vessels(24), 1.0, 3)
    found = simplify(image, persistence)
    before, after = short(image, persistence, 26), short(found.array, persistence, 26)
    assert before[1] > 100
    assert after[0] == after[2] == 0
    assert after[1] <= before[1] // 20
    assert found.rounds > 0
    assert changed(image, found.array) <= persistence


def test_a_loop_that_is_weak_at_one_voxel() -> None:
    # A ring of 0.75 in a plane, whose disc is filled at 0.6875: the hole is a loop of length 0.0625.
    image = np.zeros((5, 7, 7), np.float32)
    image[2, 1:6, 1:6] = 0.75
    image[2, 2:5, 2:5] = 0.6875
    assert short(image, 0.125, 26) == [0, 1, 0]
    result = simplify(image, 0.125).array
    assert short(result, 0.125, 26) == [0, 0, 0]
    assert betti_numbers(result > 0.5).numbers == (1, 0, 0)
    assert changed(image, result) == 0.0625


@pytest.mark.parametrize("connectivity", [6, 26])
def test_moves_of_loops_lose_no_long_bar(connectivity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(connectivity)
    images = [rng.random((6, 6, 6)).astype(np.float32) for _ in range(8)]
    moved = [simplify(image, 0.3, connectivity) for image in images]
    monkeypatch.setattr("softmorph_cli.topology.simplify._TRIALS", 0)
    for image, found in zip(images, moved, strict=True):
        before, after = (
            [int((b[:, 0] - b[:, 1] >= 0.3).sum()) for b in judged(array, connectivity)]
            for array in (simplify(image, 0.3, connectivity).array, found.array)
        )
        assert all(old <= new for old, new in zip(before, after, strict=True))
    assert sum(found.rounds for found in moved) > 0


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(InputError, match="floating-point"):
        simplify(np.zeros((3, 3), np.uint8), 0.1)
    with pytest.raises(InputError, match="in \\[0, 1\\]"):
        simplify(np.full((3, 3), 2.0), 0.1)
