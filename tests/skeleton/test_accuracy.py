"""Accuracy of counts and lengths on drawn trees, lines, rings and tubes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_traced import counts_of
from helpers_trees import Tree, random_tree
from scipy import signal
from skimage import draw

from softmorph_cli import Volume
from softmorph_cli.skeleton import paths
from softmorph_cli.skeleton.analyse import Choices, inspect
from softmorph_cli.skeleton.graph import SkeletonGraph

ISOTROPIC, FLAT, UNEVEN = (1.0, 1.0, 1.0), (1.0, 1.0), (2.0, 0.5, 0.5)
TREES = 20


def graph_of(image: np.ndarray, spacing: tuple[float, ...], **choices: Any) -> SkeletonGraph:
    volume = Volume(image.astype(np.float32), "ZYX"[-image.ndim :], spacing, "mm")
    return inspect(volume, Choices(levels=0, **choices)).graph


def raw_length(graph: SkeletonGraph) -> float:
    """Return the length of the chains of voxels, as they are."""
    return sum(paths.length(graph.frame.world(branch.voxels)) for branch in graph.branches)


def drawn_counts(tree: Tree) -> tuple[int, ...]:
    return 1, 0, tree.end_points, tree.junctions, tree.end_points + tree.junctions - 1


def errors(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the relative errors of the length, smoothed and raw, of all trees."""
    trees = [random_tree(seed, spacing) for seed in range(TREES)]
    graphs = [graph_of(tree.mask, spacing) for tree in trees]
    lengths = np.array([tree.length for tree in trees])
    smoothed, raw = (np.array([f(g) for g in graphs]) / lengths - 1 for f in (lambda g: g.length, raw_length))
    return smoothed, raw


@pytest.mark.parametrize("spacing", [FLAT, ISOTROPIC, UNEVEN])
def test_every_count_of_twenty_trees_is_exact(spacing: tuple[float, ...]) -> None:
    for seed in range(TREES):
        tree = random_tree(seed, spacing)
        assert counts_of(graph_of(tree.mask, spacing)) == drawn_counts(tree), seed


@pytest.mark.parametrize("spacing", [ISOTROPIC, UNEVEN])
def test_lengths_are_right_within_five_percent_in_the_mean_and_eight_at_worst(
    spacing: tuple[float, ...],
) -> None:
    smoothed, raw = errors(spacing)
    assert abs(smoothed.mean()) < 0.05
    assert np.abs(smoothed).max() < 0.08
    # Without smoothing the bar is missed: the comparison can fail.
    assert np.abs(raw).max() > 0.08


def line_errors(spacing: tuple[float, ...], voxels: int = 40) -> np.ndarray:
    """Return the relative errors of straight lines in random directions."""
    rng = np.random.default_rng(0)
    line_nd: Any = draw.line_nd
    found = []
    for _ in range(200):
        direction = rng.standard_normal(len(spacing)) / spacing
        end = np.rint(direction * voxels / np.abs(direction).max()).astype(int)
        chain = np.stack(line_nd((0,) * len(spacing), end, endpoint=True), axis=1) * np.array(spacing)
        found.append(paths.length(paths.smooth(chain)) / np.linalg.norm(chain[-1] - chain[0]) - 1)
    return np.array(found)


@pytest.mark.parametrize(("spacing", "most"), [(FLAT, 0.005), (ISOTROPIC, 0.01), (UNEVEN, 0.06)])
def test_straight_lines_are_hardly_lengthened(spacing: tuple[float, ...], most: float) -> None:
    assert np.abs(line_errors(spacing)).max() < most


def ring(radius: int) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 4000)
    image = np.zeros((2 * radius + 9,) * 2, np.float32)
    image[tuple(np.rint(radius * np.stack([np.sin(turn), np.cos(turn)]) + radius + 4).astype(int))] = 1
    return image


@pytest.mark.parametrize("radius", [5, 6, 8, 12, 20])
def test_rings_keep_their_length(radius: int) -> None:
    graph = graph_of(ring(radius), FLAT)
    assert counts_of(graph) == (1, 1, 0, 0, 1)
    assert graph.length == pytest.approx(2 * np.pi * radius, rel=0.04)


def tubes(tree: Tree, spacing: tuple[float, ...], radius: float) -> np.ndarray:
    """Draw the tree's branches as soft tubes."""
    from scipy.spatial import cKDTree

    grid = np.stack(np.meshgrid(*map(np.arange, tree.mask.shape), indexing="ij"), axis=-1) * np.array(spacing)
    curves: Any = cKDTree(np.concatenate(tree.curves))
    distance = curves.query(grid.reshape(-1, len(spacing)))[0].reshape(tree.mask.shape)
    return np.asarray(1 / (1 + np.exp(2 * (distance - radius))))


@pytest.mark.parametrize("seed", range(4))
def test_tubes_have_the_counts_of_their_axes_and_their_radius(seed: int) -> None:
    tree = random_tree(seed, ISOTROPIC, extent=70.0, forks=3, clearance=9.0)
    graph = graph_of(tubes(tree, ISOTROPIC, 3.0), ISOTROPIC)
    assert counts_of(graph) == drawn_counts(tree)
    assert graph.length == pytest.approx(tree.length, rel=0.06)
    for branch in graph.branches:
        # The middle half: at a fork the vessel is wider, at a tip it ends.
        radius = branch.along["radius"]
        quarter = len(radius) // 4
        assert radius[quarter:-quarter].mean() == pytest.approx(3.0, abs=0.25)


@pytest.mark.parametrize(("count", "window"), [(5, 5), (8, 7), (15, 15), (40, 15)])
@pytest.mark.parametrize("closed", [False, True])
def test_local_parabolas_are_those_of_scipy(count: int, window: int, closed: bool) -> None:
    chain = np.random.default_rng(count).random((count, 3)) * 100
    expected = signal.savgol_filter(chain, window, 2, axis=0, mode="wrap" if closed else "interp")
    if closed:
        found = paths.smooth(np.concatenate([chain, chain[:1]]), closed=True)[:-1]
    else:
        found = paths.smooth(chain)
        # The ends of a branch are kept.
        expected[[0, -1]] = chain[[0, -1]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
