"""From the voxels of a skeleton to a multigraph: end points and junctions, and the branches between them.

skan walks along the branches. It is given `links` instead of a skeleton image: its own graph of all 26-neighbours has
the wrong number of cycles where a skeleton forks (on 76 of 80 drawn maps), and it would hold the image densely.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.graphs.links import links

# networkx is loaded only where a graph is made: its own types cannot be named here.
Graph = Any
# Array indices, shape (N, d).
Voxels = npt.NDArray[np.intp]
# What tells one number for each of some voxels.
Sample = Callable[[Voxels], npt.NDArray[np.float64]]


def trace(voxels: Voxels) -> Graph:
    """Return the graph of a skeleton.

    Adjacent voxels with more than two links are one junction; a loop within such a cluster stays a loop. A ring
    without junctions has one node, a lone voxel is a node without branches.

    Args:
        voxels: Array indices, shape (N, 2) or (N, 3), each voxel once.

    Returns:
        A `networkx.MultiGraph`. A node has `voxels`, shape (K, d), first the one in their middle. An edge has `path`,
        shape (N, d), and `start`, the node where the path begins; a path begins and ends with a first voxel.
    """
    import networkx as nx

    graph = nx.MultiGraph()
    if len(voxels) == 0:
        return graph
    adjacency = links(voxels)
    degrees = np.diff(adjacency.indptr)
    junctions = np.flatnonzero(degrees > 2)
    cluster = _clusters(adjacency, junctions)
    for members in _groups(cluster, junctions):
        middle = voxels[members].mean(axis=0)
        nearest = np.argsort(((voxels[members] - middle) ** 2).sum(axis=1), kind="stable")
        graph.add_node(int(cluster[members[0]]), voxels=voxels[members[nearest]])
    for end in np.flatnonzero(degrees < 2).tolist():
        graph.add_node(end, voxels=voxels[[end]])
    inner = _tree_edges(adjacency, junctions)
    for walked in _walk(adjacency, voxels):
        first, last = int(walked[0]), int(walked[-1])
        if len(walked) == 2 and (first, last) in inner:
            continue
        start, end = int(cluster[first]), int(cluster[last])
        if start not in graph:  # a ring
            graph.add_node(start, voxels=voxels[[start]])
        graph.add_edge(start, end, path=_between(graph, voxels[walked], start, end), start=start)
    return graph


def _walk(adjacency: Any, voxels: Voxels) -> list[npt.NDArray[np.intp]]:
    """Return each branch as the numbers of its voxels, from one that has not two links to the next."""
    if adjacency.nnz == 0:
        return []
    from skan.csr import PathGraph

    paths = PathGraph.from_graph(adj=adjacency, node_coordinates=voxels).paths
    return np.split(paths.indices, paths.indptr[1:-1])


def _clusters(adjacency: Any, junctions: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return for each voxel the number of the node it belongs to: its own, or its cluster's least voxel."""
    from scipy.sparse.csgraph import connected_components

    owner = np.arange(adjacency.shape[0])
    if junctions.size:
        labels = connected_components(adjacency[junctions][:, junctions], directed=False)[1]
        _, first = np.unique(labels, return_index=True)
        owner[junctions] = junctions[first[labels]]
    return owner


def _groups(cluster: npt.NDArray[np.intp], junctions: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    order = junctions[np.argsort(cluster[junctions], kind="stable")]
    cuts = np.flatnonzero(np.diff(cluster[order])) + 1
    return np.split(order, cuts) if junctions.size else []


def _tree_edges(adjacency: Any, junctions: npt.NDArray[np.intp]) -> set[tuple[int, int]]:
    """Return the links that hold the clusters together; any other link within one closes a loop."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    if junctions.size == 0:
        return set()
    tree = minimum_spanning_tree(adjacency[junctions][:, junctions]).tocoo()
    ends = junctions[np.stack([tree.row, tree.col], axis=1)].tolist()
    return {(a, b) for a, b in ends} | {(b, a) for a, b in ends}


def _between(graph: Graph, path: Voxels, start: int, end: int) -> Voxels:
    """Return the path from one node's middle voxel to the other's."""
    parts = [path]
    for node, voxel, before in ((start, path[0], True), (end, path[-1], False)):
        middle = graph.nodes[node]["voxels"][:1]
        if (middle[0] != voxel).any():
            parts.insert(0, middle) if before else parts.append(middle)
    return np.concatenate(parts)
