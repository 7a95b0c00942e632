"""SWC: trees of points with radii, as programs for neurons read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.graph import RADIUS, Branch, SkeletonGraph, SkeletonNode
from softmorph_cli.system.units import MILLIMETRES

_HEADER = """\
# softmorph: the centrelines of a map as trees, one for each component, each with a root of its own
{what}# unit: {unit}
# type: 0 (undefined)
# radius: {radius}
# id type x y z radius parent
"""


def swc_text(graph: SkeletonGraph, unit: str = "mm") -> tuple[str, tuple[str, ...]]:
    """Return the graph as trees in SWC (Cannon et al., J. Neurosci. Methods 84, 1998).

    Columns and types are those of swc-specification.readthedocs.io. The points are the branches' smoothed ones, with
    all their digits. A tree's root is its widest end point (the first where no radius is known), parents come before
    their children, and a lone voxel is a tree of one point. A tree has no cycles: those branches that a maximum
    spanning forest can do without, the shortest that close a cycle, are left open at their end, without their last
    point.

    Readers want a radius above 0 at each point: morphio warns of every zero. Where it is unknown it is half a voxel,
    as that of a line one voxel wide, and the header says so.

    Args:
        graph: Measured.
        unit: Of coordinates and radii: "mm", or "um", the format's own convention. Where the graph's unit is unknown
            they are in voxels, whatever is asked for.

    Returns:
        The text, and a warning where cycles were cut.
    """
    kept = _forest(graph)
    own = graph.frame.unit
    scale, unit = (1.0, "voxels") if own is None else (MILLIMETRES[own] / MILLIMETRES[unit], unit)
    # Half a voxel along the axis where it is smallest.
    thin = float(np.linalg.norm(graph.frame.matrix, axis=0).min()) / 2
    lines = [
        f"{sample.number} 0 {_numbers([*sample.place, sample.radius], scale)} {sample.parent}\n"
        for sample in _samples(graph, kept, thin)
    ]
    what = f"# class: {graph.name}\n" if graph.name else ""
    text = _HEADER.format(what=what, unit=unit, radius=_of_radius(graph, thin * scale)) + "".join(lines)
    cut = len(graph.branches) - len(kept)
    if cut == 0:
        return text, ()
    cycles, them = ("1 cycle was", "it") if cut == 1 else (f"{cut} cycles were", "them")
    return text, (f"SWC holds trees: {cycles} cut open; GraphML keeps {them}.",)


@dataclass(frozen=True)
class _Sample:
    number: int
    place: tuple[float, ...]
    radius: float
    parent: int


def _samples(graph: SkeletonGraph, kept: set[int], thin: float) -> Iterator[_Sample]:
    """Walk each tree from its root and return its points, unscaled."""
    at: dict[int, list[Branch]] = defaultdict(list)
    for branch in graph.branches:
        for number in set(branch.nodes):
            at[number].append(branch)
    counter = count(1)
    sample_of: dict[int, int] = {}

    def sample(place: npt.NDArray[np.float64], radius: float, parent: int) -> _Sample:
        return _Sample(next(counter), tuple(place.tolist()), float(radius), parent)

    for root in _roots(graph, at):
        place, radius = root.place, thin
        if at[root.number]:
            # A ring's node lies where its smoothed branch begins.
            _, points, radii = _seen_from(root.number, at[root.number][0], thin)
            place, radius = points[0], radii[0]
        yield (last := sample(place, radius, -1))
        sample_of[root.number] = last.number
        waiting = [root.number]
        while waiting:
            node = waiting.pop()
            for branch in at[node]:
                far, points, radii = _seen_from(node, branch, thin)
                cut = branch.number not in kept
                # A cut branch hangs on its start; a kept one was walked if its far end was.
                if branch.nodes[0] != node if cut else far in sample_of:
                    continue
                parent = sample_of[node]
                stop = -1 if cut else None
                for place, radius in zip(points[1:stop], radii[1:stop], strict=True):
                    yield (last := sample(place, radius, parent))
                    parent = last.number
                if not cut:
                    sample_of[far] = parent
                    waiting.append(far)


def _seen_from(
    node: int, branch: Branch, thin: float
) -> tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the node at the other end of a branch, and its points and radii from this node on."""
    radii = branch.along.get(RADIUS, np.full(len(branch.points), thin))
    if branch.nodes[0] == node:
        return branch.nodes[1], branch.points, radii
    return branch.nodes[0], branch.points[::-1], radii[::-1]


def _roots(graph: SkeletonGraph, at: Mapping[int, Sequence[Branch]]) -> list[SkeletonNode]:
    """Choose a root for each component: an end point if there is one, the widest if that is known."""
    best: dict[int, tuple[tuple[bool, float], SkeletonNode]] = {}
    for node in graph.nodes:
        width = max(
            (float(_seen_from(node.number, branch, 0.0)[2][0]) for branch in at.get(node.number, ())),
            default=0.0,
        )
        rank = (node.degree == 1, width)
        if node.component not in best or rank > best[node.component][0]:
            best[node.component] = rank, node
    return [best[component.number][1] for component in graph.components]


def _forest(graph: SkeletonGraph) -> set[int]:
    """Return the numbers of the branches that hold together what hangs together: as long ones as can be."""
    import networkx as nx

    drawn = nx.MultiGraph()
    for branch in graph.branches:
        drawn.add_edge(*branch.nodes, key=branch.number, weight=branch.length)
    return {number for *_, number in nx.maximum_spanning_edges(drawn, keys=True, data=False)}


def _of_radius(graph: SkeletonGraph, thin: float) -> str:
    known = {RADIUS in branch.along for branch in graph.branches}
    if known == {True} and all(node.degree for node in graph.nodes):
        return "distance to the surface"
    guess = f"half a voxel, {thin!r}"
    return f"distance to the surface; where it is unknown, {guess}" if True in known else f"unknown: {guess}"


def _numbers(values: Iterable[float], scale: float) -> str:
    return " ".join(repr(value * scale) for value in values)
