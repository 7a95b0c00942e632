"""Persistence bars compared with Betti numbers at every threshold, with gudhi, and on drawn maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers_topology import gudhi_intervals, intervals
from scipy.ndimage import gaussian_filter

from softmorph_cli.errors import InputError
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.persistence import bars


def noise(seed: int) -> npt.NDArray[Any]:
    """Return a random map; some are smooth, have equal values or constant regions, are half empty, or tiny."""
    rng = np.random.default_rng(seed)
    p: npt.NDArray[Any] = rng.random(rng.integers(1, 11, 2 + seed % 2)).astype(np.float32)
    if seed % 4 == 0:
        p = np.asarray(gaussian_filter(p, 1, mode="constant"), p.dtype)
    if seed % 3 == 0:
        p = np.round(p * 8) / 8
    if seed % 11 == 0:
        p[tuple(slice(size // 3, None) for size in p.shape)] = 0.5
    if seed % 6 == 5:
        p = p.astype(np.float64)
    if seed % 5 == 0:
        p[rng.random(p.shape) < 0.5] = 0
    if seed % 7 == 0:
        p *= np.float32(1e-30)
    return p


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_bars_have_the_betti_numbers_of_every_mask(seed: int, full: bool) -> None:
    p = noise(seed)
    connectivity = 3**p.ndim - 1 if full else 2 * p.ndim
    found = bars(p, connectivity)
    levels = [0.0, 0.5, *np.unique(p)[:12].tolist()]
    counted = [betti_numbers(p > level, connectivity).numbers for level in levels]
    assert [found.betti(level) for level in levels] == counted
    assert np.transpose(found.curves(levels)).tolist() == [list(numbers) for numbers in counted]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("seed", range(300))
def test_each_voxel_has_the_value_of_its_bar(seed: int, full: bool) -> None:
    p = noise(seed)
    found = bars(p, 3**p.ndim - 1 if full else 2 * p.ndim)
    assert intervals(found) == gudhi_intervals(p, found.connectivity)
    for diagram in found.diagrams:
        assert (diagram.length > 0).all()
        assert (np.diff(diagram.length) <= 0).all()
        assert diagram.birth.dtype == p.dtype
        inside = (diagram.death_at >= 0).all(axis=1)
        assert (diagram.death_at[~inside] == -1).all()
        np.testing.assert_array_equal(p[tuple(diagram.birth_at.T)], diagram.birth)
        np.testing.assert_array_equal(p[tuple(diagram.death_at[inside].T)], diagram.death[inside])
        assert not diagram.death[~inside].any()


def test_the_judge_can_fail() -> None:
    p = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    wanted = gudhi_intervals(p, 26)
    assert intervals(bars(p, 6)) != wanted
    p[3, 3, 3] += np.float32(1e-6)
    assert intervals(bars(p, 26)) != wanted


def test_a_ring_with_a_gap_and_a_speck() -> None:
    # Columns differ from rows, so that axes taken in the wrong order show.
    p = np.zeros((7, 11), np.float32)
    p[1:6, 1:6] = 0.8
    p[2:5, 2:5] = 0.1
    p[3, 1] = 0.4  # the ring's gap
    p[1, 2] = 0.9
    p[3, 3] = 0.05
    p[5, 9] = 0.6  # the speck
    found = bars(p)
    components, loops = found.diagrams
    np.testing.assert_allclose(components.birth, [0.9, 0.6], atol=1e-7)
    np.testing.assert_allclose(components.death, [0, 0], atol=1e-7)
    assert components.birth_at.tolist() == [[1, 2], [5, 9]]
    assert components.death_at[0].tolist() == [-1, -1]
    np.testing.assert_allclose(loops.birth, [0.4], atol=1e-7)
    np.testing.assert_allclose(loops.death, [0.05], atol=1e-7)
    assert (loops.birth_at.tolist(), loops.death_at.tolist()) == ([[3, 1]], [[3, 3]])
    assert (found.betti(0.5), found.betti(0.3), found.betti(0.7)) == ((2, 0), (2, 1), (1, 0))


def test_objects_at_the_border_are_closed() -> None:
    frame = np.full((5, 5, 5), 0.7, np.float32)
    frame[1:4, 1:4] = 0.2  # a tube along the third axis that opens at both ends
    found = bars(frame)
    assert [len(diagram) for diagram in found.diagrams] == [1, 1, 0]
    assert found.diagrams[1].death[0] == np.float32(0.2)


def test_a_map_of_zeros_has_no_bars() -> None:
    assert [len(diagram) for diagram in bars(np.zeros((3, 4, 5), np.float32)).diagrams] == [0, 0, 0]
    assert bars(np.zeros((0, 4))).betti(0.5) == (0, 0)
    ones = bars(np.ones((3, 4)), 4)
    assert (ones.betti(0.5), ones.connectivity) == ((1, 0), 4)


def test_the_order_of_axes_in_memory_does_not_matter() -> None:
    p = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    for other in (np.asfortranarray(p), np.moveaxis(np.moveaxis(p, 0, 2).copy(), 2, 0), p[::-1].copy()[::-1]):
        assert intervals(bars(other)) == intervals(bars(p))


def test_the_map_is_not_modified() -> None:
    p = noise(1)
    p.setflags(write=False)
    before = p.tobytes()
    bars(p)
    assert p.tobytes() == before


@pytest.mark.parametrize(
    "p", [np.full((3, 3), 1.5), np.full((3, 3), np.nan), np.ones((3, 3), int), np.ones(3)]
)
def test_invalid_probabilities_are_refused(p: np.ndarray) -> None:
    with pytest.raises(InputError):
        bars(p)
