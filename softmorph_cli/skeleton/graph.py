"""The graph of a skeleton: nodes, branches with length, radius and certainty, and connected components."""

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
    """A quantity that is measured at each voxel of a branch; the members are in the order of tables and exports."""

    RADIUS = "radius"
    CERTAINTY = "certainty"
    # The value of the soft skeleton.
    LEVELS = "levels"


class Spread(NamedTuple):
    """The mean, minimum and maximum of a quantity, such as the radius, along a branch or a graph."""

    mean: float
    min: float
    max: float


@dataclass(frozen=True)
class SkeletonNode:
    """An end point, a junction, the only node of a ring, or an isolated voxel.

    Attributes:
        number: Index of the node in the graph, from 1.
        component: Index, from 1, of the connected component that contains the node.
        degree: Number of branch ends that meet at the node.
        voxels: Array indices of the node's voxels, shape (K, d): one voxel, or all adjacent voxels that form a junction
            (its cluster), with the central voxel first.
        place: World coordinates (x, y, z) of the first voxel.
    """

    number: int
    component: int
    degree: int
    voxels: Voxels
    place: npt.NDArray[np.float64]

    @property
    def kind(self) -> str:
        """The kind of node: "end point", "junction", "ring" (only node of a ring) or "voxel" (an isolated voxel)."""
        return {0: "voxel", 1: "end point", 2: "ring"}.get(self.degree, "junction")


@dataclass(frozen=True)
class TreePlace:
    """The place of a branch in the tree that begins at a root.

    Attributes:
        generation: Number of branches between the root and this branch: 0 at the root.
        strahler: Strahler's order; None for a branch that closes a cycle.
        parent: Index of the branch before this one on the way from the root; None at the root.
        angle: Angle in degrees by which the branch turns away from its parent; None without a parent.
    """

    generation: int
    strahler: int | None
    parent: int | None
    angle: float | None


@dataclass(frozen=True)
class Branch:
    """A branch of a skeleton graph: a curve between two nodes.

    Attributes:
        number: Index of the branch in the graph, from 1, in order of decreasing length.
        component: Index, from 1, of the connected component that contains the branch.
        nodes: Indices of the first and the last node of the branch; equal for a loop.
        kind: "end to end", "spur" (one end point), "inner" (between junctions) or "loop".
        voxels: Array indices of the voxels along the branch, shape (N, d), from the first node to the last.
        points: World coordinates (x, y, z) of the voxels, shape (N, 3), smoothed except for both ends.
        length: Length of the polyline through `points`, in the unit of the graph's frame.
        chord: Straight distance between the two ends of the branch.
        along: Values of each known `Quantity` at the voxels of the branch, shape (N,), by name.
        type: The branch type in the words of skan, "endpoint-to-endpoint", "junction-to-endpoint",
            "junction-to-junction" or "isolated cycle"; "spur" for a branch to an end point that is shorter than the
            radius at its junction, which `--prune radius` removes.
        tree: The place in the tree; None if no root is known.
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
    type: str = ""
    tree: TreePlace | None = None

    @property
    def cross_section(self) -> float | None:
        """The area of a disk of the mean radius, in the unit of the frame squared; None if no radius is known."""
        radius = self.spread(Quantity.RADIUS)
        return None if radius is None else float(np.pi * radius.mean**2)

    @property
    def tortuosity(self) -> float | None:
        """The length of the branch divided by its chord, at least 1; None for a loop, whose chord is 0."""
        return self.length / self.chord if self.chord > 0 else None

    def spread(self, quantity: str) -> Spread | None:
        """Return the mean, minimum and maximum of a quantity along the branch; None if the quantity is unknown."""
        values = self.along.get(quantity)
        if values is None:
            return None
        return Spread(float(values.mean()), float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Component:
    """The size of a connected component of a skeleton graph.

    Attributes:
        number: Index of the component in the graph, from 1, in order of decreasing length.
        branches: Number of branches.
        end_points: Number of end points.
        junctions: Number of junctions.
        cycles: Number of independent cycles.
        length: Total length of the branches, in the unit of the graph's frame.
    """

    number: int
    branches: int
    end_points: int
    junctions: int
    cycles: int
    length: float


@dataclass(frozen=True)
class SkeletonGraph:
    """The graph of a skeleton: nodes (end points, junctions) and branches between them, with measurements.

    Attributes:
        nodes: The nodes; the node with index (`number`) k is at position k - 1.
        branches: The branches, the longest first.
        components: The connected components, the longest first.
        frame: The affine map from array indices to world coordinates; lengths are in the unit of the frame.
        shape: Shape of the image, (Y, X) or (Z, Y, X).
        name: Name of the class, if the file has several classes.
    """

    nodes: tuple[SkeletonNode, ...]
    branches: tuple[Branch, ...]
    components: tuple[Component, ...]
    frame: Frame
    shape: tuple[int, ...]
    name: str | None = None

    @property
    def cycles(self) -> int:
        """The number of independent cycles of the graph: branches - nodes + components."""
        return len(self.branches) - len(self.nodes) + len(self.components)

    @property
    def length(self) -> float:
        """The total length of all branches, in the unit of the frame."""
        return sum(branch.length for branch in self.branches)

    @property
    def end_points(self) -> tuple[SkeletonNode, ...]:
        """The end points: nodes of degree 1."""
        return tuple(node for node in self.nodes if node.degree == 1)

    @property
    def junctions(self) -> tuple[SkeletonNode, ...]:
        """The junctions: nodes of degree 3 or more."""
        return tuple(node for node in self.nodes if node.degree > 2)

    def spread(self, quantity: str) -> Spread | None:
        """Return the length-weighted mean, minimum and maximum of a quantity over all branches; None if unknown."""
        known = [(b.length, spread) for b in self.branches if (spread := b.spread(quantity)) is not None]
        if not known:
            return None
        lengths, spreads = zip(*known, strict=True)
        mean = float(np.average([spread.mean for spread in spreads], weights=lengths))
        return Spread(mean, min(spread.min for spread in spreads), max(spread.max for spread in spreads))


def path_length(frame: Frame) -> Callable[[Voxels], float]:
    """Return a function that takes a chain of voxels (array indices) and returns its length after smoothing."""
    return lambda path: paths.length(_smooth(path, frame, ring=False))


def measure(
    graph: Graph, frame: Frame, shape: tuple[int, ...], quantities: Mapping[str, Sample]
) -> SkeletonGraph:
    """Measure the branches of a traced graph and return the graph with its measurements.

    Args:
        graph: Result of `trace`, pruned or not.
        frame: The affine map from array indices to world coordinates.
        shape: Shape of the image.
        quantities: For each known `Quantity`, a function that returns its values at given voxels.
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
        along = {name: parts[k] for name, parts in values.items()}
        fork = -1 if graph.degree(edge["start"]) == 1 else 0
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
                along=along,
                type=_type(graph, u, v, lengths[k], along.get(Quantity.RADIUS, [0.0])[fork]),
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


def _type(graph: Graph, u: int, v: int, length: float, radius: float) -> str:
    """Return the type of a branch; `radius` is that of the vessel at its junction, if there is one."""
    if u == v and graph.degree(u) == 2:
        return "isolated cycle"
    tips = (graph.degree(u) == 1) + (graph.degree(v) == 1)
    if tips == 1 and length < radius:
        return "spur"
    return ("junction-to-junction", "junction-to-endpoint", "endpoint-to-endpoint")[tips]


def _smooth(path: Voxels, frame: Frame, *, ring: bool) -> npt.NDArray[np.float64]:
    return paths.smooth(frame.world(path), closed=ring)
