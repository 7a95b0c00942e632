"""Values of a map on a grid whose voxels are larger than those of the map: means over each voxel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.volume import Volume

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]
Sample = Callable[[Volume, Matrix], Array]

# A voxel that is longer than one of the map by this share is still sampled at its centre: interpolation misses nothing.
_SLIGHTLY: Final = 0.1
# The number of places that are sampled at once.
_AT_ONCE: Final = 1 << 23


def parts(matrix: Matrix, dims: int) -> tuple[int, int, int]:
    """Return into how many parts the voxels of a grid are cut along each axis, so that each is at most a voxel long.

    Args:
        matrix: The 4 x 4 matrix from indices (z, y, x, 1) of the grid to those of the map.
        dims: The number of spatial axes of the grid: 2 or 3; a plane has no thickness.

    >>> parts(np.diag([0.5, 1.0, 2.5, 1.0]), 3)
    (1, 1, 3)
    """
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    z, y, x = (
        max(1, math.ceil(step - _SLIGHTLY)) if axis >= 3 - dims else 1 for axis, step in enumerate(steps)
    )
    return z, y, x


def averaged(sample: Sample, grid: Volume, matrix: Matrix) -> Array:
    """Return a map on a grid: sampled at the centres of its voxels, or where they are larger, means of several samples.

    Samples alone would miss what is thinner than the distance between them.

    Args:
        sample: A function that returns the map at the centres of another grid, of shape (C, ...), given the grid and
            the matrix from its indices to those of the map. It uses the shape of the grid only.
        grid: The grid.
        matrix: The matrix from its indices to those of the map.
    """
    counts = parts(matrix, grid.spatial_dims)
    if counts == (1, 1, 1):
        return sample(grid, matrix)
    shape = grid.array.shape[-grid.spatial_dims :]
    cuts = counts[3 - len(shape) :]
    slabs = []
    for start, stop in _slabs(shape[0], _AT_ONCE // (math.prod(shape[1:]) * math.prod(cuts))):
        sizes = [size * cut for size, cut in zip((stop - start, *shape[1:]), cuts, strict=True)]
        finer = np.diag([*(1 / cut for cut in counts), 1.0])
        finer[:3, 3] = [0.5 / cut - 0.5 for cut in counts]
        finer[3 - len(shape), 3] += start
        array = np.broadcast_to(np.zeros((), grid.array.dtype), sizes)
        found = sample(replace(grid, array=array, axes=grid.spatial_axes, channels=None), matrix @ finer)
        split = [n for size, cut in zip(sizes, cuts, strict=True) for n in (size // cut, cut)]
        slabs.append(found.reshape(len(found), *split).mean(tuple(range(2, 2 * len(shape) + 1, 2))))
    return np.concatenate(slabs, axis=1)


def _slabs(count: int, rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, max(1, rows)):
        yield start, min(count, start + max(1, rows))
