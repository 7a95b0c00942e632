"""A skeleton as nodes and curves in space, measured in voxels: the input of SMD and Opt-J."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.graph import SkeletonGraph

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """The nodes of a skeleton graph and the curves between the nodes, in units of the shortest side of a voxel.

    Attributes:
        places: Coordinates of the nodes, shape (K, d).
        degrees: Number of curve ends at each node, shape (K,); 0 for an isolated voxel.
        lines: Each curve as a polyline, shape (N, d), N at least 2.
        ends: Indices, from 0, of the first and the last node of each curve.
    """

    places: Points
    degrees: npt.NDArray[np.intp]
    lines: tuple[Points, ...]
    ends: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, graph: SkeletonGraph) -> Curves:
        """Return the nodes and smoothed branches of a graph, in units of the shortest side of a voxel."""
        scale = graph.frame.finest
        return cls(
            np.array([node.place / scale for node in graph.nodes]).reshape(-1, len(graph.frame.matrix)),
            np.array([node.degree for node in graph.nodes], np.intp),
            tuple(branch.points / scale for branch in graph.branches),
            # Nodes are numbered from 1.
            tuple((branch.nodes[0] - 1, branch.nodes[1] - 1) for branch in graph.branches),
        )

    @property
    def empty(self) -> bool:
        """Whether the graph has no nodes."""
        return len(self.places) == 0

    @property
    def isolated(self) -> Points:
        """Coordinates of the isolated voxels, the nodes without a curve, shape (M, d)."""
        return np.asarray(self.places[self.degrees == 0])

    def segments(self) -> tuple[Points, Points, npt.NDArray[Any]]:
        """Return the start point, the end point and the index of the curve of each straight segment of all curves."""
        none = np.zeros((0, self.places.shape[1]))
        begin = np.concatenate([none, *(line[:-1] for line in self.lines)])
        end = np.concatenate([none, *(line[1:] for line in self.lines)])
        return begin, end, np.repeat(np.arange(len(self.lines)), [len(line) - 1 for line in self.lines])
