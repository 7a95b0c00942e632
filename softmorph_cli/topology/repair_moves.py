"""Which voxels a repair moves, and how far: for each wrong bar the cheaper of its two ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.topology.components import connectivities, label_components
from softmorph_cli.topology.persistence import Diagram

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
# Array indices, shape (N, d).
Indices = npt.NDArray[np.int64]

# How far past the threshold a voxel moves, in logits, so that its neighbours follow.
_PAST: Final = 0.3
# The largest exponent of the factor by which voxels that were moved become more expensive.
_MOST_TRIED: Final = 60
# The factor by which a bar counts as shorter each time that it was moved and did not come to live.
_TRIED_LENGTH: Final = 0.8


@dataclass(frozen=True)
class Aim:
    """Voxels whose logits should change.

    Attributes:
        at: Array indices, shape (N, d).
        by: The change of each, shape (N,).
        spread: Whether neighbours change too, by a Gaussian of their distance.
    """

    at: Indices
    by: Array
    spread: bool


class Tried:
    """How often each voxel was moved up or down, its neighbours included.

    A bridge that makes a loop would be cut again, and bridged again, without end. So the cost of moving a voxel back
    doubles each time that it was moved, until another move is cheaper.

    Args:
        shape: Shape of the map.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.up, self.down = (np.zeros(shape, np.int32) for _ in range(2))

    def add(self, aim: Aim) -> None:
        """Count an aim: its voxels twice, their neighbours once."""
        last = np.array(self.up.shape) - 1
        for counts, moved in ((self.up, aim.by > 0), (self.down, aim.by < 0)):
            around = [
                np.clip(aim.at[moved] + step, 0, last) for step in product((-1, 0, 1), repeat=len(last))
            ]
            counts[tuple(np.concatenate(around).T)] += 1
            counts[tuple(aim.at[moved].T)] += 1

    def cost_of_raising(self, at: Indices) -> Array:
        """Return the factors by which raising voxels has become more expensive."""
        return np.exp2(np.minimum(_at(self.down, at), _MOST_TRIED))

    def cost_of_lowering(self, at: Indices) -> Array:
        """Return the factors by which lowering voxels has become more expensive."""
        return np.exp2(np.minimum(_at(self.up, at), _MOST_TRIED))


@dataclass(frozen=True)
class Snapshot:
    """The mask of a prior at one step of a repair.

    Attributes:
        height: Logits above that of the threshold.
        mask: Where the map is above the threshold.
        original_mask: Where the input was.
        foreground: Connectivity of the mask.
        sigma: Standard deviation of the Gaussian along each axis, in voxels.
        tried: Earlier moves.
    """

    height: Array
    mask: Mask
    original_mask: Mask
    foreground: int
    sigma: Sequence[float]
    tried: Tried

    def needs_complex(self, dimension: int) -> bool:
        """Whether the bars of a dimension need the whole cubical complex, and not union-find alone."""
        return self.mask.ndim == 3 and dimension == 1

    def aims(self, bars: Diagram, asked: int, dimension: int) -> list[Aim]:
        """Return the moves after which the first `asked` bars live at the threshold and no others do."""
        inside = bars.death_at[:, 0] >= 0
        above, below = _at(self.height, bars.birth_at), -_at(self.height, bars.death_at)
        born, dead = _at(self.mask, bars.birth_at), inside & _at(self.mask, bars.death_at)
        wanted = np.arange(len(bars)) < asked
        missing, early = wanted & ~born, wanted & dead
        aims = [
            Aim(bars.birth_at[missing], _PAST - above[missing], True),
            Aim(bars.death_at[early], below[early] - _PAST, True),
        ]
        extra = born & ~dead & ~wanted
        if extra.any():
            aims += self._removals(bars[extra], above[extra], below[extra], dimension)
        return [aim for aim in aims if len(aim.by)]

    def _removals(self, bars: Diagram, above: Array, below: Array, dimension: int) -> list[Aim]:
        """Return the moves that end bars which live at the threshold: births below it, or deaths above it."""
        last = self.mask.ndim - 1
        births, deaths = bars.birth_at, bars.death_at
        inside = deaths[:, 0] >= 0
        raising = below * self.tried.cost_of_raising(deaths)
        lowering = above * self.tried.cost_of_lowering(births)
        aims = []
        if dimension == 0:
            parts = _Parts(self.height, self.mask, self.original_mask, self.foreground, births)
            lower = (parts.cost < raising * 2 * self._gap(deaths)) | ~inside
            aims.append(parts.aim(lower, -1))
        elif dimension == last:
            background = connectivities(last + 1, self.foreground)[1]
            parts = _Parts(-self.height, ~self.mask, ~self.original_mask, background, deaths)
            lower = lowering * 2 * self._wall(births) < parts.cost
            aims.append(parts.aim(~lower, 1))
        else:
            lower = lowering * self._wall(births) ** 2 < raising * self._gap(deaths) ** 2
            lower |= ~inside
        if dimension > 0:
            aims.append(Aim(births[lower], -(above + _PAST)[lower], True))
        if dimension < last:
            aims.append(Aim(deaths[~lower], (below + _PAST)[~lower], True))
        return aims

    def _gap(self, at: Indices) -> Array:
        """Return the distance of background voxels to the foreground."""
        from scipy.ndimage import distance_transform_edt

        return _at(distance_transform_edt(~self.mask, sampling=sampling(self.sigma)), at)

    def _wall(self, at: Indices) -> Array:
        """Return the distance of foreground voxels to the background, which includes all outside of the map."""
        from scipy.ndimage import distance_transform_edt

        return _at(distance_transform_edt(np.pad(self.mask, 1), sampling=sampling(self.sigma)), at + 1)


