"""Export to SWC, a file format of neuroscience programs that stores trees of points with radii."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph, SkeletonNode
from softmorph_cli.system.units import MILLIMETRES

_HEADER = """\
# softmorph: the centrelines of a map as trees, one for each component, each with a root of its own
{name}# unit: {unit}
# type: 0 (undefined)
# radius: {radius}
# id type x y z radius parent
"""
# Number, place, radius, number of the parent.
_Sample = tuple[int, npt.NDArray[np.float64], float, int]


def swc_text(graph: SkeletonGraph) -> tuple[str, tuple[str, ...]]:
    """Return the graph as trees in SWC (Cannon et al., J. Neurosci. Methods 84, 1998).

    Columns and types are those of swc-specification.readthedocs.io. Samples (the points of the file) are the smoothed
    points of the branches, with all their digits. The root of a tree is its widest end point (the first one if radii
    are unknown), a parent precedes its children, and an isolated voxel is a tree of one sample. Cycles are opened: a
    branch outside the maximum spanning forest, the shortest of its cycle, loses its last point.

    Coordinates and radii are in mm for maps in mm, in um (the convention of the format) for maps in um or nm, and in
    voxels for maps without a unit. An unknown radius is written as half a voxel, the radius of a line one voxel wide,
    and the header says so; the reader morphio would warn of a radius of 0.

    Returns:
        The text of the file, and a warning if cycles were opened.
    """
    kept = _forest(graph)
    own = graph.frame.unit
    unit = graph.frame.suffix if own is None else "mm" if own == "mm" else "um"
    scale = 1.0 if own is None else MILLIMETRES[own] / MILLIMETRES[unit]
    thin = graph.frame.finest / 2
    name = f"# class: {graph.name}\n" if graph.name else ""
    lines = [_HEADER.format(name=name, unit=unit, radius=_radius_words(graph, thin * scale))]
    for number, place, radius, parent in _samples(graph, kept, thin):
        numbers = " ".join(repr(value * scale) for value in (*place.tolist(), float(radius)))
        lines.append(f"{number} 0 {numbers} {parent}\n")
    text, cut = "".join(lines), len(graph.branches) - len(kept)
    if cut == 0:
        return text, ()
    cycles, them = ("1 cycle was", "it") if cut == 1 else (f"{cut} cycles were", "them")
    return text, (f"SWC holds trees: {cycles} cut open; GraphML keeps {them}.",)


def _samples(graph: SkeletonGraph, kept: set[int], thin: float) -> Iterator[_Sample]:
    """Traverse each tree from its root and yield the samples (lines of the file), in the unit of the graph.

    Args:
        graph: The graph.
        kept: Indices (`number`) of the branches of the spanning forest; the other branches lose their last point.
        thin: Radius of points whose radius is unknown.
    """
    branches_at: dict[int, list[Branch]] = defaultdict(list)
    for branch in graph.branches:
        for number in set(branch.nodes):
            branches_at[number].append(branch)
    numbers = count(1)
    sample_of: dict[int, int] = {}
    for root in _roots(graph, branches_at):
        place, radius = root.place, thin
        if branches_at[root.number]:
            # The smoothed branch of a ring does not begin exactly at its node.
            _, points, radii = _seen_from(root.number, branches_at[root.number][0], thin)
            place, radius = points[0], radii[0]
        sample_of[root.number] = next(numbers)
        yield sample_of[root.number], place, radius, -1
        waiting = [root.number]
        while waiting:
            node = waiting.pop()
            for branch in branches_at[node]:
                far, points, radii = _seen_from(node, branch, thin)
                cut = branch.number not in kept
                # A cut branch is attached to its first node; a kept one is done if its far node is.
                if branch.nodes[0] != node if cut else far in sample_of:
                    continue
                parent = sample_of[node]
                stop = -1 if cut else None
                for place, radius in zip(points[1:stop], radii[1:stop], strict=True):
                    number = next(numbers)
                    yield number, place, radius, parent
                    parent = number
                if not cut:
                    sample_of[far] = parent
                    waiting.append(far)


def _seen_from(
    node: int, branch: Branch, thin: float
) -> tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the node at the other end of a branch, and the points and radii of the branch, beginning at `node`."""
    radii = branch.along.get(Quantity.RADIUS, np.full(len(branch.points), thin))
    if branch.nodes[0] == node:
        return branch.nodes[1], branch.points, radii
    return branch.nodes[0], branch.points[::-1], radii[::-1]


def _roots(graph: SkeletonGraph, branches_at: Mapping[int, Sequence[Branch]]) -> list[SkeletonNode]:
    """Return a root for each component: an end point if it has one, and the widest candidate if radii are known."""
    best: dict[int, tuple[tuple[bool, float], SkeletonNode]] = {}
    for node in graph.nodes:
        width = max(
            (float(_seen_from(node.number, b, 0.0)[2][0]) for b in branches_at.get(node.number, ())),
            default=0.0,
        )
        rank = (node.degree == 1, width)
        if node.component not in best or rank > best[node.component][0]:
            best[node.component] = rank, node
    return [best[component.number][1] for component in graph.components]


def _forest(graph: SkeletonGraph) -> set[int]:
    """Return the indices (`number`) of the branches of the maximum spanning forest, by length."""
    import networkx as nx

    drawn = nx.MultiGraph()
    for branch in graph.branches:
        drawn.add_edge(*branch.nodes, key=branch.number, weight=branch.length)
    return {number for *_, number in nx.maximum_spanning_edges(drawn, keys=True, data=False)}


def _radius_words(graph: SkeletonGraph, thin: float) -> str:
    known = {Quantity.RADIUS in branch.along for branch in graph.branches}
    if known == {True} and all(node.degree for node in graph.nodes):
        return "distance to the surface"
    guess = f"half a voxel, {thin!r}"
    return f"distance to the surface; where it is unknown, {guess}" if True in known else f"unknown: {guess}"
