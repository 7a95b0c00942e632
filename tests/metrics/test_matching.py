"""Betti matching against linear algebra on all cells, and on paper."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_drawn import pair
from helpers_homology import boundaries, cells, rank, reduced
from scipy.ndimage import gaussian_filter

from softmorph_cli.metrics import topological
from softmorph_cli.metrics.loops import kept_loops
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.components import CONNECTIVITIES
from softmorph_cli.topology.matching import match

*_, MATCHING, SOFT = topological.METRICS
EVERY = [(dims, connectivity) for dims in (2, 3) for connectivity in CONNECTIVITIES[dims]]


def unmatched(
    predicted: np.ndarray, truth: np.ndarray, connectivity: int | None = None
) -> tuple[float | None, ...]:
    one = pair(predicted, truth, connectivity=connectivity, expensive=True)
    values = tuple(MATCHING.compute(one).values.values())
    return values if predicted.ndim == 3 else values[:-1]


def common(first: np.ndarray, second: np.ndarray, dimension: int, connectivity: int) -> tuple[int, int, int]:
    """Return b_k of both masks, and the dimension of their images' common part in H_k of the union, by definition."""
    either = cells(first | second, connectivity)
    filled = [vector for _, vector in boundaries(either, dimension + 1)]
    cycles, betti = [], []
    for mask in (first, second):
        own = cells(mask, connectivity)
        cycles.append(reduced(boundaries(own, dimension))[1])
        betti.append(len(cycles[-1]) - rank(vector for _, vector in boundaries(own, dimension + 1)))
    images = [rank(filled + chains) - rank(filled) for chains in cycles]
    together = rank(filled + cycles[0] + cycles[1]) - rank(filled)
    return betti[0], betti[1], images[0] + images[1] - together


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_errors_are_those_of_linear_algebra(dims: int, connectivity: int) -> None:
    rng = np.random.default_rng(dims + connectivity)
    seen = np.zeros(dims, int)
    for _ in range(60 if dims == 2 else 20):
        shape = rng.integers(4, 12 if dims == 2 else 6, dims)
        # Loops and cavities are of masks that are nearly full, and common ones of masks that are nearly equal.
        first = rng.random(shape) < rng.choice([0.3, 0.6, 0.85])
        second = first ^ (rng.random(shape) < rng.choice([0.05, 0.15, 0.5]))
        by_definition = [common(first, second, k, connectivity) for k in range(dims)]
        assert betti_numbers(first, connectivity).numbers == tuple(p for p, _, _ in by_definition)
        wanted = tuple(p + g - 2 * both for p, g, both in by_definition)
        assert unmatched(first, second, connectivity) == wanted
        assert unmatched(second, first, connectivity) == wanted
        seen += [both > 0 and p + g > 2 * both for p, g, both in by_definition]
    assert (seen[:2] > 0).all()


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_masks_have_as_many_unmatched_bars_as_errors(dims: int, connectivity: int) -> None:
    seen = np.zeros(dims, int)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        shape = rng.integers(4, 14 if dims == 2 else 7, dims)
        first = rng.random(shape) < rng.choice([0.3, 0.6, 0.85])
        second = first ^ (rng.random(shape) < rng.choice([0.05, 0.15, 0.5]))
        matched = match(first.astype(np.float32), second.astype(np.float32), connectivity).dimensions
        bars = [(len(one.first), len(one.second), len(one.pairs)) for one in matched]
        assert tuple(p + g - 2 * both for p, g, both in bars) == unmatched(first, second, connectivity)
        seen += [both > 0 and p + g > 2 * both for p, g, both in bars]
    assert (seen[:2] > 0).all()


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_the_soft_errors_of_masks_are_those_of_masks(dims: int, connectivity: int) -> None:
    rng = np.random.default_rng(dims)
    first, second = (rng.random((9, 8, 7)[:dims]) < 0.7 for _ in range(2))
    one = pair(first, second, connectivity=connectivity, expensive=True)
    soft = [value for value in SOFT.compute(one).values.values() if value is not None]
    assert tuple(soft) == unmatched(first, second, connectivity)
    assert sum(soft) > 3


@pytest.mark.parametrize("connectivity", [26, 6])
def test_the_ranks_of_larger_maps_are_those_of_their_masks(connectivity: int) -> None:
    # A map and a larger one: all bars of the larger one are image bars of it, so that the pairs are those of the other.
    rng = np.random.default_rng(0)
    seen: list[int] = []
    for sigma in (0.7, 1.5):
        small, more = (gaussian_filter(rng.random((16, 17, 18)), sigma) for _ in range(2))
        small, more = ((one - one.min()) / np.ptp(one) for one in (small, more))
        large = np.maximum(small, 0.7 * more)
        loops = match(small, large, connectivity).dimensions[1]
        births = loops.first.birth[loops.pairs[:, 0]]
        for t, u in ((0.4, 0.4), (0.5, 0.4), (0.5, 0.5), (0.6, 0.5), (0.65, 0.6)):
            rank_there = int(np.count_nonzero((births >= t) & (loops.end < u)))
            assert rank_there == kept_loops(small >= t, large >= u, connectivity)
            seen.append(rank_there)
    assert np.count_nonzero(seen) > 4


