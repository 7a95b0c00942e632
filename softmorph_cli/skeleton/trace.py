"""Tracing: the voxels of a skeleton are converted to a multigraph of end points, junctions and branches.

Branches are followed along the `links` between voxels. The graph of all 26-neighbours, which other programs trace, has
a wrong number of cycles where a skeleton forks (on 76 of 80 synthetic maps).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.links import Voxels as Voxels
from softmorph_cli.skeleton.links import links, neighbours

# A networkx.MultiGraph; networkx is slow to import and has no types.
Graph = Any
# Sampler: voxel indices (N, d) -> N values.
Sample = Callable[[Voxels], npt.NDArray[np.float64]]


def trace(voxels: Voxels) -> Graph:
    """Return the graph of a skeleton, given the voxels of the skeleton.

    A cluster of adjacent voxels with more than two neighbours each is one junction; a loop within a cluster stays a
    loop. A ring without junctions has one node, an isolated voxel is a node without branches.

    Args:
        voxels: Array indices of the voxels, shape (N, 2) or (N, 3), without duplicates.

    Returns:
        A `networkx.MultiGraph`. A node has the attribute `voxels`, array indices of shape (K, d), the central voxel
        first. An edge has the attributes `path`, the array indices of shape (N, d) of the voxels from the central voxel
        of one node to that of the other, and `start`, the node where the path begins.
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
    for walked in walk(adjacency):
        # The walk does not stop at the voxels of a cluster that have two links.
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
    """Join the two branches at a node in place; return the two end nodes and the edge key of the joined branch.

    Nothing is changed and None is returned if the node does not have exactly two branches.
    """
    edges = list(graph.edges(node, keys=True, data=True))
    if graph.degree(node) != 2 or len(edges) != 2:  # a ring's only node has one edge
        return None
    (_, first, key_1, one), (_, second, key_2, two) = edges
    path = _spliced(_from(one, first), _from(two, node))
    # A new key, so that a queued reference to an old branch cannot match this one.
    key = graph.graph["joined"] = graph.graph.get("joined", len(graph.edges)) + 1
    graph.remove_edge(node, first, key_1)
    graph.remove_edge(node, second, key_2)
    graph.remove_node(node)
    graph.add_edge(first, second, key=key, path=path, start=first)
    return first, second, key


def _spliced(before: Voxels, after: Voxels) -> Voxels:
    """Concatenate two paths of voxels; a detour into a cluster and back on the same voxels is removed."""
    again = 1
    while again < min(len(before), len(after)) and (before[-1 - again] == after[again]).all():
        again += 1
    return np.concatenate([before[: len(before) - again + 1], after[again:]])


def _from(edge: dict[str, Any], node: int) -> Voxels:
    path: Voxels = edge["path"]
    return path if edge["start"] == node else path[::-1]


def walk(adjacency: Any) -> list[Voxels]:
    """Return the branches of a graph of voxels, each as the row indices of its voxels from end to end.

    Branches end at voxels whose number of links is not two. The loops that are left begin and end at their lowest row.

    Args:
        adjacency: The links between N voxels, a symmetric N x N `scipy.sparse.csr_array` without loops of one voxel.
    """
    # Lists: single numbers of an array are slow to read, and a compiled loop takes longer to load than this one to run.
    begins, ends = adjacency.indptr.tolist(), adjacency.indices.tolist()
    linked = [ends[a:b] for a, b in itertools.pairwise(begins)]
    passed = [len(some) != 2 for some in linked]
    branches = []

    def follow(start: int, step: int) -> None:
        chain, here = [start], step
        while not passed[here]:
            passed[here] = True
            one, other = linked[here]
            chain.append(here)
            here = other if one == chain[-2] else one
        branches.append(np.array([*chain, here]))

    forks = np.flatnonzero(np.diff(adjacency.indptr) != 2).tolist()
    for fork in forks:
        for step in linked[fork]:
            # A branch is met from both of its ends; one of two voxels, which has none between, from the lower.
            if fork < step if len(linked[step]) != 2 else not passed[step]:
                follow(fork, step)
    for start, some in enumerate(linked):
        if not passed[start]:
            passed[start] = True
            follow(start, some[0])
    return branches


def _clusters(adjacency: Any, crowded: Voxels) -> tuple[Voxels, set[tuple[int, int]]]:
    """Merge crowded voxels (voxels with more than two neighbours) that are linked to each other into clusters.

    Returns for each voxel the index of its node, which is the lowest voxel index in its cluster or the voxel's own
    index; and the links of a spanning tree of each cluster, in both directions. Any other link within a cluster closes
    a loop.
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
    """Set `inward` of each voxel of a cluster to the next voxel on the way to the central voxel of the cluster."""
    from scipy.sparse.csgraph import breadth_first_order

    if len(members) > 1:
        among = adjacency[members][:, members]
        reached, before = breadth_first_order(among, middle, directed=False)
        inward[members[reached[1:]]] = members[before[reached[1:]]]


def _add(graph: Graph, voxels: Voxels, piece: Voxels, cluster: Voxels, inward: Voxels) -> None:
    """Add a branch to the graph, whose path leads from the central voxel of one node to that of the other node.

    Args:
        graph: The graph.
        voxels: Array indices of all voxels.
        piece: Row indices of the voxels of the branch.
        cluster: For each voxel, the index of its node.
        inward: For each voxel, the index of the next voxel on the way to the central voxel of its node.
    """
    path = piece.tolist()
    while inward[path[0]] != path[0]:
        path.insert(0, int(inward[path[0]]))
    while inward[path[-1]] != path[-1]:
        path.append(int(inward[path[-1]]))
    start, end = int(cluster[path[0]]), int(cluster[path[-1]])
    for node, voxel in ((start, path[0]), (end, path[-1])):
        if node not in graph:  # an end point, or the node of a ring
            graph.add_node(node, voxels=voxels[[voxel]])
    graph.add_edge(start, end, path=voxels[path], start=start)
