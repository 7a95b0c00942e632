"""The length of a branch: a chain of voxels is longer than the curve it follows, so it is smoothed first."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Voxels to either side that a place is averaged over: 9 in all.
REACH: Final = 4


def smooth(points: npt.NDArray[Any], *, closed: bool = False) -> npt.NDArray[np.float64]:
    """Return a moving average over 9 points that keeps both ends where they are.

    Near an end the window shrinks to what lies evenly around a point. A closed chain has no ends: it is averaged
    around.

    Args:
        points: Shape (N, 3), along the chain; the last is the first again where it is closed.
        closed: Whether it is a ring.
    """
    points = np.asarray(points, np.float64)
    count = len(points)
    if closed:
        ring = points[:-1]
        reach = min(REACH, (len(ring) - 1) // 2)
        wrapped = np.concatenate([ring[len(ring) - reach :], ring, ring[:reach]])
        averaged = _windows(wrapped, np.full(len(wrapped), reach))[reach : reach + len(ring)]
        return np.concatenate([averaged, averaged[:1]])
    place = np.arange(count)
    return _windows(points, np.minimum(REACH, np.minimum(place, count - 1 - place)))


def length(points: npt.NDArray[np.float64]) -> float:
    """Return the length of a polyline."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _windows(points: npt.NDArray[np.float64], reach: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return at each place the mean of the points up to `reach` away; where they run out, what there is."""
    # Sums are taken from the middle of the chain, so that places far from the origin lose no digits.
    middle = points[len(points) // 2]
    sums = np.concatenate([np.zeros((1, points.shape[1])), np.cumsum(points - middle, axis=0)])
    place = np.arange(len(points))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(points))
    averaged: npt.NDArray[np.float64] = (sums[high] - sums[low]) / (high - low)[:, None] + middle
    # A window of one is the point itself, to the last bit.
    averaged[reach == 0] = points[reach == 0]
    return averaged
