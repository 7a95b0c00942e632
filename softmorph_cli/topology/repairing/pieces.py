"""Pieces of a mask that are too many: for each, whether erasing it or joining it to another one changes less.

The pieces are the components of the mask, or those of its background where cavities (2D: holes) are too many: filling a
cavity erases it, opening it joins it to the surroundings.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.topology.repairing.searches import Flat, Paths

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Aim:
    """A move of a repair: voxels whose logits should change, and the changes.

    Attributes:
        at: Flat indices (C order) of the voxels, shape (N,).
        by: Change of the logit of each voxel, shape (N,).
        spread: Whether neighbouring voxels change too, by a Gaussian of their distance: "none"; "sum" where Gaussians
            add up; "path" where the largest counts, so that a path does not grow thick.
    """

    at: Flat
    by: Array
    spread: Literal["none", "sum", "path"]


class Pieces:
    """The pieces of a mask, and what it takes to erase them or to join them.

    Args:
        labels: The piece of each voxel, numbered from 1, 0 between pieces; int32, shape (Y, X) or (Z, Y, X), with a
            border of one voxel; modified.
        heights: How far each voxel is beyond the threshold, on the side of the pieces; flat, without the border.
        original: Whether each voxel was in the mask before the repair; flat.
        doublings: How often the cost of each voxel between the pieces doubles; flat.
        connectivity: Connectivity of the pieces.
        past: How far beyond the threshold voxels move.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int32],
        heights: Array,
        original: Mask,
        doublings: Array,
        connectivity: int,
        past: float,
    ) -> None:
        self._labels, self._heights, self._past = labels, heights, past
        self._inner = labels[(slice(1, -1),) * labels.ndim]
        self.surroundings = int(labels.flat[0])
        if not self.surroundings:
            for axis in range(labels.ndim):
                ends = np.moveaxis(labels, axis, 0)
                ends[0] = ends[-1] = -1
        flat = self._inner.ravel()
        at = np.flatnonzero((flat > 0) & (flat != self.surroundings))
        at = at[np.argsort(flat[at], kind="stable")]
        found, starts = np.unique(flat[at], return_index=True)
        self.voxels = dict(zip(found.tolist(), np.split(at, starts[1:]), strict=len(found) > 0))
        # What the repair itself put into a gap is not erased.
        self._cost = {
            label: float(heights[own].sum(dtype=np.float64)) if original[own].any() else np.inf
            for label, own in self.voxels.items()
        }
        self._paths = Paths(labels, connectivity, heights, doublings, past)

    def at(self, voxels: Flat) -> set[int]:
        """Return the labels of the pieces of some voxels, given by flat indices without the border."""
        return set(self._inner[np.unravel_index(voxels, self._inner.shape)].tolist())

    def moves(self, wanted: Collection[int]) -> tuple[list[Flat], list[Flat]]:
        """Return the voxels of the pieces to erase, and those of the paths that join other pieces.

        The piece that is the cheapest to erase comes first. It is erased, or joined by the cheapest path to another
        piece if that costs less; with that piece it is then one.

        Args:
            wanted: Labels of pieces that stay as they are. All others are erased or joined to another one.
        """
        group = np.full(1 + max(self.surroundings, *self.voxels, 0), -1)
        group[[*self.voxels, self.surroundings]] = [*self.voxels, self.surroundings]
        members = {label: [label] for label in self.voxels if label not in wanted}
        paths: dict[int, list[Flat]] = {label: [] for label in members}
        kept: list[Flat] = []
        erased: list[Flat] = []
        queue = [(self._cost[label], label) for label in members]
        heapq.heapify(queue)
        while queue:
            cost, own = heapq.heappop(queue)
            if own not in members or cost != self._cost[own]:
                continue
            pieces, ways = members.pop(own), paths.pop(own)
            sources = np.sort(np.concatenate([*(self.voxels[piece] for piece in pieces), *ways]))
            path = self._paths.best(group, own, sources, cost)
            if path.cost < cost:
                other = int(group[path.label])
                group[pieces] = other
                self._inner[np.unravel_index(path.at, self._inner.shape)] = own
                if other in members:
                    members[other] += pieces
                    paths[other] += [*ways, path.at]
                    self._cost[other] += cost
                    heapq.heappush(queue, (self._cost[other], other))
                else:
                    kept += [*ways, path.at]
            elif np.isfinite(cost):
                group[pieces] = -1
                erased += [self.voxels[piece] for piece in pieces]
        return erased, kept