class _Parts:
    """Components of a mask that may be erased whole, each given by one of its voxels; for cavities, of the background.

    `height` are the logits above that of the threshold, for cavities below it. `cost` is the sum of the heights of each
    component; infinite for those that the repair made itself.
    """

    def __init__(
        self, height: Array, mask: Mask, original_mask: Mask, connectivity: int, at: Indices
    ) -> None:
        self.labels, count = label_components(mask, connectivity)
        self.numbers = _at(self.labels, at)
        self.height = height
        costs = np.bincount(self.labels[mask], weights=height[mask], minlength=count + 1)
        old = np.bincount(self.labels[mask & original_mask], minlength=count + 1) > 0
        self.cost = np.where(old, costs, np.inf)[self.numbers]

    def aim(self, chosen: Mask, sign: int) -> Aim:
        """Return the move that erases the chosen ones: sign -1 for components, 1 for cavities."""
        at = np.argwhere(np.isin(self.labels, self.numbers[chosen]) & (self.labels > 0))
        return Aim(at, sign * (_at(self.height, at) + _PAST), False)


def by_length(bars: Diagram, p: Array, mask: Mask, tried: Tried) -> Diagram:
    """Return bars by falling length in probability, stably; bars moved in vain count as shorter each time."""
    inside = bars.death_at[:, 0] >= 0
    # To a hundredth: where voxels are certain the deepest stays the longest, whatever has moved a little.
    length = np.round(_at(p, bars.birth_at) - np.where(inside, _at(p, bars.death_at), 0), 2)
    born, dead = _at(mask, bars.birth_at), inside & _at(mask, bars.death_at)
    raised = np.where(born, 0, _at(tried.up, bars.birth_at))
    lowered = np.where(dead, _at(tried.down, bars.death_at), 0)
    length = length * _TRIED_LENGTH ** np.maximum(raised + lowered - 2, 0)
    return bars[np.argsort(-length, kind="stable")]


def sampling(sigma: Sequence[float]) -> list[float]:
    """Return the voxel size along each axis, in units of the smallest, if the Gaussian is isotropic in space."""
    return [max(sigma) / size for size in sigma]


def _at(values: npt.NDArray[Any], index: Indices) -> Array:
    """Return the values at array indices, shape (N, d); -1, outside of the map, reads index 0."""
    return np.asarray(values[tuple(np.maximum(index.T, 0))])
