"""Drawn maps that have the wrong topology."""

from __future__ import annotations

from typing import Any

import numpy as np


def noisy(p: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Add smooth noise to the logits of a map."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=p.shape), 1)
    p = np.clip(p, 1e-4, 1 - 1e-4)
    z = np.log(p / (1 - p)) + strength * noise / noise.std()
    return np.asarray(1 / (1 + np.exp(-z)), np.float32)


def broken_ring(size: int = 72, gap: float = 0.15, noise: float = 0.0) -> np.ndarray:
    """Draw a soft ring that is weak over a sixth of its way, with a speck beside it."""
    y, x = np.mgrid[:size, :size].astype(float) - size / 2 + 4
    radius = 0.28 * size
    p = 1 / (1 + np.exp((np.abs(np.hypot(y, x) - radius) - 3) * 1.5))
    along = np.abs(np.arctan2(y, x) - 0.5) * radius
    p *= 1 - (1 - gap) * np.exp(-((along / (size / 12)) ** 4))
    speck = np.hypot(y - size / 2 + 8, x - size / 2 + 8)
    p = np.maximum(p, 0.8 * np.exp(-(speck**2) / 6))
    return noisy(p, noise, 0) if noise else p.astype(np.float32)


def vessels(size: int = 40, gap: float = 0.15, noise: float = 0.0, radius: float = 2.0) -> np.ndarray:
    """Draw soft tubes that fork twice, with a gap behind either fork."""
    from scipy.ndimage import distance_transform_edt

    shape = (size,) * 3
    nodes = np.array(
        [[0.06, 0.5, 0.5], [0.4, 0.5, 0.48], [0.63, 0.31, 0.42], [0.94, 0.21, 0.38], [0.67, 0.67, 0.62]]
    )
    tips = np.array([[0.94, 0.79, 0.73], [0.83, 0.1, 0.88], [0.92, 0.94, 0.31]])
    nodes = np.concatenate([nodes, tips]) * (size - 1)
    axis = np.ones(shape, bool)
    for a, b in ((0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (2, 6), (4, 7)):
        way = nodes[a] + np.linspace(0, 1, 4 * size)[:, None] * (nodes[b] - nodes[a])
        axis[tuple(np.rint(way).astype(int).T)] = False
    p = 1 / (1 + np.exp((distance_transform_edt(axis) - radius) * 1.5))
    at = np.moveaxis(np.indices(shape), 0, -1)
    for a, b in ((2, 3), (1, 4)):
        distance = np.linalg.norm(at - (nodes[a] + nodes[b]) / 2, axis=-1)
        p *= 1 - (1 - gap) * np.exp(-((distance / (1.2 * radius + 1)) ** 6))
    return noisy(p, noise, 0) if noise else p.astype(np.float32)


def vessels_and_shells(size: int = 128, shells: int = 5) -> np.ndarray:
    """Draw soft tubes along random walks, which close to loops, and soft hollow spheres among them."""
    from softmorph_cli.bench.maps import vessels as walks

    rng = np.random.default_rng(0)
    p = walks((size,) * 3)
    at = np.moveaxis(np.indices(p.shape), 0, -1)
    for _ in range(shells):
        from_centre = np.linalg.norm(at - rng.uniform(0.15, 0.85, 3) * size, axis=-1)
        depth = 1.5 - np.abs(from_centre - rng.uniform(3.5, 5))
        p = np.maximum(p, np.where(depth > -6, 1 / (1 + np.exp(-depth / 0.8)), 0))
    return p.astype(np.float32)


Intervals = list[list[tuple[float, float]]]


def gudhi_intervals(p: np.ndarray, connectivity: int) -> Intervals:
    """Return the sorted births and deaths in each dimension by gudhi's cubical complex; 0 for no death."""
    import gudhi

    cells = "vertices" if connectivity == 2 * p.ndim else "top_dimensional_cells"
    cube = gudhi.CubicalComplex(**{cells: np.pad(-p.astype(np.float64), 1)})
    found: Intervals = [[] for _ in range(p.ndim)]
    for dimension, (birth, death) in cube.persistence(homology_coeff_field=2, min_persistence=0):
        if np.isfinite(death) or p.any():
            found[dimension].append((-birth, -death if np.isfinite(death) else 0.0))
    return [sorted(intervals) for intervals in found]


def intervals(bars: Any) -> Intervals:
    """Return the sorted births and deaths of bars in each dimension."""
    return [sorted(zip(d.birth.tolist(), d.death.tolist(), strict=True)) for d in bars.diagrams]
