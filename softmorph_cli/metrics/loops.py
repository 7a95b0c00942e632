"""Loops of masks in 3D that are loops of a larger mask too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softmorph_cli.metrics.warping import Mask, Voxels, warp
from softmorph_cli.skeleton.links import neighbours
from softmorph_cli.system.interruption import interruptible


def kept_loops(small: Mask, large: Mask, connectivity: int) -> int:
    """Return the rank of H_1(small) -> H_1(large).

    All masks are thinned first by flips of simple voxels, which changes neither their homology nor the maps between:
    of a network few voxels are left for gudhi.

    Args:
        small: A mask, shape (Z, Y, X), within the other.
        large: The other.
        connectivity: Of both: 6 or 26.
    """
    line = _thin(small, connectivity)
    return _rank([line], warp(large, line, connectivity), connectivity)


def common_loops(first: Mask, second: Mask, connectivity: int) -> int:
    """Return the dimension of the common part of the images of H_1 of two masks in H_1 of their union.

    Args:
        first: A mask, shape (Z, Y, X).
        second: Another.
        connectivity: Of both: 6 or 26.
    """
    lines = [_thin(mask, connectivity) for mask in (first, second)]
    union = warp(first | second, lines[0] | lines[1], connectivity)
    alone = sum(_rank([line], union, connectivity) for line in lines)
    return alone - _rank(lines, union, connectivity)


def _thin(mask: Mask, connectivity: int) -> Mask:
    return warp(mask, np.zeros_like(mask), connectivity)


def _rank(parts: Sequence[Mask], whole: Mask, connectivity: int) -> int:
    """Return the rank of the sum of the maps from H_1 of each part to H_1 of the whole.

    At first there are the parts, apart from each other; then comes the whole. A loop that is there at first and lasts
    is one of the whole. Voxels that an earlier part has too are copied, and the whole joins each copy to its voxel and
    its voxel's neighbours.
    """
    voxels = np.argwhere(whole)
    everywhere = _edges(voxels, whole, connectivity)
    at_first, later, total = [], [everywhere], len(voxels)
    taken = np.zeros(len(voxels), bool)
    for part in parts:
        inside = part[whole]
        copied = np.flatnonzero(inside & taken)
        taken |= inside
        number = np.arange(len(voxels))
        number[copied] = total + np.arange(len(copied))
        total += len(copied)
        at_first.append(number[_edges(voxels, part, connectivity)])
        joined = np.concatenate([everywhere, everywhere[:, ::-1], np.stack([copied, copied], axis=1)])
        joined = joined[number[joined[:, 0]] >= len(voxels)]
        later.append(np.stack([number[joined[:, 0]], joined[:, 1]], axis=1))
    found: int = interruptible(lambda: _lasting(total, np.concatenate(at_first), np.concatenate(later)))
    return found


def _lasting(voxels: int, at_first: Voxels, later: Voxels) -> int:
    """Return how many loops of a clique complex are there with the first edges, and last when the others come."""
    import gudhi

    tree = gudhi.SimplexTree()
    # Of loops it makes no difference when voxels come.
    tree.insert_batch(np.arange(voxels)[None], np.zeros(voxels))
    # What is inserted first keeps its level.
    for level, edges in enumerate((at_first, later)):
        tree.insert_batch(edges.T, np.full(len(edges), float(level)))
    # Edges without which the loops are the same: of noise most are, and with them most triangles.
    tree = tree.collapse_edges()
    # Loops need no more than triangles.
    tree.expansion(2)
    # Without a triangle loops are of the highest dimension, which gudhi leaves out where it is not asked.
    tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=True)
    found = np.asarray(tree.persistence_intervals_in_dimension(1)).reshape(-1, 2)
    return int(np.count_nonzero((found[:, 0] == 0) & np.isinf(found[:, 1])))


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
