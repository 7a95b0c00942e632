"""The graph of a skeleton, measured: branches with length, radius and certainty, nodes, components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton import paths
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.trace import Graph, Sample, Voxels

# What a voxel can be asked for, in the order of tables and exports.
RADIUS: Final = "radius"
CERTAINTY: Final = "certainty"
LEVELS: Final = "levels"
QUANTITIES: Final = (RADIUS, CERTAINTY, LEVELS)


@dataclass(frozen=True)
class Spread:
    """Mean, least and largest of a quantity along a branch."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class SkeletonNode:
    """An end point, a junction, the start of a ring, or a voxel on its own.

    Attributes:
        number: From 1 on.
        component: The number of its component.
        degree: Branch ends that meet here.
        voxels: Array indices, shape (K, d): the voxel itself, or a junction's cluster, the middle one first.
        place: World coordinates (x, y, z) of the first voxel.
    """

    number: int
    component: int
    degree: int
    voxels: Voxels
    place: npt.NDArray[np.float64]

    @property
    def kind(self) -> str:
        """One of "end point", "junction", "ring" (its only node) and "voxel" (no branch at all)."""
        return {0: "voxel", 1: "end point", 2: "ring"}.get(self.degree, "junction")


@dataclass(frozen=True)
class Branch:
    """A curve between two nodes.

    Attributes:
        number: From 1 on, the longest first.
        component: The number of its component.
        nodes: Numbers of the nodes where it begins and ends; the same twice for a loop.
        kind: "end to end", "spur" (an end point at one end), "inner" (between junctions) or "loop".
        voxels: Array indices, shape (N, d), from node to node.
        points: World coordinates (x, y, z), shape (N, 3): the voxels' places, smoothed; the ends are kept.
        length: Of `points`, in the frame's unit.
        chord: Straight distance between the ends.
        along: Quantity -> its value at each voxel, shape (N,); those that are known.
    """

    number: int
    component: int
    nodes: tuple[int, int]
    kind: str
    voxels: Voxels
    points: npt.NDArray[np.float64]
    length: float
    chord: float
    along: Mapping[str, npt.NDArray[np.float64]]

    @property
    def tortuosity(self) -> float | None:
        """Length over chord, at least 1; None for a loop."""
        return self.length / self.chord if self.chord > 0 else None

    def spread(self, quantity: str) -> Spread | None:
        """Return mean, minimum and maximum of a quantity along the branch; None if it is not known."""
        values = self.along.get(quantity)
        return (
            None if values is None else Spread(float(values.mean()), float(values.min()), float(values.max()))
        )


@dataclass(frozen=True)
class Component:
    """What hangs together: counts and the length of its branches, in the frame's unit."""

    number: int
    branches: int
    end_points: int
    junctions: int
    cycles: int
    length: float


@dataclass(frozen=True)
class SkeletonGraph:
    """The graph of a skeleton.

    Attributes:
        nodes: By number.
        branches: By number: the longest first.
        components: By number: the longest first.
        frame: Where array indices lie in the world; its unit is that of every length.
        shape: Of the image, (Y, X) or (Z, Y, X).
        name: Of the class that it is the skeleton of, where the file has several.
    """

    nodes: tuple[SkeletonNode, ...]
    branches: tuple[Branch, ...]
    components: tuple[Component, ...]
    frame: Frame
    shape: tuple[int, ...]
    name: str | None = None

    @property
    def cycles(self) -> int:
        """Independent cycles: branches - nodes + components."""
        return len(self.branches) - len(self.nodes) + len(self.components)

    @property
    def length(self) -> float:
        """Length of all branches."""
        return sum(branch.length for branch in self.branches)

    @property
    def end_points(self) -> tuple[SkeletonNode, ...]:
        """Nodes of one branch."""
        return tuple(node for node in self.nodes if node.degree == 1)

    @property
    def junctions(self) -> tuple[SkeletonNode, ...]:
        """Nodes where three branch ends or more meet."""
        return tuple(node for node in self.nodes if node.degree > 2)

    def spread(self, quantity: str) -> Spread | None:
        """Return a quantity's mean over the whole length, minimum and maximum; None if it is not known."""
        spreads = [(branch.length, branch.spread(quantity)) for branch in self.branches]
        known = [(length, spread) for length, spread in spreads if spread is not None]
        if not known:
            return None
        mean = float(np.average([s.mean for _, s in known], weights=[length for length, _ in known]))
        return Spread(mean, min(s.min for _, s in known), max(s.max for _, s in known))


