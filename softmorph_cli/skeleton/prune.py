"""Pruning of a skeleton graph: removal of short spurs, one at a time, or of one branch of every cycle."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from softmorph_cli.skeleton.trace import Graph, Voxels, join

Weigh = Callable[[Voxels], float]


def _spur(graph: Graph, u: int, v: int) -> tuple[int, int] | None:
    """Return the end point and the junction of a branch between the nodes u and v; None if the branch is not a spur."""
    tip, fork = (u, v) if graph.degree(u) == 1 else (v, u)
    return (tip, fork) if graph.degree(tip) == 1 and graph.degree(fork) > 2 else None


def prune_spurs(graph: Graph, shorter_than: Weigh, length: Weigh) -> int:
    """Remove short spurs (branches from an end point to a junction) in place, the shortest first.

    If two branches are left at the junction they are joined, and the joined branch may be a spur in turn. A branch
    between two end points is a component by itself and is not removed.

    Args:
        graph: The graph.
        shorter_than: Function that returns the minimum length of the spurs at a junction, given the central voxel of
            the junction, shape (1, d).
        length: Function that returns the length of a path, given its voxels.

    Returns:
        The number of removed spurs.
    """
    waiting: list[tuple[float, int, int, int]] = []

    def consider(u: int, v: int, key: int) -> None:
        ends = _spur(graph, u, v)
        if ends is not None:
            cost = length(graph.edges[u, v, key]["path"])
            if cost < shorter_than(graph.nodes[ends[1]]["voxels"][:1]):
                heapq.heappush(waiting, (cost, *ends, key))

    for u, v, key in graph.edges(keys=True):
        consider(u, v, key)
    removed = 0
    while waiting:
        _, tip, fork, key = heapq.heappop(waiting)
        # If the branch was joined since, its key or ends have changed.
        if not graph.has_edge(tip, fork, key) or _spur(graph, tip, fork) is None:
            continue
        graph.remove_node(tip)
        removed += 1
        joined = join(graph, fork)
        if joined is not None:
            consider(*joined)
    return removed


def prune_cycles(graph: Graph, weight: Weigh) -> int:
    """Remove the branches outside the maximum spanning forest in place, so that no cycle is left.

    If a component would have no branch left, its heaviest loop is opened instead of removed, by deleting the voxel
    before the voxel that closes the loop.

    Args:
        graph: The graph.
        weight: Function that returns the weight of a branch, given its voxels; the lightest branches are removed.

    Returns:
        The number of cycles that were removed.
    """
    import networkx as nx

    for u, v, key, path in graph.edges(keys=True, data="path"):
        graph.edges[u, v, key]["weight"] = weight(path)
    kept = {
        (frozenset((u, v)), key)
        for u, v, key in nx.maximum_spanning_edges(graph, weight="weight", keys=True, data=False)
    }
    extra = [(u, v, key) for u, v, key in graph.edges(keys=True) if (frozenset((u, v)), key) not in kept]
    extra.sort(key=lambda edge: graph.edges[edge]["weight"])
    for u, v, key in extra:
        if u == v and graph.degree(u) == 2:
            _open(graph, u, key)
        else:
            graph.remove_edge(u, v, key)
    _join_all(graph, {node for u, v, _ in extra for node in (u, v)})
    return len(extra)


def _join_all(graph: Graph, nodes: set[int]) -> None:
    """Join the two branches at each of the given nodes that has degree 2.

    Each branch takes part in at most one join per round, so that long paths are copied less often.
    """
    while nodes:
        touched: set[int] = set()
        for node in sorted(nodes):
            around = set(graph.adj[node]) if node in graph else set()
            if not touched & {node, *around}:
                nodes.discard(node)
                if node in graph and join(graph, node) is not None:
                    touched |= around


def _open(graph: Graph, node: int, key: int) -> None:
    path = graph.edges[node, node, key]["path"]
    graph.remove_edge(node, node, key)
    end = max(graph.nodes) + 1
    # The last voxel but one is removed: next to the first, it would still close the ring.
    graph.add_node(end, voxels=path[-3:-2])
    graph.add_edge(node, end, path=path[:-2], start=node)
