"""Counts of the loops (classes of H_1) of 3D masks that are still loops in a larger mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softmorph_cli.metrics.warping import Mask, Voxels, warp
from softmorph_cli.skeleton.links import neighbours
from softmorph_cli.system.interruption import interruptible


def kept_loops(small: Mask, large: Mask, connectivity: int) -> int:
    """Return how many independent loops of a mask are loops of a larger mask: the rank of H_1(small) -> H_1(large).

    Both masks have shape (Z, Y, X), and `small` lies inside `large`. The masks are thinned by flips of simple voxels,
    which change neither the homology of the masks nor the maps between their homology groups, so that gudhi has few
    voxels to process. `connectivity` is that of both masks: 6 or 26.
    """
    line = _thin(small, connectivity)
    return _rank([line], warp(large, line, connectivity), connectivity)


def common_loops(first: Mask, second: Mask, connectivity: int) -> int:
    """Return how many independent loops two masks have in common within the union of the masks.

    It is the dimension of the intersection of the images of H_1 of both masks in H_1 of the union. The masks have shape
    (Z, Y, X) and the same connectivity, 6 or 26.
    """
    lines = [_thin(mask, connectivity) for mask in (first, second)]
    union = warp(first | second, lines[0] | lines[1], connectivity)
    alone = sum(_rank([line], union, connectivity) for line in lines)
    return alone - _rank(lines, union, connectivity)


def _thin(mask: Mask, connectivity: int) -> Mask:
    return warp(mask, np.zeros_like(mask), connectivity)


def _rank(parts: Sequence[Mask], whole: Mask, connectivity: int) -> int:
    """Return the rank of the sum of the maps from H_1 of each part to H_1 of the whole.

    A filtration begins with the disjoint parts and ends with the whole; the rank is the number of loops that are born
    in the parts and never die. A voxel that several parts contain is duplicated; the whole connects each copy with the
    voxel that it copies and with the neighbours of that voxel.
    """
    voxels = np.argwhere(whole)
    edges = _edges(voxels, whole, connectivity)
    first, later, total = [], [edges], len(voxels)
    taken = np.zeros(len(voxels), bool)
    for part in parts:
        inside = part[whole]
        copied = np.flatnonzero(inside & taken)
        taken |= inside
        number = np.arange(len(voxels))
        number[copied] = total + np.arange(len(copied))
        total += len(copied)
        first.append(number[_edges(voxels, part, connectivity)])
        joined = np.concatenate([edges, edges[:, ::-1], np.stack([copied, copied], axis=1)])
        joined = joined[number[joined[:, 0]] >= len(voxels)]
        later.append(np.stack([number[joined[:, 0]], joined[:, 1]], axis=1))
    rank: int = interruptible(lambda: _persistent(total, np.concatenate(first), np.concatenate(later)))
    return rank


def _persistent(voxels: int, first: Voxels, later: Voxels) -> int:
    """Return the rank of H1(K1) -> H1(K2), the number of independent loops of K1 that are not filled in K2.

    K1 is the clique complex of the graph of the edges `first`, K2 the clique complex of the graph of the edges `first`
    and `later` together; both have `voxels` vertices. Edges are pairs of vertex indices.
    """
    import gudhi

    tree = gudhi.SimplexTree()
    # The level of vertices does not matter for loops.
    tree.insert_batch(np.arange(voxels)[None], np.zeros(voxels))
    # An edge that is inserted twice keeps its first level.
    for level, edges in enumerate((first, later)):
        tree.insert_batch(edges.T, np.full(len(edges), float(level)))
    # Removes edges that the loops do not depend on: in noise most edges, and with them most triangles.
    tree = tree.collapse_edges()
    # Loops are determined by triangles.
    tree.expansion(2)
    # Without triangles, loops have the highest dimension, which gudhi omits by default.
    tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
    found = np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)
    return int(np.count_nonzero((found[:, 0] == 0) & np.isinf(found[:, 1])))


def _edges(voxels: Voxels, mask: Mask, connectivity: int) -> Voxels:
    """Return the edges of a graph on the voxels of a mask whose clique complex has the loops of the mask.

    An edge is a pair of row indices of `voxels`, the array indices of a larger mask.
    """
    numbers = np.flatnonzero(mask[tuple(voxels.T)])
    voxels = voxels[numbers]
    pairs = neighbours(voxels)
    # Cubes that touch pairwise share a point: their nerve is the clique complex.
    if connectivity == 6:
        # A square of four voxels fills its loop: a diagonal in a fixed direction divides it into two triangles.
        step = voxels[pairs[:, 1]] - voxels[pairs[:, 0]]
        faces = np.abs(step).sum(axis=1) == 1
        square = (np.abs(step).sum(axis=1) == 2) & (np.abs(step.sum(axis=1)) == 2)
        for axis in np.eye(3, dtype=np.intp):
            square &= mask[tuple((voxels[pairs[:, 0]] + step * axis).T)]
        pairs = pairs[faces | square]
    edges: Voxels = numbers[pairs]
    return edges
