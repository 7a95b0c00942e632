"""How wide a vessel is at its centreline: the distance to the surface where the map crosses the threshold.

The surface is taken between voxels, where linear interpolation of the map reaches the threshold, so radii are finer
than the grid and a line one voxel wide has radius one half. Distances are asked for at the skeleton's voxels alone,
through SciPy's tree of the surface's points: a distance transform would answer everywhere, and takes 12 bytes a voxel
and minutes at 512^3. Beyond the image's border nothing is known: it is no surface.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.graphs.frame import Frame
from softmorph_cli.graphs.trace import Sample


def surface(image: npt.NDArray[Any], threshold: float, frame: Frame) -> npt.NDArray[np.float64]:
    """Return the places, shape (N, 3), where the map crosses the threshold between two voxels that share a face.

    Args:
        image: Probabilities, shape (Y, X) or (Z, Y, X).
        threshold: Inside is what is above it.
        frame: Where the voxels lie.
    """
    inside = image > threshold
    found = []
    for axis in range(image.ndim):
        before = tuple(slice(None, -1) if k == axis else slice(None) for k in range(image.ndim))
        after = tuple(slice(1, None) if k == axis else slice(None) for k in range(image.ndim))
        index = np.stack(np.nonzero(inside[before] != inside[after]), axis=1)
        step = np.zeros(image.ndim, int)
        step[axis] = 1
        low = image[tuple(index.T)].astype(np.float64)
        high = image[tuple((index + step).T)].astype(np.float64)
        share = (threshold - low) / (high - low)
        found.append(frame.world(index + step * share[:, None]))
    return np.concatenate(found)


def radii(image: npt.NDArray[Any], threshold: float, frame: Frame) -> Sample | None:
    """Return what tells the distance of voxels, shape (N, d), to the surface; None where there is none.

    Args:
        image: Probabilities.
        threshold: Inside is what is above it.
        frame: Where the voxels lie; radii are in its unit.
    """
    from scipy.spatial import cKDTree

    points = surface(image, threshold, frame)
    if len(points) == 0:
        return None
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    return lambda voxels: np.asarray(tree.query(frame.world(voxels), workers=-1)[0])
