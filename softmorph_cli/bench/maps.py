"""Synthetic maps for benchmarks, drawn at random from a fixed seed and so equal on every machine."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]
ITEMSIZE: Final = 4

# Number of random walks in an image 256 voxels wide, for about 5 % of voxels above 0.5, by dimension.
WALKS: Final = {3: 160, 2: 3}
STEPS: Final = 8  # length of a straight piece of tube in voxels
SOFTNESS: Final = 0.8
# Beyond this distance from the surface, where it would be below 1/1800, the probability is 0, as in predicted maps.
SKIRT: Final = 6.0


def noise(shape: tuple[int, ...], seed: int = 0) -> Map:
    """Return a map of independent uniform values, in which filters have to compute every voxel."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def vessels(shape: tuple[int, ...], seed: int = 1) -> Map:
    """Return a map of soft tubes along random walks, whose share of the voxels hardly depends on the map's size.

    The probability is 1 / (1 + exp(-d / 0.8)), where d is the distance in voxels to the tubes' surface, positive
    inside.
    """
    rng = np.random.default_rng(seed)
    dimensions = len(shape)
    inside = np.full(shape, -SKIRT, np.float32)
    size = float(np.prod(shape)) ** (1 / dimensions)
    for _ in range(max(1, round(WALKS[dimensions] * (size / 256) ** (dimensions - 1)))):
        place, course = rng.random(dimensions) * shape, rng.normal(size=dimensions)
        radius = rng.uniform(1.5, 5)
        for _ in range(max(1, round(2 * size / STEPS))):
            course += 0.08 * STEPS**0.5 * rng.normal(size=dimensions)
            course /= np.linalg.norm(course)
            end = place + STEPS * course
            _draw_piece(inside, place, end, radius)
            place = end
            if (place < 0).any() or (place >= shape).any():
                break
    np.divide(inside, -SOFTNESS, out=inside)
    empty = inside >= SKIRT / SOFTNESS
    np.exp(inside, out=inside)
    inside += 1
    np.reciprocal(inside, out=inside)
    inside[empty] = 0
    return inside


def _draw_piece(inside: Map, start: npt.NDArray[Any], end: npt.NDArray[Any], radius: float) -> None:
    """Raise each voxel of `inside`, in place, to its depth within a straight tube with round ends, if that is more."""
    low = np.maximum(np.floor(np.minimum(start, end) - radius - SKIRT), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + radius + SKIRT) + 1, inside.shape).astype(int)
    if (low >= high).any():
        return
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    # Coordinates relative to the start of the piece, whose axis is `step`.
    grid = [axis.astype(np.float32) - np.float32(p) for axis, p in zip(np.ogrid[box], start, strict=True)]
    step = (end - start).astype(np.float32)
    along = sum(g * s for g, s in zip(grid, step, strict=True)) / np.float32(step @ step)
    along = np.clip(along, 0, 1)
    square = sum((g - along * s) ** 2 for g, s in zip(grid, step, strict=True))
    np.maximum(inside[box], np.float32(radius) - np.sqrt(square), out=inside[box])


DRAWN: Final = {"noise": noise, "vessels": vessels}
