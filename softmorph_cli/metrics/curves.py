"""A skeleton's graph as nodes and curves in space, measured in voxels: what SMD and Opt-J look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.graph import SkeletonGraph

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Nodes and the curves between them.

    Attributes:
        places: Of the nodes, shape (K, d).
        degrees: How many ends of curves meet at each node, shape (K,); 0 for a voxel on its own.
        lines: Each curve as a polyline, shape (N, d), N at least 2.
        ends: The two nodes, by index, that each curve begins and ends at.
    """

    places: Points
    degrees: npt.NDArray[np.intp]
    lines: tuple[Points, ...]
    ends: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, graph: SkeletonGraph) -> Curves:
        """Return a traced graph in units of the shortest side of a voxel, its branches smoothed as for lengths."""
        scale = graph.frame.finest
        dims = graph.frame.matrix.shape[0]
        places = [node.place / scale for node in graph.nodes]
        return cls(
            np.array(places).reshape(-1, dims),
            np.array([node.degree for node in graph.nodes], np.intp),
            tuple(branch.points / scale for branch in graph.branches),
            # Nodes are numbered from 1 on.
            tuple((a - 1, b - 1) for a, b in (branch.nodes for branch in graph.branches)),
        )

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return len(self.places) == 0

    @property
    def lone(self) -> Points:
        """The places of voxels on their own."""
        found: Points = self.places[self.degrees == 0]
        return found

    def segments(self) -> tuple[Points, Points, npt.NDArray[Any]]:
        """Return where each straight piece of a curve begins and ends, and the index of its curve."""
        if not self.lines:
            dims = self.places.shape[1]
            return np.zeros((0, dims)), np.zeros((0, dims)), np.zeros(0, np.intp)
        owner = np.repeat(np.arange(len(self.lines)), [len(line) - 1 for line in self.lines])
        begin = np.concatenate([line[:-1] for line in self.lines])
        return begin, np.concatenate([line[1:] for line in self.lines]), owner