def test_soft_errors_are_the_loss_of_each_dimension() -> None:
    p = np.zeros((9, 16), np.float32)
    p[1:6, 1:6], p[2:5, 2:5], p[3, 1], p[7, 12] = 0.8, 0.1, 0.4, 0.6
    mask = np.zeros((9, 16), np.uint8)
    mask[1:6, 1:6], mask[2:5, 2:5], mask[2, 14] = 1, 0, 1
    components, loops, cavities = SOFT.compute(pair(p, mask, expensive=True)).values.values()
    assert components == pytest.approx(2 * 0.2**2 + 0.6**2 + 1)
    assert loops == pytest.approx(2 * (0.6**2 + 0.1**2))
    assert cavities is None


def test_a_mask_matches_itself_and_nothing_else_matches_an_empty_one() -> None:
    rng = np.random.default_rng(5)
    for shape in ((20, 20), (9, 9, 9)):
        mask = rng.random(shape) < 0.5
        assert not any(unmatched(mask, mask))
        assert unmatched(mask, np.zeros_like(mask)) == betti_numbers(mask).numbers
        assert not any(unmatched(np.zeros_like(mask), np.zeros_like(mask)))


def test_on_paper() -> None:
    blank = np.zeros((12, 24))
    left, right = blank.copy(), blank.copy()
    left[2:9, 2:9] = right[2:9, 14:21] = 1
    # One piece here and one there: the same Betti numbers, and two errors.
    assert unmatched(left, right) == (2, 0)
    assert unmatched(left, left + right) == (1, 0)
    ring, thick = left.copy(), left.copy()
    ring[3:8, 3:8] = thick[4:7, 4:7] = 0
    # What one closes and the other fills is no loop of the union.
    assert unmatched(ring, left) == (0, 1)
    assert unmatched(ring + right, left) == (1, 1)
    # Moved by less than the wall is thick, it is the same hole; by more, each one's wall cuts the other's hole.
    assert unmatched(thick, np.roll(thick, 1, axis=1)) == (0, 0)
    assert unmatched(ring, np.roll(ring, 2, axis=1)) == (0, 2)
    # Of a hole that a bar cuts into two, one is too many.
    barred = ring.copy()
    barred[5] = left[5]
    assert unmatched(ring, barred) == (0, 1)


def test_a_hole_that_two_arcs_cut_only_together_is_one_hole_of_both() -> None:
    ring = np.zeros((12, 12))
    ring[1:11, 1:11] = 1
    ring[2:10, 2:10] = 0
    upper, lower = ring.copy(), ring.copy()
    upper[2:6, 5] = lower[6:10, 5] = 1
    assert unmatched(upper, lower) == (0, 0)


def test_cavities_on_paper() -> None:
    shell = np.zeros((9, 9, 16))
    shell[1:8, 1:8, 1:8] = 1
    filled = shell.copy()
    shell[3:6, 3:6, 3:6] = 0
    assert unmatched(shell, np.roll(shell, 1, axis=2)) == (0, 0, 0)
    assert unmatched(shell, filled) == (0, 0, 1)
    # Two pieces and two cavities, none of them in one place.
    assert unmatched(shell, np.roll(shell, 8, axis=2)) == (2, 0, 2)
    # A cavity that is open in one of them, and one with a wall in the middle.
    opened, walled = shell.copy(), shell.copy()
    opened[4, 4, :4] = 0
    walled[4] = filled[4]
    assert unmatched(shell, opened) == (0, 0, 1)
    assert unmatched(shell, walled) == (0, 0, 1)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES[3])
def test_loops_on_paper(connectivity: int) -> None:
    ring = np.zeros((7, 15, 15))
    ring[2:5, 2:13, 2:13] = 1
    ring[:, 5:10, 5:10] = 0
    assert unmatched(ring, np.roll(ring, 1, axis=1), connectivity) == (0, 0, 0)
    # A wall in the ring, a gap in it, a handle on it.
    walled, broken, handle = ring.copy(), ring.copy(), ring.copy()
    walled[3, 5:10, 5:10] = 1
    broken[:, 7, :5] = 0
    handle[5:7, 2, 6] = handle[5:7, 2, 9] = handle[6, 2, 6:10] = 1
    for other in (walled, broken, handle):
        assert unmatched(ring, other, connectivity) == unmatched(other, ring, connectivity) == (0, 1, 0)
    # Both have a wall, each at another height: neither has a loop.
    assert unmatched(walled, np.roll(walled, 1, axis=0), connectivity) == (0, 0, 0)