def path_length(frame: Frame) -> Callable[[Voxels], float]:
    """Return what measures the length of a chain of voxels."""
    return lambda path: paths.length(_smooth(path, frame, ring=False))


def measure(
    graph: Graph, frame: Frame, shape: tuple[int, ...], quantities: Mapping[str, Sample]
) -> SkeletonGraph:
    """Measure a traced graph.

    Args:
        graph: As `trace` returns it, pruned or not.
        frame: Where its voxels lie.
        shape: Of the image it came from.
        quantities: Those that are known, and how to get them at voxels.
    """
    import networkx as nx

    # One question for all voxels of all branches: a quantity may be costly to set up.
    edges = list(graph.edges(keys=True, data=True))
    cuts = np.cumsum([len(edge["path"]) for *_, edge in edges])[:-1]
    everything = (
        np.concatenate([edge["path"] for *_, edge in edges]) if edges else np.zeros((0, frame.dims), int)
    )
    values = {name: np.split(ask(everything), cuts) for name, ask in quantities.items()} if edges else {}

    pieces = [(graph.subgraph(members), set(members)) for members in nx.connected_components(graph)]
    owner = {node: k for k, (_, members) in enumerate(pieces) for node in members}
    drawn = []
    for k, (u, v, _, edge) in enumerate(edges):
        ring = u == v and graph.degree(u) == 2
        points = _smooth(edge["path"], frame, ring=ring)
        drawn.append((paths.length(points), k, u, v, edge, points))
    totals = [0.0] * len(pieces)
    for total, _, u, *_ in drawn:
        totals[owner[u]] += total
    rank = {k: place for place, k in enumerate(sorted(range(len(pieces)), key=lambda k: -totals[k]), 1)}
    number = {node: place for place, node in enumerate(graph.nodes, 1)}
    branches = []
    for place, (total, k, u, v, edge, points) in enumerate(
        sorted(drawn, key=lambda one: (-one[0], one[1])), 1
    ):
        start, end = (u, v) if edge["start"] == u else (v, u)
        branches.append(
            Branch(
                number=place,
                component=rank[owner[u]],
                nodes=(number[start], number[end]),
                kind=_kind(graph, u, v),
                voxels=edge["path"],
                points=points,
                length=total,
                chord=float(np.linalg.norm(points[-1] - points[0])),
                along={name: parts[k] for name, parts in values.items()},
            )
        )
    nodes = tuple(
        SkeletonNode(
            number=number[node],
            component=rank[owner[node]],
            degree=graph.degree(node),
            voxels=voxels,
            place=frame.world(voxels[0]),
        )
        for node, voxels in graph.nodes(data="voxels")
    )
    components = sorted(
        (_component(piece, rank[k], totals[k]) for k, (piece, _) in enumerate(pieces)), key=lambda c: c.number
    )
    return SkeletonGraph(nodes, tuple(branches), tuple(components), frame, shape)


def _component(piece: Graph, number: int, length: float) -> Component:
    degrees = [degree for _, degree in piece.degree()]
    edges = piece.number_of_edges()
    return Component(
        number=number,
        branches=edges,
        end_points=degrees.count(1),
        junctions=sum(degree > 2 for degree in degrees),
        cycles=edges - len(degrees) + 1,
        length=length,
    )


def _kind(graph: Graph, u: int, v: int) -> str:
    tips = (graph.degree(u) == 1) + (graph.degree(v) == 1)
    return "loop" if u == v else ("inner", "spur", "end to end")[tips]


def _smooth(path: Voxels, frame: Frame, *, ring: bool) -> npt.NDArray[np.float64]:
    return paths.smooth(frame.world(path), closed=ring)
