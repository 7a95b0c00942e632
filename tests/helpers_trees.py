"""Random trees with known counts of branches and lengths."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from skimage.draw import line_nd


@dataclass(frozen=True)
class Tree:
    """A tree of curved branches, drawn one voxel wide.

    Attributes:
        mask: The drawing.
        curves: Each branch as points in mm, in array-axis order.
        length: Of all curves, in mm.
        end_points: How many there are.
        junctions: How many there are.
    """

    mask: np.ndarray
    curves: tuple[np.ndarray, ...]
    length: float
    end_points: int
    junctions: int


def random_tree(
    seed: int, spacing: tuple[float, ...], *, extent: float = 48.0, forks: int = 4, clearance: float = 3.5
) -> Tree:
    """Draw a tree with several forks; branches stay `clearance` voxels apart except at junctions."""
    rng = np.random.default_rng(seed)
    sizes = np.array(spacing)
    dims = len(spacing)
    shape = np.ceil(extent / sizes).astype(int) + 1
    start = sizes * np.rint(extent * (0.3 + 0.4 * rng.random(dims)) / sizes)
    tips = [(start, None)]
    curves: list[np.ndarray] = []
    voxels: list[np.ndarray] = []
    forked = 0
    first = True
    while tips and (first or forked < forks):
        place, heading = tips.pop(int(rng.integers(len(tips))))
        wanted = 3 if first else 2
        added: list[tuple[np.ndarray, np.ndarray]] = []
        for _ in range(200):
            if len(added) == wanted:
                break
            curve = _curve(rng, place, heading, extent)
            if (curve < 0).any() or (curve / sizes > shape - 1).any():
                continue
            drawn = _voxels(curve, sizes)
            if _free(drawn, voxels, [d for _, d in added], place / sizes, clearance):
                added.append((curve, drawn))
        if len(added) < wanted:
            continue
        first, forked = False, forked + 1
        for curve, drawn in added:
            curves.append(curve)
            voxels.append(drawn)
            tips.append((curve[-1], curve[-1] - curve[-3]))
    mask = np.zeros(shape, bool)
    for drawn in voxels:
        mask[tuple(drawn.T)] = True
    length = sum(float(np.linalg.norm(np.diff(c, axis=0), axis=1).sum()) for c in curves)
    # The first fork has three branches; every other one ends a branch and begins two.
    return Tree(mask, tuple(curves), length, end_points=forked + 2, junctions=forked)


def _curve(
    rng: np.random.Generator, place: np.ndarray, heading: np.ndarray | None, extent: float
) -> np.ndarray:
    direction = rng.standard_normal(len(place))
    direction /= np.linalg.norm(direction)
    if heading is not None:
        direction = direction + 1.2 * heading / np.linalg.norm(heading)
        direction /= np.linalg.norm(direction)
    reach = extent * (0.25 + 0.25 * rng.random())
    bend = rng.standard_normal(len(place)) * reach * 0.15
    t = np.linspace(0, 1, 60)[:, None]
    return place + t * reach * direction + 4 * t * (1 - t) * bend


def _voxels(curve: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the voxels of a curve: those its points fall into, joined by straight lines."""
    corners = np.rint(curve / sizes).astype(int)
    line: Any = line_nd  # not annotated
    steps = [np.stack(line(a, b, endpoint=True), axis=1) for a, b in itertools.pairwise(corners)]
    chain = np.concatenate(steps)
    return np.unique(chain, axis=0)


def _free(
    drawn: np.ndarray,
    others: list[np.ndarray],
    siblings: list[np.ndarray],
    place: np.ndarray,
    clearance: float,
) -> bool:
    """Whether a branch, its beginning aside, keeps clear of all others and of itself."""
    far = drawn[np.abs(drawn - place).max(axis=1) > clearance]
    if len(far) < 6:
        return False
    for other in [*others, *siblings]:
        apart = other[np.abs(other - place).max(axis=1) > 1]
        if len(apart) and np.min(cKDTree(apart).query(far, p=np.inf)[0]) < clearance:
            return False
    # Near the fork the branches have to leave in different directions.
    near = drawn[(np.abs(drawn - place).max(axis=1) <= clearance) & (np.abs(drawn - place).max(axis=1) >= 2)]
    for other in [*others, *siblings]:
        apart = other[np.abs(other - place).max(axis=1) >= 2]
        if len(apart) and len(near) and np.min(cKDTree(apart).query(near, p=np.inf)[0]) < 2:
            return False
    return True
