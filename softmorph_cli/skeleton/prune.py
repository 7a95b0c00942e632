"""Taking branches away: short spurs, one after another, and one branch of every cycle."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from softmorph_cli.skeleton.trace import Graph, Voxels, join

Weigh = Callable[[Voxels], float]


def spurs(graph: Graph) -> Iterator[tuple[int, int, Voxels]]:
    """Yield the end point, the junction and the path of every spur."""
    for u, v, path in graph.edges(data="path"):
        ends = _spur(graph, u, v)
        if ends is not None:
            yield *ends, path


def _spur(graph: Graph, u: int, v: int) -> tuple[int, int] | None:
    """Return the end point and the junction of a branch between these nodes, if it is a spur."""
    tip, fork = (u, v) if graph.degree(u) == 1 else (v, u)
    return (tip, fork) if graph.degree(tip) == 1 and graph.degree(fork) > 2 else None


def prune_spurs(graph: Graph, shorter_than: Weigh, length: Weigh) -> int:
    """Take away spurs, in place: branches from an end point to a junction, the shortest first.

    After a spur has gone, the two branches that are left at its junction are one; whether that is a spur is asked
    anew. A branch between two end points is a component of its own and stays.

    Args:
        graph: As `trace` returns it.
        shorter_than: The least length of a spur that stays, given its junction's voxels.
        length: The length of a path.

    Returns:
        How many went.
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
    gone = 0
    while waiting:
        _, tip, fork, key = heapq.heappop(waiting)
        # A branch that was joined with another since has another key or other ends.
        if not graph.has_edge(tip, fork, key) or _spur(graph, tip, fork) is None:
            continue
        graph.remove_node(tip)
        gone += 1
        joined = join(graph, fork)
        if joined is not None:
            consider(*joined)
    return gone


def prune_cycles(graph: Graph, weight: Weigh) -> int:
    """Take branches away, in place, until no cycle is left: those of the least weight (a maximum spanning forest).

    Where nothing but loops would be left of a component, its heaviest loop is opened instead: it loses the voxel
    before the one where it closes.

    Returns:
        How many cycles there were.
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
    """Join the branches at nodes that are none any more, each path once a round: a long one is not copied for each."""
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
    # Without its last voxel but one: beside the first it would still close the ring.
    graph.add_node(end, voxels=path[-3:-2])
    graph.add_edge(node, end, path=path[:-2], start=node)
