"""Finds out by distances to the border what a mask shows: lines, vessels or blobs."""

from __future__ import annotations

from math import pi
from typing import Any, Final, Literal

import numpy as np

from softmorph_cli.io.raw import Array

Shape = Literal["lines", "vessels", "blobs"]

_FEWEST: Final = 30
_MOST_OF_IT: Final = 0.5
_POINTS: Final = 200
# The ball around a point of the centreline, in radii of what is there; and the share of it that is foreground. A long
# tube fills 3 r / (2 R) of a ball of R in 2D about 4 r / (pi R), in 3D 1.5 (r / R)^2; a lone ball fills (r / R)^d.
_REACH: Final = 3.0
_BLOB: Final = {2: 0.17, 3: 0.075}
_VESSEL: Final = {2: 0.45, 3: 0.36}
# Noise is thin too, but in specks, or everywhere.
_SPECK: Final = 10
_LINES: Final = 0.25


def shape_of(mask: Array, sizes: tuple[float, ...]) -> Shape | None:
    """Return what a mask shows, by the share of foreground in balls around points of its centre.

    Args:
        mask: A Boolean array (Y, X) or (Z, Y, X).
        sizes: The size of a voxel along each axis.

    Returns:
        "lines" if nothing is wider than two voxels, "vessels" if most of it is long and thin, "blobs" if most of it is
        as wide as long and apart from its neighbours; None if it is too small, or neither.
    """
    from scipy import ndimage

    if mask.sum() < _FEWEST or mask.mean() > _MOST_OF_IT:
        return None
    share, mask = float(mask.mean()), np.pad(mask, 1)
    steps = ndimage.distance_transform_edt(mask)
    if float((steps[mask] > 1).mean()) < 0.02:
        parts = ndimage.label(mask, np.ones((3,) * mask.ndim))[1]
        return "lines" if share < _LINES and parts * _SPECK <= mask.sum() else None
    # In units of the smallest step.
    relative = [size / min(sizes) for size in sizes]
    depth = ndimage.distance_transform_edt(mask, sampling=relative)
    middle = np.argwhere(mask & (depth >= ndimage.maximum_filter(depth, 3)))
    radii = depth[tuple(middle.T)]
    # Where much of the mask is, most points are: each stands for the ball around it.
    chance = radii**mask.ndim
    draw = np.random.default_rng(0)
    drawn = draw.choice(len(middle), min(_POINTS, len(middle)), replace=False, p=chance / chance.sum())
    filled = float(np.median([_filled(mask, middle[one], radii[one], relative) for one in drawn]))
    if filled < _BLOB[mask.ndim]:
        return "blobs"
    return "vessels" if filled < _VESSEL[mask.ndim] else None


def _filled(mask: Array, at: Array, radius: float, sizes: list[float]) -> float:
    """Return the share of foreground in the ball of `_REACH` radii around a voxel."""
    reach = _REACH * radius
    cuts, squares = [], 0.0
    for axis, size in enumerate(sizes):
        low = max(0, int(np.ceil(at[axis] - reach / size)))
        high = min(mask.shape[axis] - 1, int(at[axis] + reach / size))
        cuts.append(slice(low, high + 1))
        offsets: Any = ((np.arange(low, high + 1) - at[axis]) * size) ** 2
        squares = squares + offsets.reshape([-1 if other == axis else 1 for other in range(mask.ndim)])
    inside = squares <= reach**2
    # By volume, so that what lies outside of the image counts as background.
    ball = (pi if mask.ndim == 2 else 4 / 3 * pi) * reach**mask.ndim / float(np.prod(sizes))
    return float((mask[tuple(cuts)] & inside).sum() / ball)
