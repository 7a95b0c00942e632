"""Which end of which bar a repair moves, and how far: the one that costs less, and less than it did in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.topology.betti import connectivities
from softmorph_cli.topology.components import label_components
from softmorph_cli.topology.persistence import Diagram

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# How far past the threshold an end moves, in logits, so that voxels around it follow.
_PAST: Final = 0.3
# Beyond so many times it makes no difference how often a voxel has been moved.
_MOST_TRIED: Final = 60
# By what a bar is shorter that did not come alive.
_TRIED_LENGTH: Final = 0.8


@dataclass(frozen=True)
class Aim:
    """Voxels whose logits should change.

    Attributes:
        at: Shape (N, d).
        by: Shape (N,).
        spread: Whether their neighbours follow.
    """

    at: npt.NDArray[np.int64]
    by: Array
    spread: bool


class Tried:
    """How often voxels have been moved up, and down, with their neighbours.

    What was bridged and makes a loop would be cut again, and be bridged again, for ever. Moving a voxel back doubles
    in cost with every time it has been moved, so that something else becomes cheaper.

    Args:
        shape: Of the map.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Begin with none."""
        self.up, self.down = (np.zeros(shape, np.int32) for _ in range(2))

    def add(self, aim: Aim) -> None:
        """Count an aim: its voxels twice, those around them once."""
        last = np.array(self.up.shape) - 1
        for counts, moved in ((self.up, aim.by > 0), (self.down, aim.by < 0)):
            around = [
                np.clip(aim.at[moved] + step, 0, last) for step in product((-1, 0, 1), repeat=len(last))
            ]
            at = np.concatenate(around).T
            counts[tuple(at)] += 1
            counts[tuple(aim.at[moved].T)] += 1

    def raising(self, at: npt.NDArray[np.int64]) -> Array:
        """Return by what the cost of moving voxels up is multiplied."""
        return np.asarray(np.exp2(np.minimum(self.down[tuple(np.maximum(at.T, 0))], _MOST_TRIED)))

    def lowering(self, at: npt.NDArray[np.int64]) -> Array:
        """Return the same of moving them down."""
        return np.asarray(np.exp2(np.minimum(self.up[tuple(np.maximum(at.T, 0))], _MOST_TRIED)))


@dataclass(frozen=True)
class Snapshot:
    """A map at one step.

    Attributes:
        height: The logits above the threshold's.
        mask: What is above the threshold.
        was: What was above it at the start.
        foreground: Its connectivity.
        sigma: Of the Gaussian, along each axis.
        tried: What has been moved before.
    """

    height: Array
    mask: Mask
    was: Mask
    foreground: int
    sigma: Sequence[float]
    tried: Tried

    def costly(self, dimension: int) -> bool:
        """Whether bars of a dimension take the whole complex."""
        return self.mask.ndim == 3 and dimension == 1

    def aims(self, bars: Diagram, asked: int, dimension: int) -> list[Aim]:
        """Return what should change so that the longest bars asked for live at the threshold, and no others."""
        inside = bars.death_at[:, 0] >= 0
        birth_at, death_at = tuple(bars.birth_at.T), tuple(np.maximum(bars.death_at.T, 0))
        born, dead = self.mask[birth_at], inside & self.mask[death_at]
        above, below = self.height[birth_at], -self.height[death_at]
        wanted = np.arange(len(bars)) < asked
        extra = born & ~dead & ~wanted
        aims = [
            Aim(bars.birth_at[wanted & ~born], (_PAST - above)[wanted & ~born], True),
            Aim(bars.death_at[wanted & dead], (below - _PAST)[wanted & dead], True),
        ]
        if extra.any():
            last = self.mask.ndim - 1
            births, deaths = bars.birth_at[extra], bars.death_at[extra]
            within = inside[extra]
            raising = below[extra] * self.tried.raising(deaths)
            lowering = above[extra] * self.tried.lowering(births)
            if dimension == 0:
                parts = _Parts(self.height, self.mask, self.was, self.foreground, births)
                lower = (parts.cost < raising * 2 * self._gap(deaths)) | ~within
                aims.append(parts.aim(lower, -1))
            elif dimension == last:
                background = connectivities(last + 1, self.foreground)[1]
                parts = _Parts(-self.height, ~self.mask, ~self.was, background, deaths)
                lower = lowering * 2 * self._wall(births) < parts.cost
                aims.append(parts.aim(~lower, 1))
            else:
                lower = lowering * self._wall(births) ** 2 < raising * self._gap(deaths) ** 2
                lower |= ~within
            if dimension > 0:
                aims.append(Aim(births[lower], -(above[extra] + _PAST)[lower], True))
            if dimension < last:
                aims.append(Aim(deaths[~lower], (below[extra] + _PAST)[~lower], True))
        return [aim for aim in aims if len(aim.by)]

    def _gap(self, at: npt.NDArray[np.int64]) -> Array:
        """Return how far background voxels are from the foreground."""
        from scipy.ndimage import distance_transform_edt

        distance = distance_transform_edt(~self.mask, sampling=sampling(self.sigma))
        return np.asarray(distance[tuple(np.maximum(at.T, 0))])

    def _wall(self, at: npt.NDArray[np.int64]) -> Array:
        """Return how far foreground voxels are from the background, as which counts what is outside of the map."""
        from scipy.ndimage import distance_transform_edt

        distance = distance_transform_edt(np.pad(self.mask, 1), sampling=sampling(self.sigma))
        return np.asarray(distance[tuple(at.T + 1)])


class _Parts:
    """Components, or cavities, that are erased with all their voxels.

    Args:
        height: How far voxels are above the threshold; of cavities, below.
        mask: What they are parts of.
        was: The same at the start.
        connectivity: Theirs.
        at: A voxel in each, shape (N, d).

    Attributes:
        cost: Of each, its heights added up; infinite of what the repair made itself.
    """

    def __init__(
        self, height: Array, mask: Mask, was: Mask, connectivity: int, at: npt.NDArray[np.int64]
    ) -> None:
        """Find them."""
        self.labels, count = label_components(mask, connectivity)
        self.numbers = self.labels[tuple(np.maximum(at.T, 0))]
        self.height = height
        costs = np.bincount(self.labels[mask], weights=height[mask], minlength=count + 1)
        old = np.bincount(self.labels[mask & was], minlength=count + 1) > 0
        self.cost = np.where(old, costs, np.inf)[self.numbers]

    def aim(self, chosen: Mask, sign: int) -> Aim:
        """Return what erases some of them: components with sign -1, cavities with 1."""
        at = np.argwhere(np.isin(self.labels, self.numbers[chosen]) & (self.labels > 0))
        return Aim(at, sign * (self.height[tuple(at.T)] + _PAST), False)


def by_length(bars: Diagram, p: Array, mask: Mask, tried: Tried) -> Diagram:
    """Return bars with the longest in probability first, and equally long ones as they were.

    One that should come alive, and has been tried in vain, counts as shorter every time.
    """
    birth_at, death_at = tuple(bars.birth_at.T), tuple(np.maximum(bars.death_at.T, 0))
    inside = bars.death_at[:, 0] >= 0
    # To a hundredth: of what is certain the deepest is the longest, whatever has moved a little.
    length = np.round(p[birth_at] - np.where(inside, p[death_at], 0), 2)
    born, dead = mask[birth_at], inside & mask[death_at]
    times = np.where(born, 0, tried.up[birth_at]) + np.where(dead, tried.down[death_at], 0)
    length = length * _TRIED_LENGTH ** np.maximum(times - 2, 0)
    order = np.argsort(-length, kind="stable")
    return Diagram(*(part[order] for part in (bars.birth, bars.death, bars.birth_at, bars.death_at)))


def sampling(sigma: Sequence[float]) -> list[float]:
    """Return the size of a voxel along each axis, in the finest of them, by a Gaussian that is round in the world."""
    return [max(sigma) / size for size in sigma]
