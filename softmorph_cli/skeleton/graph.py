"""Graphs of skeletons: nodes, branches with length, radius and certainty, connected components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton import paths
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.trace import Graph, Sample, Voxels


class Quantity(StrEnum):
    """What is measured at each voxel of a branch, in the order of tables and exports."""

    RADIUS = "radius"
    CERTAINTY = "certainty"
    # The value of the soft skeleton.
    LEVELS = "levels"


class Spread(NamedTuple):
    """Mean, minimum and maximum of a quantity along a branch."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class SkeletonNode:
    """An end point, a junction, the only node of a ring, or an isolated voxel.

    Attributes:
        number: From 1.
        component: Number of its connected component.
        degree: Number of branch ends that meet here.
        voxels: Array indices, shape (K, d): one voxel, or the cluster of a junction with its central voxel first.
        place: World coordinates (x, y, z) of the first voxel.
    """

    number: int
    component: int
    degree: int
    voxels: Voxels
    place: npt.NDArray[np.float64]

    @property
    def kind(self) -> str:
        """One of "end point", "junction", "ring" (the only node of one) and "voxel" (isolated)."""
        return {0: "voxel", 1: "end point", 2: "ring"}.get(self.degree, "junction")


@dataclass(frozen=True)
class Branch:
    """A curve between two nodes.

    Attributes:
        number: From 1, in order of decreasing length.
        component: Number of its connected component.
        nodes: Numbers of its first and last node; equal for a loop.
        kind: "end to end", "spur" (one end point), "inner" (between junctions) or "loop".
        voxels: Array indices, shape (N, d), from the first node to the last.
        points: World coordinates (x, y, z) of the voxels, shape (N, 3), smoothed except for both ends.
        length: Of the polyline through `points`, in the frame's unit.
        chord: Straight distance between the ends.
        along: Value of each known `Quantity` at each voxel, shape (N,).
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
        """Length divided by chord, at least 1; None for a loop."""
        return self.length / self.chord if self.chord > 0 else None

    def spread(self, quantity: str) -> Spread | None:
        """Return mean, minimum and maximum of a quantity along the branch; None if it is unknown."""
        values = self.along.get(quantity)
        if values is None:
            return None
        return Spread(float(values.mean()), float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Component:
    """Counts in a connected component, and the total length of its branches in the frame's unit."""

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
        nodes: In order of their numbers.
        branches: The longest first.
        components: The longest first.
        frame: Maps array indices to world coordinates; lengths are in its unit.
        shape: Of the image, (Y, X) or (Z, Y, X).
        name: Of the class, if the file has several.
    """

    nodes: tuple[SkeletonNode, ...]
    branches: tuple[Branch, ...]
    components: tuple[Component, ...]
    frame: Frame
    shape: tuple[int, ...]
    name: str | None = None

    @property
    def cycles(self) -> int:
        """Number of independent cycles: branches - nodes + components."""
        return len(self.branches) - len(self.nodes) + len(self.components)

    @property
    def length(self) -> float:
        """Total length of the branches."""
        return sum(branch.length for branch in self.branches)

    @property
    def end_points(self) -> tuple[SkeletonNode, ...]:
        """Nodes of degree 1."""
        return tuple(node for node in self.nodes if node.degree == 1)

    @property
    def junctions(self) -> tuple[SkeletonNode, ...]:
        """Nodes of degree 3 or more."""
        return tuple(node for node in self.nodes if node.degree > 2)

    def spread(self, quantity: str) -> Spread | None:
        """Return a quantity's length-weighted mean, minimum and maximum; None if it is unknown."""
        known = [(b.length, spread) for b in self.branches if (spread := b.spread(quantity)) is not None]
        if not known:
            return None
        lengths, spreads = zip(*known, strict=True)
        mean = float(np.average([spread.mean for spread in spreads], weights=lengths))
        return Spread(mean, min(spread.min for spread in spreads), max(spread.max for spread in spreads))


def path_length(frame: Frame) -> Callable[[Voxels], float]:
    """Return a function that measures the smoothed length of a chain of voxels."""
    return lambda path: paths.length(_smooth(path, frame, ring=False))


def measure(
    graph: Graph, frame: Frame, shape: tuple[int, ...], quantities: Mapping[str, Sample]
) -> SkeletonGraph:
    """Measure a traced graph.

    Args:
        graph: Result of `trace`, pruned or not.
        frame: Maps its voxels to world coordinates.
        shape: Of the image.
        quantities: A sampler for each known `Quantity`.
    """
    import networkx as nx

    edges = list(graph.edges(keys=True, data=True))
    values = {}
    if edges:
        # Each sampler is called once, with the voxels of all branches: some are slow to start.
        chains = [edge["path"] for *_, edge in edges]
        together, cuts = np.concatenate(chains), np.cumsum([len(chain) for chain in chains])[:-1]
        values = {name: np.split(sample(together), cuts) for name, sample in quantities.items()}
    points = [_smooth(edge["path"], frame, ring=u == v and graph.degree(u) == 2) for u, v, _, edge in edges]
    lengths = [paths.length(line) for line in points]
    pieces = list(nx.connected_components(graph))
    owner = {node: k for k, members in enumerate(pieces) for node in members}
    totals = np.bincount(np.array([owner[u] for u, *_ in edges], int), lengths, len(pieces)).tolist()
    rank = {k: place for place, k in enumerate(sorted(range(len(pieces)), key=lambda k: -totals[k]), 1)}
    number = {node: place for place, node in enumerate(graph.nodes, 1)}
    branches = []
    for place, k in enumerate(sorted(range(len(edges)), key=lambda k: -lengths[k]), 1):
        u, v, _, edge = edges[k]
        branches.append(
            Branch(
                number=place,
                component=rank[owner[u]],
                nodes=(number[u], number[v]) if edge["start"] == u else (number[v], number[u]),
                kind=_kind(graph, u, v),
                voxels=edge["path"],
                points=points[k],
                length=lengths[k],
                chord=float(np.linalg.norm(points[k][-1] - points[k][0])),
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
    components = tuple(_component(graph.subgraph(pieces[k]), rank[k], totals[k]) for k in rank)
    return SkeletonGraph(nodes, tuple(branches), components, frame, shape)


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
