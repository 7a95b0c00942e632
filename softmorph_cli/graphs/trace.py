"""From the voxels of a skeleton to a multigraph: end points and junctions, and the branches between them.

skan walks along the branches. It is given `links` instead of a skeleton image: its own graph of all 26-neighbours has
the wrong number of cycles where a skeleton forks (on 76 of 80 drawn maps), and it would hold the image densely.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.graphs.links import Voxels as Voxels
from softmorph_cli.graphs.links import links, neighbours

# networkx is loaded only where a graph is made: its own types cannot be named here.
Graph = Any
# What tells one number for each of some voxels.
Sample = Callable[[Voxels], npt.NDArray[np.float64]]


def trace(voxels: Voxels) -> Graph:
    """Return the graph of a skeleton.

    Adjacent voxels with more than two neighbours are one junction; a loop within such a cluster stays a loop. A
    ring without junctions has one node, a lone voxel is a node without branches.

    Args:
        voxels: Array indices, shape (N, 2) or (N, 3), each voxel once. Thick parts become junctions.

    Returns:
        A `networkx.MultiGraph`. A node has `voxels`, shape (K, d), first the one in their middle. An edge has `path`,
        shape (N, d), and `start`, the node where the path begins; a path begins and ends with a first voxel.
    """
    import networkx as nx

    graph = nx.MultiGraph()
    if len(voxels) == 0:
        return graph
    pairs = neighbours(voxels)
    adjacency = links(voxels, pairs)
    crowded = np.flatnonzero(np.bincount(pairs.ravel(), minlength=len(voxels)) > 2)
    cluster, inner = _clusters(adjacency, crowded)
    for members in _groups(cluster, crowded):
        middle = voxels[members].mean(axis=0)
        nearest = np.argsort(((voxels[members] - middle) ** 2).sum(axis=1), kind="stable")
        graph.add_node(int(cluster[members[0]]), voxels=voxels[members[nearest]])
    in_cluster = np.zeros(len(voxels), bool)
    in_cluster[crowded] = True
    for walked in _walk(adjacency, voxels):
        # skan goes through the voxels of a cluster that have two links.
        cuts = np.flatnonzero(in_cluster[walked[1:-1]]) + 1
        for begin, end in itertools.pairwise([0, *cuts.tolist(), len(walked) - 1]):
            piece = walked[begin : end + 1]
            if len(piece) > 2 or (int(piece[0]), int(piece[-1])) not in inner:
                _add(graph, voxels, piece, cluster)
    for voxel in np.flatnonzero(np.diff(adjacency.indptr) == 0).tolist():
        graph.add_node(int(cluster[voxel]), voxels=voxels[[voxel]])
    for node in list(graph):
        join(graph, node)
    return graph


def join(graph: Graph, node: int) -> tuple[int, int, int] | None:
    """Make one branch, in place, of the two at a node where nothing else ends.

    Returns:
        The new branch, its ends and its key; None where there are not two.
    """
    edges = list(graph.edges(node, keys=True, data=True))
    if graph.degree(node) != 2 or len(edges) != 2:  # a ring's only node has one edge
        return None
    (_, first, key_1, one), (_, second, key_2, two) = edges
    path = np.concatenate([_from(one, first), _from(two, node)[1:]])
    # A key that was never used: whoever still waits for one of the old branches must not find this one.
    key = graph.graph["joined"] = graph.graph.get("joined", len(graph.edges)) + 1
    graph.remove_edge(node, first, key_1)
    graph.remove_edge(node, second, key_2)
    graph.remove_node(node)
    graph.add_edge(first, second, key=key, path=path, start=first)
    return first, second, key


def _from(edge: dict[str, Any], node: int) -> Voxels:
    path: Voxels = edge["path"]
    return path if edge["start"] == node else path[::-1]


def _walk(adjacency: Any, voxels: Voxels) -> list[Voxels]:
    """Return each branch as the numbers of its voxels, from one that has not two links to the next."""
    if adjacency.nnz == 0:
        return []
    from skan.csr import PathGraph

    paths = PathGraph.from_graph(adj=adjacency, node_coordinates=voxels).paths
    return np.split(paths.indices, paths.indptr[1:-1])


def _clusters(adjacency: Any, crowded: Voxels) -> tuple[Voxels, set[tuple[int, int]]]:
    """Merge linked voxels that are crowded.

    Returns:
        For each voxel the number of its node: its own, or its cluster's least voxel. And the links that hold the
        clusters together, both ways round; any other link within a cluster closes a loop.
    """
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    owner = np.arange(adjacency.shape[0])
    if crowded.size == 0:
        return owner, set()
    among = adjacency[crowded][:, crowded]
    labels = connected_components(among, directed=False)[1]
    owner[crowded] = crowded[np.unique(labels, return_index=True)[1][labels]]
    tree = minimum_spanning_tree(among).tocoo()
    ends = crowded[np.stack([tree.row, tree.col], axis=1)].tolist()
    return owner, {(a, b) for a, b in ends} | {(b, a) for a, b in ends}


def _groups(cluster: Voxels, crowded: Voxels) -> list[Voxels]:
    order = crowded[np.argsort(cluster[crowded], kind="stable")]
    cuts = np.flatnonzero(np.diff(cluster[order])) + 1
    return np.split(order, cuts) if crowded.size else []


def _add(graph: Graph, voxels: Voxels, piece: Voxels, cluster: Voxels) -> None:
    """Add a branch; its path goes from one node's middle voxel to the other's."""
    path = voxels[piece]
    parts, nodes = [path], []
    for voxel, before in ((int(piece[0]), True), (int(piece[-1]), False)):
        node = int(cluster[voxel])
        if node not in graph:  # an end point, or where a ring begins
            graph.add_node(node, voxels=voxels[[voxel]])
        middle = graph.nodes[node]["voxels"][:1]
        if (middle[0] != voxels[voxel]).any():
            parts.insert(0, middle) if before else parts.append(middle)
        nodes.append(node)
    graph.add_edge(*nodes, path=np.concatenate(parts), start=nodes[0])
