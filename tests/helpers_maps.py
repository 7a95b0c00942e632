"""Drawn maps, their topology, and comparison of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage


class Topology(NamedTuple):
    """Components (26- or 8-connected), tunnels or holes, cavities."""

    components: int
    tunnels: int
    cavities: int


def topology(mask: np.ndarray) -> Topology:
    """Count what a (26, 6) or (8, 4) skeleton has to keep, by labelling and the Euler characteristic."""
    from skimage import measure

    euler_number: Any = measure.euler_number  # not annotated
    padded = np.pad(np.asarray(mask, bool), 1)
    full = ndimage.generate_binary_structure(padded.ndim, padded.ndim)
    components = ndimage.label(padded, full)[1]
    enclosed = ndimage.label(~padded)[1] - 1
    characteristic = int(euler_number(padded, connectivity=padded.ndim))
    if padded.ndim == 2:
        return Topology(components, components - characteristic, 0)
    return Topology(components, components + enclosed - characteristic, enclosed)


def vessels(shape: tuple[int, ...], seed: int, *, branches: int = 6, noise: float = 0.0) -> np.ndarray:
    """Draw tubes with soft edges on zero background: exact zeros and ones, long empty and settled runs."""
    rng = np.random.default_rng(seed)
    axes = np.ones(shape, bool)
    size = np.array(shape) - 1
    for _ in range(branches):
        ends = rng.random((3, len(shape))) * size
        t = np.linspace(0, 1, 4 * int(size.max()) + 2)[:, None]
        line = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        axes[tuple(np.rint(line).astype(int).T)] = False
    distance = ndimage.distance_transform_edt(axes)
    soft = np.clip(1.4 - distance / 3.2 + noise * rng.standard_normal(shape) * (distance < 6), 0, 1)
    return soft.astype(np.float64)


def tree(shape: tuple[int, int, int] = (40, 44, 48)) -> np.ndarray:
    """Draw a tree: a trunk that forks twice, sigmoid edges, radius 3 to 1.5."""
    axes = np.full(shape, 1e9)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)

    def segment(start: tuple[float, ...], end: tuple[float, ...], radius: float) -> None:
        a, b = np.array(start), np.array(end)
        t = np.clip(((grid - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        nearest = a + t[..., None] * (b - a)
        np.minimum(axes, np.linalg.norm(grid - nearest, axis=-1) - radius, out=axes)

    segment((4, 22, 6), (16, 22, 22), 3.2)
    segment((16, 22, 22), (30, 10, 34), 2.4)
    segment((16, 22, 22), (22, 36, 36), 2.4)
    segment((30, 10, 34), (36, 4, 44), 1.7)
    segment((30, 10, 34), (36, 18, 42), 1.7)
    segment((22, 36, 36), (34, 40, 44), 1.7)
    return 1 / (1 + np.exp(2.5 * axes))


def same_bits(first: Any, second: Any) -> bool:
    """Whether two arrays agree in type, shape and every bit (so 0.0 differs from -0.0)."""
    a, b = np.ascontiguousarray(first), np.ascontiguousarray(second)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def close(got: Any, wanted: Any, absolute: float, relative: float = 0.0) -> bool:
    """Whether two arrays of one shape agree within tolerances; NaN agrees with nothing."""
    a, b = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return a.shape == b.shape and bool((np.abs(a - b) <= absolute + relative * np.abs(b)).all())


def golden_tolerance(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the absolute and relative tolerance of tests/golden/README.md."""
    return (1e-12, 1e-12) if dtype == np.float64 else (1e-5, 1e-4)
