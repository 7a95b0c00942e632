"""The choice of the voxels that a repair changes, and by how much: for each wrong bar the cheaper of its two ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.topology.betti import Labelled
from softmorph_cli.topology.components import connectivities
from softmorph_cli.topology.persistence import Diagram, diagram
from softmorph_cli.topology.repairing.current_map import ChangingMap, sampling
from softmorph_cli.topology.repairing.pieces import Aim, Array, Mask, Pieces
from softmorph_cli.topology.repairing.searches import Flat, distances

# Array indices, shape (N, d).
Indices = npt.NDArray[np.int64]

# How far past the threshold a voxel moves, in logits, so that its neighbours follow.
_PAST: Final = 0.3
# Loops that close far below the threshold are rare: at first voxels below this height are left out, in logits.
_FLOOR: Final = -4.0
# The largest exponent of the factor by which voxels that were moved become more expensive.
_MOST_TRIED: Final = 60
# The factor by which a bar counts as shorter each time that it was moved and did not come to live.
_TRIED_LENGTH: Final = 0.8


class Tried:
    """Counts of how often each voxel and its neighbours were moved up or down (their logits raised or lowered).

    A bridge that makes a loop would be cut again, and bridged again, without end. So the cost of moving a voxel back
    doubles each time that it was moved, until another move is cheaper.

    Args:
        shape: Shape of the map.

    Attributes:
        up: How often each voxel was moved up, flat.
        down: How often each voxel was moved down, flat.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self.up, self.down = (np.zeros(shape, np.int32).ravel() for _ in range(2))

    def add(self, aim: Aim) -> None:
        """Add a move to the counts: the moved voxels count twice, their neighbours once."""
        last = np.array(self._shape) - 1
        for counts, moved in ((self.up, aim.by > 0), (self.down, aim.by < 0)):
            at = np.stack(np.unravel_index(aim.at[moved], self._shape), axis=1)
            around = [np.clip(at + step, 0, last) for step in product((-1, 0, 1), repeat=len(last))]
            counts[np.ravel_multi_index(tuple(np.concatenate(around).T), self._shape)] += 1
            counts[aim.at[moved]] += 1


