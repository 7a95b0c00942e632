"""The radius of an object at its centreline: the radius of the largest ball inside the surface near a voxel.

The surface passes between voxels, where the linearly interpolated map equals the threshold, so radii are finer than the
grid and a line one voxel wide has radius 0.5. A k-d tree of the surface's points is queried at the voxels of the
skeleton only; a distance transform would take 20 bytes for each voxel of the image. A voxel of the centreline lies up
to one voxel off the axis, too near to one side of the surface, so each place is moved away from its nearest surface
point up to three times, if the move increases the radius. On synthetic tubes of radius 3 the mean radius is 2.9, with a
distance transform 2.6. The border of the image is not part of the surface.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.trace import Sample, Voxels

# Length of each move, in voxel sides along the axis of the largest component.
STEPS: Final = (0.5, 0.5, 0.25)
# Number of voxels searched at once: bounds the memory of intermediate arrays.
BLOCK: Final = 2**22


def surface(image: npt.NDArray[Any], threshold: float, frame: Frame) -> npt.NDArray[np.float64]:
    """Return the points, in world coordinates (N, 3), where a map crosses the threshold between face neighbours."""
    rows = max(1, BLOCK // math.prod(image.shape[1:]))
    found = []
    for start in range(0, len(image), rows):
        # One more row, for the faces between this block and the next.
        block = image[start : start + rows + 1]
        inside = block > threshold
        for axis in range(image.ndim):
            whole = len(block) if axis == 0 else min(rows, len(block))
            low, high = (_cut(axis, image.ndim, whole, part) for part in (slice(None, -1), slice(1, None)))
            differ = inside[low] != inside[high]
            # `flatnonzero` is many times faster than `nonzero` of three axes.
            crossed = np.unravel_index(np.flatnonzero(differ), differ.shape)
            begin = block[low][crossed].astype(np.float64)
            share = (threshold - begin) / (block[high][crossed] - begin)
            index = np.stack(crossed, axis=1).astype(np.float64)
            index[:, axis] += share
            index[:, 0] += start
            found.append(frame.world(index))
    return np.concatenate(found) if found else np.zeros((0, 3))


def _cut(axis: int, dims: int, rows: int, part: slice) -> tuple[slice, ...]:
    cut = [slice(None)] * dims
    cut[0] = slice(rows)
    cut[axis] = slice(*part.indices(rows)[:2]) if axis == 0 else part
    return tuple(cut)


def radii(image: npt.NDArray[Any], threshold: float, frame: Frame) -> Sample | None:
    """Return a sampler of the radius: a function that returns the radius at given voxels, in the unit of the frame.

    The radius is 0 outside {p > threshold}. The result is None if the map nowhere crosses the threshold.
    """
    from scipy.spatial import cKDTree

    points = surface(image, threshold, frame)
    if len(points) == 0:
        return None
    tree: Any = cKDTree(points, balanced_tree=False, compact_nodes=False)

    def sample(voxels: Voxels) -> npt.NDArray[np.float64]:
        places = frame.world(voxels)
        radius, nearest = tree.query(places, workers=-1)
        for step in STEPS:
            away = places - points[nearest]
            sides = np.abs(away @ frame.inverse.T).max(axis=1, keepdims=True)
            moved = places + step * away / np.maximum(sides, np.finfo(float).tiny)
            further, then = tree.query(moved, workers=-1)
            better = further > radius
            places[better], radius[better], nearest[better] = moved[better], further[better], then[better]
        return np.where(image[tuple(voxels.T)] > threshold, radius, 0.0)

    return sample
