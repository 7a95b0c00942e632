"""Which voxels of a skeleton follow each other: adjacency without the edges that only close a corner.

Voxels that share a corner are neighbours (8 in 2D, 26 in 3D). Where a skeleton turns or forks, three or four of
them are all neighbours of each other, and a graph with all these edges has cycles that are no loops and junctions
that are none. An edge whose two ends have all their common neighbours beside one of them can go: the complex of
cliques, which has the shape of the skeleton itself, keeps its homotopy type (Boissonnat & Pritam, *Edge collapse
and persistence of flag complexes*, SoCG 2020). What is left has as many independent cycles as the skeleton has
loops, unless it holds closed surfaces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Voxels = npt.NDArray[np.intp]


def neighbours(voxels: Voxels) -> Voxels:
    """Return the pairs of voxels, shape (M, 2), by number, that share a corner.

    Args:
        voxels: Array indices, shape (N, 2) or (N, 3), each voxel once.
    """
    from scipy.spatial import cKDTree

    # Within a distance of 1 along every axis; the half makes up for rounding.
    pairs: Voxels = cKDTree(voxels).query_pairs(1.5, p=np.inf, output_type="ndarray")
    return pairs


def links(voxels: Voxels, pairs: Voxels) -> Any:
    """Return the edges of the graph of a skeleton's voxels.

    Args:
        voxels: Array indices, shape (N, 2) or (N, 3).
        pairs: Their `neighbours`.

    Returns:
        A symmetric N x N `scipy.sparse.csr_array` of ones: voxels that follow each other. It holds no triangle
        that could be left out; the voxels' order decides only between equals.
    """
    from scipy.sparse import coo_array

    kept = pairs[~_collapsed(voxels, pairs)]
    # scipy.sparse.csgraph takes no wider indices before SciPy 1.17.
    ends = np.concatenate([kept, kept[:, ::-1]]).astype(np.int32)
    ones = np.ones(len(ends))
    graph = coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(len(voxels),) * 2).tocsr()
    graph.sort_indices()
    return graph


def _collapsed(voxels: Voxels, pairs: Voxels) -> npt.NDArray[np.bool_]:
    """Mark the edges that go, the longest first, so that paths run through faces."""
    gone = np.zeros(len(pairs), bool)
    around: dict[int, set[int]] = {}
    for a, b in pairs.tolist():
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    # Steps through a face, an edge or a corner: 1, 2 or 3 axes change.
    steps = np.abs(voxels[pairs[:, 0]] - voxels[pairs[:, 1]]).sum(axis=1)
    crowd = np.array([len(around[a]) + len(around[b]) for a, b in pairs.tolist()], int)
    # Of equally long ones that between busy voxels, so that no voxel of a path becomes a dead end.
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -crowd, -steps))
    waiting = [k for k in order.tolist() if around[pairs[k, 0]] & around[pairs[k, 1]]]
    while waiting:
        left = []
        for k in waiting:
            a, b = pairs[k].tolist()
            common = around[a] & around[b]
            if any(common - {w} <= around[w] for w in common):
                around[a].remove(b)
                around[b].remove(a)
                gone[k] = True
            elif common:
                left.append(k)
        if len(left) == len(waiting):
            break
        waiting = left
    return gone
