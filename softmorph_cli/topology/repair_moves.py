"""The choice of the voxels that a repair changes, and by how much: for each wrong bar the cheaper of its two ends."""

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
    """A move of a repair: voxels whose logits should change, and the changes.

    Attributes:
        at: Array indices of the voxels, shape (N, d).
        by: Change of the logit of each voxel, shape (N,).
        spread: Whether neighbouring voxels change too, by a Gaussian of their distance.
    """

    at: Indices
    by: Array
    spread: bool


class Tried:
    """Counts of how often each voxel and its neighbours were moved up or down (their logits raised or lowered).

    A bridge that makes a loop would be cut again, and bridged again, without end. So the cost of moving a voxel back
    doubles each time that it was moved, until another move is cheaper.

    Args:
        shape: Shape of the map.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.up, self.down = (np.zeros(shape, np.int32) for _ in range(2))

    def add(self, aim: Aim) -> None:
        """Add a move to the counts: the moved voxels count twice, their neighbours once."""
        last = np.array(self.up.shape) - 1
        for counts, moved in ((self.up, aim.by > 0), (self.down, aim.by < 0)):
            around = [
                np.clip(aim.at[moved] + step, 0, last) for step in product((-1, 0, 1), repeat=len(last))
            ]
            counts[tuple(np.concatenate(around).T)] += 1
            counts[tuple(aim.at[moved].T)] += 1

    def cost_of_raising(self, at: Indices) -> Array:
        """Return the factor by which raising each of the voxels at array indices `at` has become more expensive."""
        return np.exp2(np.minimum(_at(self.down, at), _MOST_TRIED))

    def cost_of_lowering(self, at: Indices) -> Array:
        """Return the factor by which lowering each of the voxels at array indices `at` has become more expensive."""
        return np.exp2(np.minimum(_at(self.up, at), _MOST_TRIED))


@dataclass(frozen=True)
class Snapshot:
    """The mask of a prior at one step of a repair.

    Attributes:
        height: Logits of the map minus the logit of the threshold.
        mask: Mask of the voxels where the map is above the threshold.
        original_mask: Mask of the voxels where the input of the repair was above the threshold.
        foreground: Connectivity of the foreground.
        sigma: Standard deviation of the Gaussian along each axis, in voxels.
        tried: Counts of the earlier moves.
    """

    height: Array
    mask: Mask
    original_mask: Mask
    foreground: int
    sigma: Sequence[float]
    tried: Tried

    def needs_complex(self, dimension: int) -> bool:
        """Return whether the bars of a dimension need the cubical complex (loops in 3D) rather than union-find."""
        return self.mask.ndim == 3 and dimension == 1

    def aims(self, bars: Diagram, asked: int, dimension: int) -> list[Aim]:
        """Return the moves after which the first `asked` bars contain the threshold and no other bars do.

        Args:
            bars: Bars of one dimension, the longest first.
            asked: Number of bars that should contain the threshold, which is the requested Betti number.
            dimension: Dimension of the bars: 0 for components, 1 for loops (2D: holes), 2 for cavities.
        """
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
        """Return the moves after which the given bars, which contain the threshold, no longer do.

        Each bar's birth is moved below the threshold, or its death above the threshold, whichever is cheaper. `above`
        and `below` are the distances, in logits, of the births and the deaths from the threshold.
        """
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
        """Return the distances of the background voxels at array indices `at` to the foreground."""
        from scipy.ndimage import distance_transform_edt

        return _at(distance_transform_edt(~self.mask, sampling=sampling(self.sigma)), at)

    def _wall(self, at: Indices) -> Array:
        """Return the distances of the foreground voxels at array indices `at` to the background or the outside."""
        from scipy.ndimage import distance_transform_edt

        return _at(distance_transform_edt(np.pad(self.mask, 1), sampling=sampling(self.sigma)), at + 1)


class _Parts:
    """Connected components of a mask that may be erased as a whole; the mask is the background to erase cavities.

    The attribute `cost` is the sum of the heights of each component; infinite for components that the repair itself
    made.

    Args:
        height: Logits minus the logit of the threshold; for cavities with the opposite sign.
        mask: The current mask, or its complement.
        original_mask: The mask of the input, or its complement.
        connectivity: Connectivity of `mask`.
        at: Array index of one voxel of each component.
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
        """Return the move that erases the chosen components; the sign is -1 for components and 1 for cavities."""
        at = np.argwhere(np.isin(self.labels, self.numbers[chosen]) & (self.labels > 0))
        return Aim(at, sign * (_at(self.height, at) + _PAST), False)


def by_length(bars: Diagram, p: Array, mask: Mask, tried: Tried) -> Diagram:
    """Return bars in order of decreasing length (in probability); the order of equal bars is kept.

    A bar counts as shorter for each time that it was moved without reaching the threshold.

    Args:
        bars: Bars of one dimension.
        p: Probabilities.
        mask: Mask of the voxels above the threshold.
        tried: Counts of the earlier moves.
    """
    inside = bars.death_at[:, 0] >= 0
    # To a hundredth: where voxels are certain the deepest stays the longest, whatever has moved a little.
    length = np.round(_at(p, bars.birth_at) - np.where(inside, _at(p, bars.death_at), 0), 2)
    born, dead = _at(mask, bars.birth_at), inside & _at(mask, bars.death_at)
    raised = np.where(born, 0, _at(tried.up, bars.birth_at))
    lowered = np.where(dead, _at(tried.down, bars.death_at), 0)
    length = length * _TRIED_LENGTH ** np.maximum(raised + lowered - 2, 0)
    return bars[np.argsort(-length, kind="stable")]


def sampling(sigma: Sequence[float]) -> list[float]:
    """Return the voxel size along each axis relative to the smallest, if the Gaussian `sigma` is isotropic in space."""
    return [max(sigma) / size for size in sigma]


def _at(values: npt.NDArray[Any], index: Indices) -> Array:
    """Return the values at array indices, shape (N, d); for index -1 (a death at 0) the value at index 0."""
    return np.asarray(values[tuple(np.maximum(index.T, 0))])
