"""The map that a repair changes: its logits, and the probabilities and masks that follow from them.

Arrays have the channel axis first and one axis of voxels (flat indices, C order). A step of a repair moves few voxels,
and only these are computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from softmorph_cli.topology.components import bounding_box
from softmorph_cli.topology.repairing.pieces import Aim, Array, Mask
from softmorph_cli.topology.repairing.searches import Flat

if TYPE_CHECKING:
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Repairer

# Logits are finite: probabilities closer to 0 or 1 than this are certain, and ordered by their distance to the others.
NEAREST: Final = 1e-4
_DEEPER: Final = 0.05  # logits for each voxel of that distance
# Any larger lambda pulls all the way back, as this one does.
_HEAVIEST: Final = 1e6
# Gaussians are truncated here, in standard deviations.
_REACH: Final = 3.0


class ChangingMap:
    """A map during its repair.

    Args:
        start: The input map, with the channel axis first.
        priors: Betti numbers of channels and of unions of channels.
        repairer: The parameters of the repair.

    Attributes:
        shape: Shape of the spatial axes.
        p: The current probabilities, rounded as a file stores them.
        logits: The current logits.
        heights: For each prior the logit of the union of its channels minus that of the threshold. Voxels that are
            certainly inside are the higher the farther they are from others.
        masks: For each prior the mask of the union of its channels.
        original_masks: The same of the input, before it is rounded.
    """

    def __init__(self, start: Array, priors: Sequence[Prior], repairer: Repairer) -> None:
        self.shape, self.sigma = start.shape[1:], repairer.smooth[-(start.ndim - 1) :]
        self._priors, self._repairer, self._link = priors, repairer, repairer.link
        self._start = np.ascontiguousarray(start).reshape(len(start), -1)
        self._origin = self._link.logits(np.clip(self._start, NEAREST, 1 - NEAREST).astype(np.float32))
        self._change = np.zeros_like(self._origin)
        self._moved = np.empty(0, np.int64)
        self._level = np.float32(np.log(repairer.threshold) - np.log1p(-repairer.threshold))
        self.p = self._rounded(self._start.copy())
        self.logits = self._origin.copy()
        self._deepened: set[int] = set()
        self._depths = [self._depth(number, 1) for number in range(len(priors))]
        self.heights = [self._height(self.logits, number, slice(None)) for number in range(len(priors))]
        self.masks = list(repairer.masks(self.p, priors))
        self.original_masks = repairer.masks(self._start, priors)

    @property
    def array(self) -> Array:
        """The current probabilities, with the spatial axes; a copy."""
        return self.p.reshape(-1, *self.shape).copy()

    def union(self, number: int) -> Array:
        """Return the probability of the union of a prior's channels, flat."""
        return self._link.union(self.p, self._priors[number].channels)

    def mask(self, number: int) -> Mask:
        """Return the mask of a prior, with the spatial axes."""
        return self.masks[number].reshape(self.shape)

    def deepen(self, number: int) -> None:
        """Lower the heights of voxels that are certainly outside a prior by their distance to others.

        Then a gap of zeros closes where it is the narrowest.
        """
        if number not in self._deepened:
            self._deepened.add(number)
            self._depths[number] += self._depth(number, -1)
            self.heights[number] = self._height(self.logits, number, slice(None))

    def _depth(self, number: int, sign: int) -> Array:
        """Return the offsets of the heights of voxels that are certainly inside (sign 1) or outside (-1), flat."""
        p = self._link.union(self._start, self._priors[number].channels).reshape(self.shape)
        depth = _distances(p >= 1 - NEAREST if sign > 0 else p <= NEAREST, sampling(self.sigma))
        return np.float32(sign * _DEEPER) * depth.ravel()

    def shares(self, prior: Prior, at: Flat) -> Array:
        """Return the changes of the logits, shape (C, N), that raise the logit of the union of a prior by 1."""
        return self._link.shares(self.logits, prior.channels, (at,))

    def add(self, moves: Sequence[tuple[Aim, Array]]) -> bool:
        """Change the logits by moves of single voxels, and then by those that their neighbours follow.

        Args:
            moves: Moves, each with the change of the logits of the channels at its voxels, shape (C, N).

        Returns:
            Whether anything changed.
        """
        touched = []
        for kind in ("none", "sum", "path"):
            wanted = [(aim.at, by) for aim, by in moves if aim.spread == kind]
            for channel in range(len(self._change)) if wanted else ():
                at, by = _largest(
                    np.concatenate([at for at, _ in wanted]),
                    np.concatenate([by[channel] for _, by in wanted]),
                )
                if kind != "none":
                    at, by = _gaussians(at, by, self.sigma, self.shape, add=kind == "sum")
                self._change[channel, at] += by
                touched.append(at)
        at = np.unique(np.concatenate(touched)) if touched else np.empty(0, np.int64)
        self._moved = np.union1d(self._moved, at)
        self._renew(at)
        return at.size > 0

    def pull_back(self) -> None:
        """Move voxels back towards the input by a gradient step on the squared change, but not across the threshold."""
        at = self._moved
        weight = min(self._repairer.weight, _HEAVIEST)
        before = self._change[:, at]
        p = self._probabilities(before, at)
        pull = self._link.logit_gradient(p, 2 * weight * (p - self._start[:, at]))
        # Not beyond the input, however large lambda is.
        most = np.abs(before)
        after = before - np.clip(pull, -most, most).astype(before.dtype)
        masks = self._repairer.masks(self._rounded(p), self._priors)
        masks_now = self._repairer.masks(self._rounded(self._probabilities(after, at)), self._priors)
        crossed = np.any([one != other for one, other in zip(masks, masks_now, strict=True)], axis=0)
        self._change[:, at] = np.where(crossed, before, after)
        self._renew(at)
        self._moved = at[self._change[:, at].any(axis=0)]

    def _renew(self, at: Flat) -> None:
        """Compute voxels anew from the changes of their logits."""
        change = self._change[:, at]
        self.logits[:, at] = self._origin[:, at] + change
        self.p[:, at] = self._rounded(self._probabilities(change, at))
        masks = self._repairer.masks(self.p[:, at], self._priors)
        for number, mask in enumerate(masks):
            self.masks[number][at] = mask
            self.heights[number][at] = self._height(self.logits[:, at], number, at)

    def _probabilities(self, change: Array, at: Flat) -> Array:
        """Return the probabilities of voxels; those of unchanged voxels have bit for bit the values of the input."""
        moved = change != 0
        if self._repairer.kind != "apart":
            moved = moved.any(axis=0)
        start = self._start[:, at]
        p = self._link.probabilities(self._origin[:, at] + change).astype(start.dtype)
        return np.where(moved, p, start)

    def _rounded(self, p: Array) -> Array:
        rounded = self._repairer.rounded
        return p if rounded is None else rounded(p).astype(p.dtype, copy=False)

    def _height(self, logits: Array, number: int, at: Flat | slice) -> Array:
        union = self._link.union_logit(logits, self._priors[number].channels)
        height: Array = union + self._depths[number][at] - self._level
        return height


