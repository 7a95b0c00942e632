"""Places of topological errors: simple voxels, warping, DIU, the error map."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers_drawn import CHANGES, drawn, pair
from helpers_maps import vessels

from softmorph_cli.metrics import error_map as module
from softmorph_cli.metrics.error_map import EXTRA, FILLED, GAP, HOLE, KINDS, LINK, MISSED, error_map
from softmorph_cli.metrics.warping import neighbourhood, simple, warp
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.components import CONNECTIVITIES
from softmorph_cli.topology.persistence import bars

(DIU,) = module.METRICS
EVERY = [(dims, connectivity) for dims in (2, 3) for connectivity in CONNECTIVITIES[dims]]


def diu(predicted: np.ndarray, reference: np.ndarray, connectivity: int | None = None) -> float | None:
    return DIU.compute(pair(predicted, reference, connectivity=connectivity)).values["diu"]


def unpaired(small: np.ndarray, large: np.ndarray, connectivity: int) -> int:
    """Return dim ker + dim coker of the whole homology, by persistence: bars that live in one of the two alone."""
    found = bars((small.astype(np.float64) + large) / 2, connectivity)
    return sum(int(np.count_nonzero(diagram.length < 1)) for diagram in found.diagrams)


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_a_voxel_is_simple_where_flipping_it_changes_no_homology(dims: int, connectivity: int) -> None:
    count = 3**dims - 1
    rng = np.random.default_rng(dims)
    codes = np.arange(256) if dims == 2 else rng.integers(0, 2**count, 60)
    if dims == 3:
        # Few neighbours and many are as likely as half of them.
        codes = np.concatenate([codes & np.roll(codes, 1), codes | np.roll(codes, 1), codes])
    got = simple(codes.astype(np.int32), dims, connectivity)
    offsets = neighbourhood(dims).offsets + 1
    for code, said in zip(codes.tolist(), got.tolist(), strict=True):
        without = np.zeros((3,) * dims, bool)
        without[tuple(offsets.T)] = [code >> k & 1 for k in range(count)]
        with_it = without.copy()
        with_it[(1,) * dims] = True
        assert said == (unpaired(without, with_it, connectivity) == 0), code
    assert 0 < got.mean() < 1


def noise(dims: int, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    shapes = rng.integers(3, 12 if dims == 2 else 8, (count, dims))
    return [(rng.random(s) < rng.uniform(0.2, 0.9), rng.random(s) < rng.uniform(0.2, 0.9)) for s in shapes]


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_diu_is_what_persistence_counts(dims: int, connectivity: int) -> None:
    for predicted, truth in noise(dims, 25, 1):
        wanted = unpaired(predicted & truth, predicted | truth, connectivity)
        assert diu(predicted, truth, connectivity) == wanted


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_warping_keeps_the_topology_and_changes_voxels_to_the_target_only(
    dims: int, connectivity: int
) -> None:
    for start, target in noise(dims, 25, 2):
        found = warp(start, target, connectivity)
        assert betti_numbers(found, connectivity) == betti_numbers(start, connectivity)
        assert ((found == start) | (found == target)).all()


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_where_the_error_map_is_empty_the_betti_numbers_are_equal(dims: int, connectivity: int) -> None:
    rng = np.random.default_rng(3)
    empty = 0
    for truth, _ in noise(dims, 40, 3):
        flipped = truth ^ (rng.random(truth.shape) < rng.choice([0.01, 0.03, 0.2]))
        one = pair(flipped, truth, connectivity=connectivity)
        found = error_map(one)
        assert not (found.labels[flipped == truth] != 0).any()
        if not found.labels.any():
            empty += 1
            assert one.betti.prediction == one.betti.reference
    assert 0 < empty < 40


def test_diu_on_paper() -> None:
    blank = np.zeros((12, 24))
    left, right = blank.copy(), blank.copy()
    left[3:9, 2:8] = right[3:9, 14:20] = 1
    # One piece here and one there: the same Betti numbers, and two errors.
    assert diu(left, right) == 2
    both = left + right
    assert diu(left, both) == 1
    joined = both.copy()
    joined[5:7, 8:14] = 1
    assert diu(joined, both) == diu(both, joined) == 1
    ring = left.copy()
    ring[5:7, 4:6] = 0
    assert diu(left, ring) == diu(ring, left) == 1
    assert diu(blank, blank) == 0
    # A component and a hole are missing.
    assert diu(blank, ring) == diu(ring, blank) == 2


def test_diu_does_not_see_a_loop_that_is_closed_by_one_and_filled_by_the_other() -> None:
    arc = np.zeros((9, 9))
    arc[2:7, 2:7] = 1
    arc[3:6, 3:6] = arc[2, 4] = 0
    predicted, truth = arc.copy(), arc.copy()
    predicted[2, 4] = 1
    truth[3:6, 3:6] = 1
    one = pair(predicted, truth)
    assert diu(predicted, truth) == 0
    assert (one.betti.prediction.b1, one.betti.reference.b1) == (1, 0)
    assert error_map(one).labels.any()


def regions(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """Return the kinds that an error map shows, and how many of each; none is 0."""
    found = error_map(pair(predicted, truth))
    assert set(found.regions) == set(KINDS)
    assert found.labels.dtype == np.uint8
    return {kind: count for kind, count in found.regions.items() if count}


@pytest.mark.parametrize("dims", [2, 3])
def test_each_kind_of_error_has_its_label(dims: int) -> None:
    truth = drawn(dims) > 0.5
    hole, bridge, missing, thicker = (change(dims) > 0.5 for change in CHANGES.values())
    assert regions(hole, truth) == {HOLE: 1}
    assert regions(truth, hole) == {FILLED: 1}
    # The line along the link, and the wall that is left in its middle, cross each other.
    assert regions(bridge, truth) == {LINK: 1}
    assert regions(truth, bridge) == {GAP: 1}
    assert regions(missing, truth) == regions(thicker, truth) == regions(truth, thicker) == {}
    speck = truth.copy()
    speck[..., 2:5, 2:5] = True
    assert regions(speck, truth) == {EXTRA: 1}
    assert regions(truth, speck) == {MISSED: 1}


def test_a_label_lies_where_the_error_is() -> None:
    truth = drawn(2) > 0.5
    hole, bridge = (change(2) > 0.5 for change in itertools.islice(CHANGES.values(), 2))
    labels = error_map(pair(hole, truth)).labels
    assert ((labels == HOLE) == (truth & ~hole)).all()
    labels = error_map(pair(bridge, truth)).labels
    at = np.argwhere(labels == LINK)
    # From one end of the bridge to the other, which is 28 voxels long between the two branches.
    assert np.ptp(at[:, 0]) >= 20
    assert (bridge & ~truth)[tuple(at.T)].all()


def test_a_loop_that_is_open_in_3d_is_a_gap() -> None:
    ring = np.zeros((7, 24, 24))
    ring[2:5, 4:20, 4:20] = 1
    ring[2:5, 8:16, 8:16] = 0
    opened = ring.copy()
    opened[2:5, 4:8, 11:13] = 0
    assert regions(opened, ring) == {GAP: 1}
    assert regions(ring, opened) == {LINK: 1}
    assert diu(opened, ring) == 1
    assert DIU.compute(pair(opened, ring)).values["diu"] == pair(opened, ring).betti.reference.b1


@pytest.mark.parametrize("shape", [(40, 44), (16, 20, 18)])
def test_empty_and_full_maps(shape: tuple[int, ...]) -> None:
    blank, map_ = np.zeros(shape, bool), vessels(shape, 3) > 0.5
    assert regions(blank, blank) == regions(~blank, ~blank) == {}
    # Its components are there, and its loops and cavities need not be seen where all of it is missing.
    assert set(regions(blank, map_)) == {MISSED}
    assert set(regions(map_, blank)) == {EXTRA}
