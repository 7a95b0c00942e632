"""The length of a branch: a chain of voxels is longer than the curve it follows, so it is smoothed first.

A moving average is the usual choice. A local parabola (Savitzky & Golay, Analytical Chemistry 36, 1964) keeps what an
average cuts short, the curvature: on drawn rings of radius 6 the error is -1.5 % where 9 averaged points give -9 %, on
straight lines both are within half a percent (`tests/skeleton/test_accuracy.py` measures it).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Points that a parabola is fitted to.
WINDOW: Final = 15


def smooth(points: npt.NDArray[Any], *, closed: bool = False) -> npt.NDArray[np.float64]:
    """Return a chain of points smoothed by local parabolas, its two ends kept where they are.

    Args:
        points: Shape (N, 3), along the chain; the last is the first again where it is closed.
        closed: Whether it is a ring, which has no ends: it is smoothed around.
    """
    from scipy.signal import savgol_filter

    points = np.asarray(points, np.float64)
    # Around the first point, so that places far from the origin lose no digits.
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
    """Return the length of a polyline."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
