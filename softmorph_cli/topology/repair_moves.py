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
from softmorph_cli.topology.repair_kernels import Flat, distances
from softmorph_cli.topology.repair_map import sampling
from softmorph_cli.topology.repair_pieces import Aim, Array, Mask, Pieces

# Array indices, shape (N, d).
Indices = npt.NDArray[np.int64]

# How far past the threshold a voxel moves, in logits, so that its neighbours follow.
_PAST: Final = 0.3
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
        heights: Logits of the map minus the logit of the threshold, flat.
        p: Probabilities, flat.
        mask: Mask of the voxels where the map is above the threshold.
        original_mask: Mask of the voxels where the input of the repair was above the threshold, flat.
        labelled: The components of the mask and of its background.
        sigma: Standard deviation of the Gaussian along each axis, in voxels.
        tried: Counts of the earlier moves.
    """

    heights: Array
    p: Array
    mask: Mask
    original_mask: Mask
    labelled: Labelled
    sigma: Sequence[float]
    tried: Tried

    def aims(self, asked: Sequence[int | None]) -> list[Aim]:
        """Return the moves towards Betti numbers (None for any number)."""
        aims: list[Aim] = []
        for dimension, (number, found) in enumerate(zip(asked, self.labelled.betti.numbers, strict=True)):
            if number is not None and number != found:
                aims += self._aims(number, found, dimension)
        return [aim for aim in aims if len(aim.by)]

    def _aims(self, asked: int, found: int, dimension: int) -> list[Aim]:
        """Return the moves after which the longest `asked` bars contain the threshold and no other bars do."""
        last = self.mask.ndim - 1
        # The longest bar of components is that of the highest voxel.
        if dimension in (0, last) and found > asked and asked == (dimension == 0):
            inside = np.flatnonzero(self.mask)
            return self._of_pieces(
                inside[[self.heights[inside].argmax()]] if asked else inside[:0], dimension
            )
        bars = self._bars(dimension)
        births, deaths = (self._flat(at) for at in (bars.birth_at, bars.death_at))
        inside = bars.death_at[:, 0] >= 0
        born, dead = self.mask.flat[births], inside & self.mask.flat[deaths]
        wanted = np.arange(len(bars)) < asked
        missing, early, live = wanted & ~born, wanted & dead, born & ~dead
        aims = [
            Aim(births[missing], _PAST - self.heights[births[missing]], "sum"),
            Aim(deaths[early], -self.heights[deaths[early]] - _PAST, "sum"),
        ]
        if dimension not in (0, last):
            return aims + self._of_loops(
                births[live & ~wanted], deaths[live & ~wanted], inside[live & ~wanted]
            )
        return aims + self._of_pieces((births if dimension == 0 else deaths)[live & wanted], dimension)

    def _bars(self, dimension: int) -> Diagram:
        """Return the bars of a dimension, the longest (in probability) first.

        A bar counts as shorter for each time that it was moved without reaching the threshold.
        """
        # Bars are computed of values in (0, 1) that are ordered as the logits.
        heights = self.heights.reshape(self.mask.shape)
        bars = diagram(
            0.5 + 0.5 * heights / (1 + np.abs(heights)), dimension, self.labelled.betti.connectivity
        )
        births, deaths = (self._flat(at) for at in (bars.birth_at, bars.death_at))
        inside = bars.death_at[:, 0] >= 0
        # To a hundredth: where voxels are certain the deepest stays the longest, whatever has moved a little.
        length = np.round(self.p[births] - np.where(inside, self.p[deaths], 0), 2)
        raised = np.where(self.mask.flat[births], 0, self.tried.up[births])
        lowered = np.where(inside & ~self.mask.flat[deaths], self.tried.down[deaths], 0)
        length = length * _TRIED_LENGTH ** np.maximum(raised + lowered - 2, 0)
        return bars[np.argsort(-length, kind="stable")]

    def _of_pieces(self, wanted: Flat, dimension: int) -> list[Aim]:
        """Return the moves that erase or join components or cavities, but those with a voxel among `wanted`."""
        foreground = self.labelled.betti.connectivity
        if dimension == 0:
            sign, labels, connectivity, tried = 1, self.labelled.pieces, foreground, self.tried.down
        else:
            sign, labels, tried = -1, self.labelled.zones, self.tried.up
            connectivity = connectivities(self.mask.ndim, foreground)[1]
        original = self.original_mask if dimension == 0 else ~self.original_mask
        pieces = Pieces(labels, sign * self.heights, original, tried, connectivity, _PAST)
        erased, paths = pieces.moves(pieces.at(wanted))
        filled = np.concatenate([*erased, np.empty(0, np.int64)])
        peaks = [self._peaks(path, sign) for path in paths]
        return [Aim(filled, -sign * _PAST - self.heights[filled], "none"), *peaks]

    def _peaks(self, path: Flat, sign: int) -> Aim:
        """Return the move after which all voxels of a path are on the side `sign` of the threshold.

        The voxel that is the farthest from it moves past the threshold, and its neighbours follow; then of those still
        on the other side the farthest one, and so on.
        """
        places = np.stack(np.unravel_index(path, self.mask.shape), axis=1) / np.array(self.sigma)
        height = sign * self.heights[path].astype(np.float64)
        peaks, raised = np.zeros(len(path)), np.zeros(len(path))
        for k in np.argsort(height, kind="stable"):
            if height[k] + raised[k] <= 0:
                peaks[k] = _PAST - height[k]
                around = np.exp(-0.5 * np.square(places - places[k]).sum(axis=1))
                raised = np.maximum(raised, peaks[k] * around)
        moved = peaks > 0
        return Aim(path[moved], sign * peaks[moved], "path")

    def _of_loops(self, births: Flat, deaths: Flat, inside: Mask) -> list[Aim]:
        """Return the moves after which loops do not contain the threshold: each is cut or filled.

        The birth of each loop is moved below the threshold, or its death above the threshold, whichever is cheaper.
        """
        above, below = self.heights[births], -self.heights[deaths]
        size = sampling(self.sigma)
        wall = distances(np.pad(~self.mask, 1, constant_values=True), self._padded(births), size)
        gap = distances(self.mask, deaths, size)
        cut = (
            above * _doubled(self.tried.up[births]) * wall**2
            < below * _doubled(self.tried.down[deaths]) * gap**2
        )
        cut |= ~inside
        return [
            Aim(births[cut], -(above + _PAST)[cut], "sum"),
            Aim(deaths[~cut], (below + _PAST)[~cut], "sum"),
        ]

    def _flat(self, at: Indices) -> Flat:
        """Return the flat indices of array indices; 0 for those of -1, outside the map."""
        flat: Flat = np.ravel_multi_index(tuple(np.maximum(at, 0).T), self.mask.shape)
        return flat

    def _padded(self, at: Flat) -> Flat:
        """Return the flat indices of voxels in an array with a border of one voxel."""
        within = np.unravel_index(at, self.mask.shape)
        return np.ravel_multi_index(
            tuple(along + 1 for along in within), [size + 2 for size in self.mask.shape]
        )


def _doubled(times: npt.NDArray[np.int32]) -> Array:
    """Return the factor by which moving voxels has become more expensive that were moved back some times."""
    return np.exp2(np.minimum(times, _MOST_TRIED))
