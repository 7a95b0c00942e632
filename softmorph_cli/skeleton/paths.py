"""Smoothing and length of a branch of a skeleton.

A chain of voxels is longer than the curve it samples, so it is smoothed before it is measured. A local parabola
(Savitzky & Golay, Analytical Chemistry 36, 1964) keeps the curvature that a moving average cuts short: on rings of
radius 6 the error is -1.5 %, that of a 9-point average -9 %; on straight lines both are within half a percent
(`tests/skeleton/test_accuracy.py` measures it).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Number of points that each parabola is fitted to.
WINDOW: Final = 15


def smooth(points: npt.NDArray[Any], *, closed: bool = False) -> npt.NDArray[np.float64]:
    """Return a chain of points, shape (N, 3), smoothed by local parabolas; the two end points do not move.

    The last point of a closed chain repeats its first point; a closed chain is smoothed periodically, and all of its
    points may move.
    """
    from scipy.signal import savgol_filter

    points = np.asarray(points, np.float64)
    # Relative to the first point, so that places far from the origin lose no digits.
    chain = points - points[0]
    if closed:
        chain = chain[:-1]
    window = min(WINDOW, len(chain) - (len(chain) + 1) % 2)
    if window < 5:  # a parabola through three points changes nothing
        return points
    smoothed = savgol_filter(chain, window, 2, axis=0, mode="wrap" if closed else "interp") + points[0]
    if closed:
        return np.concatenate([smoothed, smoothed[:1]])
    smoothed[0], smoothed[-1] = points[0], points[-1]
    return np.asarray(smoothed, np.float64)


def length(points: npt.NDArray[np.float64]) -> float:
    """Return the length of the polyline through the points, shape (N, 3)."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