def _largest(at: Flat, by: Array) -> tuple[Flat, Array]:
    """Return the voxels with a change, each once and with the largest of its changes; of equals the first one."""
    order = np.lexsort((-np.abs(by), at))
    at, by = at[order], by[order]
    first = np.concatenate([[True], at[1:] != at[:-1]])[: len(at)] & (by != 0)
    return at[first], by[first]


def _distances(mask: Mask, voxel: Sequence[float]) -> Array:
    """Return the distance of each voxel of a mask to the nearest other one, and 0 elsewhere; float32.

    Args:
        mask: The mask; the distances to a mask of all voxels are 0.
        voxel: Size of a voxel along each axis.
    """
    from scipy.ndimage import distance_transform_edt

    result = np.zeros(mask.shape, np.float32)
    if mask.any() and not mask.all():
        # The nearest other voxel is beside the bounding box, or in it.
        box = tuple(slice(max(0, along.start - 1), along.stop + 1) for along in bounding_box(mask))
        result[box] = distance_transform_edt(mask[box], sampling=voxel)
    return result


def _gaussians(
    at: Flat, by: Array, sigma: Sequence[float], shape: tuple[int, ...], *, add: bool
) -> tuple[Flat, Array]:
    """Return the voxels around some voxels, each once, and their changes by Gaussians.

    Args:
        at: Flat indices of the centres of the Gaussians.
        by: The value at each centre.
        sigma: Standard deviation along each axis, in voxels.
        shape: Shape of the map.
        add: Whether Gaussians that overlap add up, to the largest value at a centre at most; otherwise the one that is
            farthest from 0 counts.
    """
    if not len(at):
        return at, by
    reach = [int(_REACH * size + 0.5) for size in sigma]
    steps = np.array(list(product(*(range(-far, far + 1) for far in reach))))
    weights = np.exp(-0.5 * np.square(steps / np.array(sigma)).sum(axis=1))
    centres = np.stack(np.unravel_index(at, shape), axis=1)
    total = np.zeros(int(np.prod(shape)), np.float32)
    touched = []
    # In parts, as a wide Gaussian has many voxels.
    for first in range(0, len(at), part := max(1, 2**20 // len(steps))):
        around = centres[first : first + part, None] + steps
        inside = ((around >= 0) & (around < shape)).all(axis=2)
        where = np.ravel_multi_index(tuple(around[inside].T), shape)
        values = (by[first : first + part, None] * weights)[inside].astype(np.float32)
        if add:
            np.add.at(total, where, values)
        else:
            order = np.argsort(np.abs(values), kind="stable")
            where, values = where[order], values[order]
            here = total[where]
            total[where] = np.where(np.abs(values) > np.abs(here), values, here)
        touched.append(np.unique(where))
    found = np.unique(np.concatenate(touched))
    most = np.abs(by).max()
    return found, np.clip(total[found], -most, most)


def sampling(sigma: Sequence[float]) -> list[float]:
    """Return the voxel size along each axis relative to the smallest, if the Gaussian `sigma` is isotropic in space."""
    return [max(sigma) / size for size in sigma]
