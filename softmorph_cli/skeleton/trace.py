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

from softmorph_cli.skeleton.links import Voxels as Voxels
from softmorph_cli.skeleton.links import links, neighbours

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
    inward = np.arange(len(voxels))
    for members in _groups(cluster, crowded):
        middle = voxels[members].mean(axis=0)
        nearest = np.argsort(((voxels[members] - middle) ** 2).sum(axis=1), kind="stable")
        graph.add_node(int(cluster[members[0]]), voxels=voxels[members[nearest]])
        _lead_inward(adjacency, members, int(nearest[0]), inward)
    in_cluster = np.zeros(len(voxels), bool)
    in_cluster[crowded] = True
    for walked in _walk(adjacency, voxels):
        # skan goes through the voxels of a cluster that have two links.
        cuts = np.flatnonzero(in_cluster[walked[1:-1]]) + 1
        for begin, end in itertools.pairwise([0, *cuts.tolist(), len(walked) - 1]):
            piece = walked[begin : end + 1]
            if len(piece) > 2 or (int(piece[0]), int(piece[-1])) not in inner:
                _add(graph, voxels, piece, cluster, inward)
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
    path = _spliced(_from(one, first), _from(two, node))
    # A key that was never used: whoever still waits for one of the old branches must not find this one.
    key = graph.graph["joined"] = graph.graph.get("joined", len(graph.edges)) + 1
    graph.remove_edge(node, first, key_1)
    graph.remove_edge(node, second, key_2)
    graph.remove_node(node)
    graph.add_edge(first, second, key=key, path=path, start=first)
    return first, second, key


def _spliced(before: Voxels, after: Voxels) -> Voxels:
    """Return one path after the other; a way into a cluster and back again is left out."""
    again = 1
    while again < min(len(before), len(after)) and (before[-1 - again] == after[again]).all():
        again += 1
    return np.concatenate([before[: len(before) - again + 1], after[again:]])


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


def _lead_inward(adjacency: Any, members: Voxels, middle: int, inward: Voxels) -> None:
    """Set, for each voxel of a cluster, the next one on the way to its middle."""
    from scipy.sparse.csgraph import breadth_first_order

    if len(members) > 1:
        among = adjacency[members][:, members]
        reached, before = breadth_first_order(among, middle, directed=False)
        inward[members[reached[1:]]] = members[before[reached[1:]]]


def _add(graph: Graph, voxels: Voxels, piece: Voxels, cluster: Voxels, inward: Voxels) -> None:
    """Add a branch; its path goes from one node's middle voxel to the other's."""
    path = piece.tolist()
    while inward[path[0]] != path[0]:
        path.insert(0, int(inward[path[0]]))
    while inward[path[-1]] != path[-1]:
        path.append(int(inward[path[-1]]))
    start, end = int(cluster[path[0]]), int(cluster[path[-1]])
    for node, voxel in ((start, path[0]), (end, path[-1])):
        if node not in graph:  # an end point, or where a ring begins
            graph.add_node(node, voxels=voxels[[voxel]])
    graph.add_edge(start, end, path=voxels[path], start=start)
