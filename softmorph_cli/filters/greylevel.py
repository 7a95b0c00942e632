"""Grey-level hole filling and area opening by ITK, and connected components.

Hole filling and area opening commute with thresholds: each level set {p > t} of the result is the binary filter of the
level set of the map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[Any]


def fill(image: Image, spatial_dims: int) -> Image:
    """Return the image with holes filled: enclosed regions of lower values rise to their spill level (lowest rim).

    Args:
        image: Probabilities, shape (..., Y, X) or (..., Z, Y, X).
        spatial_dims: The number of spatial dimensions, 2 or 3. A hole is enclosed background in 2D, a cavity in 3D;
            background is 4- or 6-connected, because foreground is 8- or 26-connected.

    Source: Soille, *Morphological Image Analysis* (2003), 6.3.7; ITK's GrayscaleFillholeImageFilter.
    """
    import SimpleITK

    filled: Callable[..., Any] = SimpleITK.GrayscaleFillhole

    def one(plane: Image) -> Image:
        result = filled(SimpleITK.GetImageFromArray(np.ascontiguousarray(plane)), False)
        return np.asarray(SimpleITK.GetArrayFromImage(result))

    return _each(image, spatial_dims, one)


def despeckle(image: Image, voxels: int, spatial_dims: int) -> Image:
    """Return the image without components of fewer than `voxels` voxels at every level (area opening).

    Args:
        image: Probabilities, shape (..., Y, X) or (..., Z, Y, X).
        voxels: The minimal size of a component, which is 8- or 26-connected.
        spatial_dims: The number of spatial dimensions, 2 or 3.

    Source: Vincent, *Grayscale area openings and closings* (1994); ITK's AreaOpeningImageFilter.
    """
    import SimpleITK

    make: Callable[[], Any] = SimpleITK.AreaOpeningImageFilter
    opening = make()
    # Half a voxel less: sizes are compared as floating-point numbers.
    opening.SetLambda(voxels - 0.5)
    opening.SetUseImageSpacing(False)
    opening.SetFullyConnected(True)

    def one(plane: Image) -> Image:
        # ITK 2.5.7 miscounts objects that touch the image's border: zeros are padded.
        image = SimpleITK.GetImageFromArray(np.pad(plane, 1))
        opened = np.asarray(SimpleITK.GetArrayFromImage(opening.Execute(image)))
        return np.ascontiguousarray(opened[(slice(1, -1),) * spatial_dims])

    return _each(image, spatial_dims, one)


def components(
    image: Image, threshold: float, spatial_dims: int, *, largest: int | None = None, voxels: int = 1
) -> npt.NDArray[np.int32]:
    """Return a label image of the components of {p > threshold}, 8- or 26-connected: 1 is the largest, 0 background.

    Args:
        image: Probabilities, shape (..., Y, X) or (..., Z, Y, X).
        threshold: Voxels with values above the threshold are foreground.
        spatial_dims: The number of spatial dimensions, 2 or 3.
        largest: The number of components to keep; None for all.
        voxels: The minimal size of a component; smaller components are background.
    """
    from scipy.ndimage import label

    def one(plane: Image) -> Image:
        labels, count = label(plane > threshold, np.ones((3,) * spatial_dims, bool))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        # Components of equal size in array order.
        order = np.argsort(-sizes, kind="stable")
        kept = order[sizes[order] >= voxels][:largest]
        number = np.zeros(count + 1, np.int32)
        number[kept + 1] = np.arange(1, len(kept) + 1)
        return number[labels]

    return _each(image, spatial_dims, one, np.int32)


def _each(image: Image, spatial_dims: int, one: Callable[[Image], Image], dtype: Any = None) -> Image:
    mapped = image.shape[: image.ndim - spatial_dims]
    if not mapped:
        return one(image)
    result = np.empty(image.shape, dtype or image.dtype)
    for index in np.ndindex(mapped):
        result[index] = one(image[index])
    return result
