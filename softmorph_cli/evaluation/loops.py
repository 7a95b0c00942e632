"""Loops on the way from a mask to a larger one: which are filled there, and which are new."""

from __future__ import annotations

import numpy as np

from softmorph_cli.evaluation.warp import Mask, warp
from softmorph_cli.graphs.links import Voxels, neighbours


def unpaired_loops(small: Mask, large: Mask, connectivity: int) -> int:
    """Return dim ker + dim coker of H_1(small) -> H_1(large).

    Both are changed first, by flips of simple voxels, which changes neither the homology nor the map: they come as near
    to each other as that goes, and then both lose what is not next to a voxel in which they differ. Of a network few
    voxels are left for gudhi.

    Args:
        small: A mask, shape (Z, Y, X), within the other.
        large: The other.
        connectivity: Of both: 6 or 26.
    """
    large = warp(large, small, connectivity)
    small = warp(small, large, connectivity)
    new = large & ~small
    if not new.any():
        return 0
    import gudhi
    from scipy.ndimage import binary_dilation

    # Elsewhere both look the same around a voxel: it is simple in both or in neither.
    whole = warp(large, large & binary_dilation(new, np.ones((3, 3, 3), bool)), connectivity)
    core = whole & ~new
    voxels = np.argwhere(whole)
    tree = gudhi.SimplexTree()
    tree.insert_batch(np.arange(len(voxels))[None], np.where(core[whole], 0.0, 1.0))
    # What is there in the smaller mask comes first; what is in the larger one alone comes second.
    for level, mask in enumerate((core, whole)):
        edges = _edges(voxels, mask, connectivity)
        tree.insert_batch(edges.T, np.full(len(edges), float(level)))
    # Loops need no more than triangles.
    tree.expansion(2)
    # Without a triangle loops are of the highest dimension, which gudhi leaves out where it is not asked.
    tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
    found = np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)
    return int(np.count_nonzero((found[:, 0] == 1) | (found[:, 1] == 1)))


def _edges(voxels: Voxels, mask: Mask, connectivity: int) -> Voxels:
    """Return pairs of those voxels that are in the mask, by number; their cliques make a complex with its loops."""
    numbers = np.flatnonzero(mask[tuple(voxels.T)])
    voxels = voxels[numbers]
    pairs = neighbours(voxels)
    # Cubes that touch pairwise have a point in common: their nerve is the clique complex.
    if connectivity == 6:
        # Through faces, four voxels in a square fill a loop: a diagonal, always the same one, makes two triangles.
        step = voxels[pairs[:, 1]] - voxels[pairs[:, 0]]
        faces = np.abs(step).sum(axis=1) == 1
        square = (np.abs(step).sum(axis=1) == 2) & (np.abs(step.sum(axis=1)) == 2)
        for axis in np.eye(3, dtype=np.intp):
            square &= mask[tuple((voxels[pairs[:, 0]] + step * axis).T)]
        pairs = pairs[faces | square]
    edges: Voxels = numbers[pairs]
    return edges
