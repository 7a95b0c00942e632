"""What a repair computes around the voxels it moves equals what is computed from the whole map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from softmorph_cli.topology.betti import Labelled, betti_numbers
from softmorph_cli.topology.components import connectivities, neighbourhood
from softmorph_cli.topology.prior import Prior
from softmorph_cli.topology.repair import Repairer, _Descent
from softmorph_cli.topology.repairing.current_map import _gaussians
from softmorph_cli.topology.repairing.pieces import Pieces
from softmorph_cli.topology.repairing.searches import Paths, distances


def coarse(p: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(p * 50) / 50
    return rounded


@pytest.mark.parametrize("kind", ["apart", "complete", "rest"])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(14, 15), (7, 8, 9)])
@pytest.mark.parametrize("rounded", [None, coarse])
def test_each_step_equals_a_computation_from_scratch(
    kind: str, full: bool, shape: tuple[int, ...], rounded: object
) -> None:
    rng = np.random.default_rng(len(shape))
    p = gaussian_filter(rng.random((3, *shape)), (0, 0.7, *[0.7] * (len(shape) - 1)))
    p = np.clip((p - p.min()) / (p.max() - p.min()) * 1.2 - 0.1, 0, 1)
    if kind == "complete":
        p = np.clip(p, 0.01, 1) ** 4
        p /= p.sum(axis=0)
    elif kind == "rest":
        p /= np.maximum(p.sum(axis=0), 1)
    start = p.astype(np.float32)
    priors = [Prior((0,), (1, 0, 0)[: len(shape)]), Prior((0, 1), (1, 1, 0)[: len(shape)])]
    connectivity = connectivities(len(shape), None)[not full]
    chosen = Repairer(kind=kind, connectivity=connectivity, rounded=rounded, threshold=0.45)  # type: ignore[arg-type]
    start = chosen._with_background(start)
    descent = _Descent(start, priors, chosen)
    origin, took = descent.map.logits.copy(), 0
    while took < 6 and descent.missing() and descent.move():
        took += 1
        logits = descent.map.logits
        moved = (logits != origin) if kind == "apart" else (logits != origin).any(axis=0)
        q: np.ndarray = chosen.link.probabilities(logits).astype(np.float32)
        q = np.where(moved, q, start.reshape(len(start), -1))
        q = q if rounded is None else coarse(q)
        np.testing.assert_array_equal(descent.map.p, q)
        for number, prior in enumerate(priors):
            union = q[list(prior.channels)]
            mask = (union.max(axis=0) if kind == "apart" else np.minimum(union.sum(axis=0), 1)) > 0.45
            np.testing.assert_array_equal(descent.map.masks[number], mask)
            assert descent.found[number] == betti_numbers(mask.reshape(shape), connectivity)
            # The voxels that are certain have offsets as well.
            inside = (union.max(axis=0) if kind == "apart" else union.sum(axis=0)) < 0.9999
            height = chosen.link.union_logit(logits, prior.channels) - np.log(0.45 / 0.55)
            near = inside & (np.abs(height) < 8)
            np.testing.assert_allclose(descent.map.heights[number][near], height[near], atol=1e-4)
    assert took > 0


@pytest.mark.parametrize("shape", [(9, 11), (6, 7, 8), (1, 8, 8)])
@pytest.mark.parametrize("stretched", [False, True])
def test_distances_equal_those_of_the_whole_mask(shape: tuple[int, ...], stretched: bool) -> None:
    rng = np.random.default_rng(5)
    voxel = [1.0, 2.5, 1.5][: len(shape)] if stretched else [1.0] * len(shape)
    for share in (0.02, 0.2):
        mask = rng.random(shape) < share
        mask.flat[3] = True
        at = rng.permutation(mask.size)
        wanted = distance_transform_edt(~mask, sampling=voxel).ravel()
        np.testing.assert_allclose(distances(mask, at, voxel), wanted[at], rtol=1e-12)
    assert np.isinf(distances(np.zeros(shape, bool), np.array([0]), voxel)).all()


def graph_distances(height: np.ndarray, labels: np.ndarray, own: int, connectivity: int) -> float:
    """Return the smallest sum of the cubes of the costs from one piece to another, by a second library."""
    rows, columns, weights = [], [], []
    free = np.argwhere(labels == 0)
    steps = np.argwhere(neighbourhood(labels.ndim, connectivity)) - 1
    for end in free:
        for step in steps[steps.any(axis=1)]:
            begin = end - step
            if (begin >= 0).all() and (begin < labels.shape).all():
                rows.append(np.ravel_multi_index(tuple(begin), labels.shape))
                columns.append(np.ravel_multi_index(tuple(end), labels.shape))
                weights.append((1 + 0.01 * (np.abs(step).sum() - 1)) * (0.3 - height[tuple(end)]) ** 3)
    graph = coo_array((weights, (rows, columns)), shape=(labels.size, labels.size)).tocsr()
    reach = dijkstra(graph, indices=np.flatnonzero(labels == own)).min(axis=0).reshape(labels.shape)
    ends = [
        reach[tuple(place)]
        for place in free
        for step in steps
        if ((place + step) >= 0).all()
        and ((place + step) < labels.shape).all()
        and labels[tuple(place + step)] not in (0, own)
    ]
    return float(min(ends))


@pytest.mark.parametrize(
    ("shape", "connectivity"), [((12, 13), 8), ((12, 13), 4), ((5, 6, 7), 26), ((5, 6, 7), 6)]
)
def test_paths_are_the_best_ones(shape: tuple[int, ...], connectivity: int) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        height: np.ndarray = gaussian_filter(rng.normal(size=shape), 0.6)
        height = (height - np.quantile(height, 0.8)).astype(np.float32) * 3
        labels, count = label(height > 0, neighbourhood(len(shape), connectivity))
        padded = np.pad(labels, 1, constant_values=-1).astype(np.int32)
        nothing = np.zeros(height.size, np.int32)
        paths = Paths(padded, connectivity, height.ravel(), nothing, 0.3)
        group = np.arange(count + 1)
        for own in range(1, count + 1):
            sources = np.flatnonzero(labels.ravel() == own)
            found = paths.best(group, own, sources, np.inf)
            assert labels.flat[found.at].max() == 0
            assert found.cost == pytest.approx((0.3 - height.flat[found.at]).sum(), rel=1e-5)
            joined, _ = label(
                (labels > 0) | np.isin(np.arange(height.size), found.at).reshape(shape),
                neighbourhood(len(shape), connectivity),
            )
            assert joined.flat[sources[0]] == joined[labels == found.label][0]
            # The path goes from its end to its start.
            places = np.stack(np.unravel_index(found.at[::-1], shape), axis=1)
            begin = np.abs(np.stack(np.unravel_index(sources, shape), axis=1) - places[0])
            begin = begin[
                (begin.max(axis=1) == 1) & ((connectivity != 2 * len(shape)) | (begin.sum(axis=1) == 1))
            ]
            axes = [begin.sum(axis=1).min(), *np.abs(np.diff(places, axis=0)).sum(axis=1)]
            rank = sum(
                (1 + 0.01 * (n - 1)) * (0.3 - height[tuple(at)]) ** 3
                for n, at in zip(axes, places, strict=True)
            )
            assert rank == pytest.approx(graph_distances(height, labels, own, connectivity), rel=1e-4)
            assert np.isinf(paths.best(group, own, sources, 0.99 * found.cost).cost) or len(found.at) > 1


def test_a_path_avoids_what_was_moved_and_pieces_that_are_erased() -> None:
    height = np.full((5, 9), -1, np.float32)
    labels = np.zeros((5, 9), np.int32)
    labels[:, 0], labels[:, 8], labels[2, 4] = 1, 2, 3
    tried = np.zeros(height.size, np.int32)
    padded = np.pad(labels, 1, constant_values=-1)
    sources = np.flatnonzero(labels.ravel() == 1)
    group = np.array([-1, 1, 2, 3])
    assert Paths(padded, 4, height.ravel(), tried, 0.3).best(group, 1, sources, np.inf).label == 3
    group[3] = -1
    found = Paths(padded, 4, height.ravel(), tried, 0.3).best(group, 1, sources, np.inf)
    assert found.label == 2
    assert found.cost == pytest.approx(7 * 1.3)
    assert (found.at // 9 != 2).all()
    tried.reshape(5, 9)[[0, 1, 3], 5] = 2
    found = Paths(padded, 4, height.ravel(), tried, 0.3).best(group, 1, sources, np.inf)
    assert (found.at // 9 == 4).any()
    assert found.cost == pytest.approx(7 * 1.3)


def settled(p: np.ndarray, wanted: int) -> tuple[set[int], list[int]]:
    """Return which of the components of {p > 0} are erased, and the lengths of the paths between others."""
    labelled = Labelled.of(p > 0)
    inner = labelled.pieces[1:-1, 1:-1].copy()
    pieces = Pieces(labelled.pieces, p.ravel(), p.ravel() > 0, np.zeros(p.size, np.int32), 8, 0.3)
    erased, paths = pieces.moves({wanted})
    return {int(inner.flat[at[0]]) for at in erased}, [len(at) for at in paths]


def test_the_cheaper_of_erasing_and_joining() -> None:
    # From left to right, and so in the order of their labels, with gaps of 2, 2 and 6 voxels of height -1.
    p = np.full((1, 20), -1, np.float32)
    p[0, 0:4], p[0, 6:8], p[0, 10:12], p[0, 18:20] = 3, 3, 3, 3
    # A gap of 2 costs 2.6 and one of 6 costs 7.8; two voxels cost 6.
    assert settled(p, 1) == ({4}, [2, 2])
    p[0, 18:20] = 5
    assert settled(p, 1) == (set(), [2, 2, 6])
    p[0, 6:8] = 1
    # The second is cheaper to erase, and no path leads through it: the third is erased rather than joined to the
    # fourth, from which in turn no path is left.
    assert settled(p, 1) == ({2, 3, 4}, [])


@pytest.mark.parametrize("sigma", [(1.0, 1.0), (0.5, 2.0), (1.0, 0.7, 1.3)])
def test_gaussians_equal_a_filter_of_the_whole_map(sigma: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    shape = (17, 18, 9)[: len(sigma)]
    at = rng.permutation(int(np.prod(shape)))[:12]
    by = rng.normal(size=12)
    peaks = np.zeros(shape)
    peaks.flat[at] = by
    single = np.zeros([41] * len(shape))
    single[(20,) * len(shape)] = 1
    top = gaussian_filter(single, sigma, truncate=3.0).max()
    smooth = gaussian_filter(peaks, sigma, mode="constant", truncate=3.0) / top
    added = np.zeros(shape)
    where, values = _gaussians(at, by, sigma, shape, add=True)
    added.flat[where] = values
    most = np.abs(by).max()
    np.testing.assert_allclose(added, np.clip(smooth, -most, most), atol=1e-5)
    assert len(np.unique(where)) == len(where)
    farthest = np.zeros(shape)
    where, values = _gaussians(at, by, sigma, shape, add=False)
    farthest.flat[where] = values
    each = []
    for one, height in zip(at, by, strict=True):
        peaks = np.zeros(shape)
        peaks.flat[one] = height
        each.append(gaussian_filter(peaks, sigma, mode="constant", truncate=3.0) / top)
    each_array = np.stack(each)
    chosen = np.take_along_axis(each_array, np.abs(each_array).argmax(axis=0)[None], axis=0)[0]
    np.testing.assert_allclose(farthest, chosen, atol=1e-5)
