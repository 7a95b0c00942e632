"""Filling cavities: background that is enclosed on all sides, around which thinning would leave a closed shell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def filled(image: npt.NDArray[Any], threshold: float) -> tuple[npt.NDArray[Any], int, int]:
    """Return a map without the cavities of {p > threshold}.

    Args:
        image: Probabilities, shape (Y, X) or (Z, Y, X); an image has holes, which are loops of its centreline, but
            no cavities.
        threshold: Above it is foreground (26-connected; the background is 6-connected).

    Returns:
        The map itself where there is nothing to fill, or a copy with 1 in its cavities; how many cavities there
        were, and how many voxels they had.
    """
    if image.ndim < 3:
        return image, 0, 0
    import SimpleITK

    # ITK works on runs of voxels; labelling with SciPy would take four more bytes for each voxel.
    mask = (image > threshold).view(np.uint8)
    fill: Any = SimpleITK.BinaryFillhole
    # Held by name: the array below is a view of its memory.
    whole = fill(SimpleITK.GetImageFromArray(mask), False, 1)
    holes = SimpleITK.GetArrayViewFromImage(whole) != mask
    voxels = int(np.count_nonzero(holes))
    if voxels == 0:
        return image, 0, 0
    from scipy.ndimage import label

    where = np.nonzero(holes)
    box = tuple(slice(int(along.min()), int(along.max()) + 1) for along in where)
    copy = image.copy()
    copy[where] = 1
    return copy, int(label(holes[box])[1]), voxels
