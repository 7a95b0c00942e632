"""Links between the voxels of a skeleton: the adjacency graph without the edges that only cut a corner.

Voxels that share a corner are neighbours (8 in 2D, 26 in 3D). Where a skeleton turns or forks, three or four voxels are
mutual neighbours, and the graph of all edges has cycles and junctions that the skeleton lacks. An edge can be collapsed
(removed) if one common neighbour of its two ends is adjacent to all other common neighbours: the clique complex, which
is homotopy equivalent to the skeleton, keeps its homotopy type (Boissonnat & Pritam, *Edge collapse and persistence of
flag complexes*, SoCG 2020). Unless the skeleton holds closed surfaces, the remaining graph has as many independent
cycles as the skeleton has loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Voxels = npt.NDArray[np.intp]


def neighbours(voxels: Voxels) -> Voxels:
    """Return the pairs of voxels that share at least a corner.

    `voxels` are array indices, shape (N, d); the result has shape (M, 2) and holds pairs of row indices of `voxels`.
    """
    from scipy.spatial import cKDTree

    # At most 1 apart along every axis; the half allows for rounding.
    pairs: Voxels = cKDTree(voxels).query_pairs(1.5, p=np.inf, output_type="ndarray")
    return pairs


def links(voxels: Voxels, pairs: Voxels) -> Any:
    """Return the links between voxels: the pairs of neighbours that remain when no further edge can be collapsed.

    `voxels` are array indices, shape (N, d), without duplicates; `pairs` is the result of `neighbours(voxels)`. The
    result is the adjacency matrix, a symmetric N x N `scipy.sparse.csr_array` of ones. The order of the voxels decides
    only which of several equivalent edges is collapsed.
    """
    from scipy.sparse import coo_array

    kept = pairs[~_collapsed(voxels, pairs)]
    # scipy.sparse.csgraph accepts no wider indices before SciPy 1.17.
    ends = np.concatenate([kept, kept[:, ::-1]]).astype(np.int32)
    ones = np.ones(len(ends))
    graph = coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(len(voxels),) * 2).tocsr()
    graph.sort_indices()
    return graph


def _collapsed(voxels: Voxels, pairs: Voxels) -> npt.NDArray[np.bool_]:
    """Return which edges (pairs of neighbours) are collapsed; long edges go first, so that paths run through faces."""
    collapsed = np.zeros(len(pairs), bool)
    around: dict[int, set[int]] = {}
    for a, b in pairs.tolist():
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    # 1, 2 or 3 for neighbours through a face, an edge or a corner.
    steps = np.abs(voxels[pairs[:, 0]] - voxels[pairs[:, 1]]).sum(axis=1)
    crowd = np.array([len(around[a]) + len(around[b]) for a, b in pairs.tolist()], int)
    # Of equal lengths the edge with most neighbours, so that no voxel of a path becomes a dead end.
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
                collapsed[k] = True
            elif common:
                left.append(k)
        if len(left) == len(waiting):
            break
        waiting = left
    return collapsed