@dataclass(frozen=True)
class Snapshot:
    """The mask of a prior at one step of a repair.

    Attributes:
        map: The map.
        number: Index of the prior.
        labelled: The components of the mask and of its background.
        tried: Counts of the earlier moves.
    """

    map: ChangingMap
    number: int
    labelled: Labelled
    tried: Tried

    @property
    def heights(self) -> Array:
        """Logits of the map minus the logit of the threshold, flat."""
        return self.map.heights[self.number]

    @property
    def mask(self) -> Mask:
        """Mask of the voxels where the map is above the threshold, flat."""
        return self.map.masks[self.number]

    def aims(self, asked: Sequence[int | None]) -> list[Aim]:
        """Return the moves towards Betti numbers (None for any number)."""
        aims: list[Aim] = []
        for dimension, (number, found) in enumerate(zip(asked, self.labelled.betti.numbers, strict=True)):
            if number is not None and number != found:
                aims += self._aims(number, found, dimension)
        return [aim for aim in aims if len(aim.by)]

    def _aims(self, asked: int, found: int, dimension: int) -> list[Aim]:
        """Return the moves after which the longest `asked` bars contain the threshold and no other bars do."""
        last = len(self.map.shape) - 1
        if dimension in (0, last) and found > asked and asked == (dimension == 0):
            # The longest bar of components is that of the highest voxel.
            inside = np.flatnonzero(self.mask)
            return self._of_pieces(inside[[self.heights[inside].argmax()]][:asked], dimension)
        bars = self._bars(dimension, _FLOOR) if asked == 0 else None
        if bars is None or (bars.death[self._live(bars)] == 0).any():
            # Where voxels are ordered by length, or a gap that is certain is filled.
            self.map.deepen(self.number)
            bars = self._bars(dimension, -np.inf)
        births, deaths = self._flat(bars.birth_at), self._flat(bars.death_at)
        live, wanted = self._live(bars), np.arange(len(bars)) < asked
        missing = births[wanted & ~self.mask[births]]
        early = deaths[wanted & (bars.death > 0) & self.mask[deaths]]
        aims = [
            Aim(missing, _PAST - self.heights[missing], "sum"),
            Aim(early, -self.heights[early] - _PAST, "sum"),
        ]
        if dimension in (0, last):
            return aims + self._of_pieces((births if dimension == 0 else deaths)[live & wanted], dimension)
        return aims + self._of_loops(bars[live & ~wanted])

    def _live(self, bars: Diagram) -> Mask:
        """Return which bars contain the threshold."""
        deaths = self._flat(bars.death_at)
        live: Mask = self.mask[self._flat(bars.birth_at)] & ~((bars.death > 0) & self.mask[deaths])
        return live

    def _bars(self, dimension: int, floor: float) -> Diagram:
        """Return the bars of a dimension, the longest (in probability) first.

        A bar counts as shorter for each time that it was moved without reaching the threshold.

        Args:
            dimension: Dimension of the bars: 0 for components, 1 for loops (2D: holes), 2 for cavities.
            floor: Height below which voxels are left out, as if their probability were 0.
        """
        # Bars are computed of values in (0, 1) that are ordered as the logits.
        values = self.heights / (1 + np.abs(self.heights))
        values *= 0.5
        values += 0.5
        values[self.heights < floor] = 0
        bars = diagram(values.reshape(self.map.shape), dimension, self.labelled.betti.connectivity)
        p = self.map.union(self.number)
        births, deaths = self._flat(bars.birth_at), self._flat(bars.death_at)
        # To a hundredth: where voxels are certain the deepest stays the longest, whatever has moved a little.
        length = np.round(p[births] - np.where(bars.death > 0, p[deaths], 0), 2)
        raised = np.where(self.mask[births], 0, self.tried.up[births])
        lowered = np.where((bars.death > 0) & self.mask[deaths], self.tried.down[deaths], 0)
        length = length * _TRIED_LENGTH ** np.maximum(raised + lowered - 2, 0)
        return bars[np.argsort(-length, kind="stable")]

    def _of_pieces(self, wanted: Flat, dimension: int) -> list[Aim]:
        """Return the moves that erase or join components or cavities, but those with a voxel among `wanted`."""
        foreground = self.labelled.betti.connectivity
        original = self.map.original_masks[self.number]
        if dimension == 0:
            sign, labels, connectivity, tried = 1, self.labelled.pieces, foreground, self.tried.down
        else:
            sign, labels, original, tried = -1, self.labelled.zones, ~original, self.tried.up
            connectivity = connectivities(len(self.map.shape), foreground)[1]
        pieces = Pieces(labels, sign * self.heights, original, tried, connectivity, _PAST)
        erased, paths = pieces.moves(pieces.at(wanted))
        filled = np.concatenate([*erased, np.empty(0, np.int64)])
        at = np.concatenate([*paths, np.empty(0, np.int64)])
        peaks = np.concatenate([*(self._peaks(path, sign) for path in paths), np.empty(0)])
        return [
            Aim(filled, -sign * _PAST - self.heights[filled], "none"),
            Aim(at[peaks != 0], peaks[peaks != 0], "path"),
        ]

    def _peaks(self, path: Flat, sign: int) -> Array:
        """Return the changes of the voxels of a path after which all are on the side `sign` of the threshold.

        The voxel that is the farthest from it moves past the threshold, and its neighbours follow; then of those still
        on the other side the farthest one, and so on.
        """
        places = np.stack(np.unravel_index(path, self.map.shape), axis=1) / np.array(self.map.sigma)
        height = sign * self.heights[path].astype(np.float64)
        peaks, raised = np.zeros(len(path)), np.zeros(len(path))
        for k in np.argsort(height, kind="stable"):
            if height[k] + raised[k] <= 0:
                peaks[k] = _PAST - height[k]
                around = np.exp(-0.5 * np.square(places - places[k]).sum(axis=1))
                raised = np.maximum(raised, peaks[k] * around)
        return sign * peaks

    def _of_loops(self, bars: Diagram) -> list[Aim]:
        """Return the moves after which loops do not contain the threshold: each is cut or filled.

        The birth of each loop is moved below the threshold, or its death above the threshold, whichever is cheaper.
        """
        births, deaths = self._flat(bars.birth_at), self._flat(bars.death_at)
        above, below = self.heights[births], -self.heights[deaths]
        mask, size = self.mask.reshape(self.map.shape), sampling(self.map.sigma)
        # Outside the map is background.
        outside = np.pad(~mask, 1, constant_values=True)
        padded = np.ravel_multi_index(tuple(bars.birth_at.T + 1), outside.shape)
        wall, gap = distances(outside, padded, size), distances(mask, deaths, size)
        lowering, raising = above * _doubled(self.tried.up[births]), below * _doubled(self.tried.down[deaths])
        cut = (lowering * wall**2 < raising * gap**2) | (bars.death == 0)
        return [
            Aim(births[cut], -above[cut] - _PAST, "sum"),
            Aim(deaths[~cut], below[~cut] + _PAST, "sum"),
        ]

    def _flat(self, at: Indices) -> Flat:
        """Return the flat indices of array indices; 0 for those of -1, outside the map."""
        flat: Flat = np.ravel_multi_index(tuple(np.maximum(at, 0).T), self.map.shape)
        return flat


def _doubled(times: npt.NDArray[np.int32]) -> Array:
    """Return the factor by which moving voxels has become more expensive that were moved back some times."""
    return np.exp2(np.minimum(times, _MOST_TRIED))
