"""How far the surfaces of two masks are apart, element by element: by DeepMind's surface-distance.

An element of a surface lies where 2 x 2 (x 2) voxels meet that are not all alike, in their middle. Its area is that of
the piece of the marching cubes' surface within them, in 2D the length of the marching squares' contour.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

# As the library gives it: each element's distance to the other surface and its area, of both surfaces, by name.
Distances = Mapping[str, npt.NDArray[np.float64]]


def between(
    prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_], spacing: Sequence[float]
) -> Distances:
    """Return the distances of both surfaces' elements to the other surface; outside of the image is background.

    Beside the masks it takes about 60 bytes for each voxel of the box around both.

    Args:
        prediction: A mask, shape (Y, X) or (Z, Y, X), not empty.
        reference: The same.
        spacing: The sides of a voxel; distances are in their unit.
    """
    import surface_distance

    with warnings.catch_warnings():
        # Version 0.1 still calls scipy.ndimage by its old names.
        warnings.filterwarnings("ignore", "Please (import|use)", DeprecationWarning)
        found: Distances = surface_distance.compute_surface_distances(reference, prediction, spacing)
    return found


def hausdorff(found: Distances, percent: float) -> float:
    """Return the larger one, over both surfaces, of the least distance within which so much of its area lies."""
    import surface_distance

    return float(surface_distance.compute_robust_hausdorff(found, percent))


def average(found: Distances) -> float:
    """Return the mean distance over both surfaces together, each element weighted by its area."""
    total = area = 0.0
    for distance, areas in (
        ("distances_pred_to_gt", "surfel_areas_pred"),
        ("distances_gt_to_pred", "surfel_areas_gt"),
    ):
        total += float(found[distance] @ found[areas])
        area += float(found[areas].sum())
    return total / area


def within(found: Distances, tolerance: float) -> float:
    """Return the share of both surfaces' area that is at most so far from the other surface."""
    import surface_distance

    # Three voxels of 0.1 are further than 0.3 in floating point.
    return float(surface_distance.compute_surface_dice_at_tolerance(found, tolerance * (1 + 1e-9)))
