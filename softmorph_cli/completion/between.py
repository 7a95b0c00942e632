"""Interpolation of probability maps between the slices that are observed.

Every method turns probabilities into scores, interpolates the scores linearly, and turns them back:

- logit: the score is logit(e + (1 - 2e) p) with e = 0.02, which keeps a probability of 0 or 1 finite; a sharp border
  then moves between two slices, where linear interpolation shows both borders at half the height.
- linear: the score is the probability.
- shape: the score is the signed distance to the border of the mask at 0.5 within a slice (Raya & Udupa, Shape-based
  interpolation of multidimensional objects, IEEE TMI 9, 1990). A distance of d voxels inside (outside: -d) becomes
  the probability 0.5 + d, at most 1 and at least 0: the share of a voxel inside a straight border at that distance.
- nearest: the nearest observed slice; of two the one with the lower index.

Classes that exclude each other are interpolated together with the rest to 1, the background, and divided by their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.classes import SUM
from softmorph_cli.errors import UsageError
from softmorph_cli.system.parameters import named

METHODS: Final = ("logit", "linear", "shape", "nearest")
Array = npt.NDArray[Any]

# The least probability that the logit tells from 0. Measured on the MNI tissue maps: tests/benchmarks/INTERPOLATION.md.
_LEAST: Final = 0.02
_LARGEST: Final = float(np.log((1 - _LEAST) / _LEAST))
_HALF: Final = 0.5


def check(name: str, method: str) -> None:
    """Raise `UsageError` for an unknown method."""
    if method not in METHODS:
        raise UsageError(f"{named(name)} {method}: use {', '.join(METHODS[:-1])} or {METHODS[-1]}.")


def excluding(maps: Array) -> bool:
    """Return whether several channels, shape (C, ...), can be classes that exclude each other: no sum exceeds 1."""
    return len(maps) > 1 and bool(maps.sum(axis=0).max() <= 1 + SUM)


def fill(
    maps: Array,
    observed: npt.NDArray[np.bool_],
    axis: int,
    method: str = "logit",
    *,
    exclusive: bool | None = None,
    spacing: tuple[float, ...] | None = None,
) -> Array:
    """Fill the missing slices of a map from the observed slices on both sides of each.

    Observed slices come out bit-identical. Before the first observed slice and after the last, the nearest one is
    repeated.

    Args:
        maps: Probabilities in [0, 1] of shape (C, Z, Y, X) or (C, Y, X), float32 or float64; C is 1 for a single map.
        observed: For each slice whether it is observed, shape (n,) with at least one true.
        axis: The axis of the slices, counted from the first spatial axis: 0 for Z of a 3D map.
        method: "logit", "linear", "shape" or "nearest"; the docstring of this module says what they do.
        exclusive: Whether the channels are classes that exclude each other, which then keep their sum; None for
            `excluding` of the observed slices.
        spacing: Voxel size along each spatial axis, for the distances of "shape"; None for equal sizes.

    Returns:
        The map with all its slices, of the same shape and type.

    Raises:
        UsageError: If the method is unknown.

    >>> import numpy as np
    >>> maps = np.array([[[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> print(fill(maps, np.array([True, False, True]), 0)[0, 1].round(3))
    [0.  1.  0.5]
    """
    check("method", method)
    known, missing = np.flatnonzero(observed), np.flatnonzero(~observed)
    filled = maps.copy()
    if not missing.size:
        return filled
    # Positions in `known` of the observed slices before and after each missing one; at the ends both are the nearest.
    after = np.searchsorted(known, missing)
    before = np.maximum(after - 1, 0)
    after = np.minimum(after, len(known) - 1)
    gap = known[after] - known[before]
    share = np.where(gap > 0, (missing - known[before]) / np.maximum(gap, 1), 0.0)
    if method == "nearest":
        share = np.where(share > _HALF, 1.0, 0.0)
    given = np.take(maps, known, axis + 1)
    scale = Scale.of(given, method, axis, exclusive=exclusive, spacing=spacing)
    scores = scale.encode(given)
    along = [1] * maps.ndim
    along[axis + 1] = -1
    weight = share.astype(maps.dtype).reshape(along)
    between = (1 - weight) * np.take(scores, before, axis + 1) + weight * np.take(scores, after, axis + 1)
    filled[(slice(None),) * (axis + 1) + (missing,)] = scale.decode(between)
    return filled


@dataclass(frozen=True)
class Scale:
    """The scores in [0, 1] of a method, which are interpolated linearly in place of probabilities.

    Attributes:
        method: "logit", "linear", "shape" or "nearest".
        exclusive: Whether the channels are classes that exclude each other; their rest to 1 then has scores as well.
        axis: The axis of the slices, counted from the first spatial axis; distances of "shape" lie within slices.
        sides: Voxel size along each axis of a slice, in units of the smallest, for distances.
        farthest: The largest distance that a score can stand for: the diagonal of a slice.
    """

    method: str
    exclusive: bool
    axis: int
    sides: tuple[float, ...]
    farthest: float

    @classmethod
    def of(
        cls,
        maps: Array,
        method: str,
        axis: int,
        *,
        exclusive: bool | None = None,
        spacing: tuple[float, ...] | None = None,
    ) -> Scale:
        """Return the scale of a map of shape (C, Z, Y, X) or (C, Y, X); the arguments are those of `fill`."""
        within = [k for k in range(maps.ndim - 1) if k != axis]
        sizes = [1.0 if spacing is None else spacing[k] for k in within]
        sides = tuple(size / min(sizes) for size in sizes)
        farthest = float(
            np.linalg.norm([maps.shape[k + 1] * side for k, side in zip(within, sides, strict=True)])
        )
        return cls(method, excluding(maps) if exclusive is None else exclusive, axis, sides, farthest)

    @property
    def _plain(self) -> bool:
        return self.method in ("linear", "nearest")

    def encode(self, maps: Array) -> Array:
        """Return the scores of probabilities of shape (C, ...); classes that exclude each other get C + 1 channels."""
        if self._plain:
            return maps
        if self.exclusive:
            maps = np.concatenate([maps, np.clip(1 - maps.sum(axis=0, keepdims=True), 0, 1)])
        if self.method == "logit":
            kept = _LEAST + (1 - 2 * _LEAST) * maps
            scores = _HALF + np.log(kept / (1 - kept)) / (2 * _LARGEST)
            return np.asarray(np.clip(scores, 0, 1), maps.dtype)
        numbers = np.arange(len(maps)).reshape(-1, *[1] * (maps.ndim - 1))
        inside = np.argmax(maps, axis=0) == numbers if self.exclusive else maps > _HALF
        distances = np.stack([self._distances(mask) for mask in inside])
        return np.asarray(_HALF + distances / (2 * self.farthest), maps.dtype)

    def decode(self, scores: Array) -> Array:
        """Return the probabilities of scores, without the rest of classes that exclude each other."""
        if self._plain:
            return np.clip(scores, 0, 1)
        centred = scores - _HALF
        if self.method == "logit":
            maps = (1 / (1 + np.exp(-2 * _LARGEST * centred)) - _LEAST) / (1 - 2 * _LEAST)
        else:
            maps = _HALF + 2 * self.farthest * centred
        maps = np.clip(maps, 0, 1)
        if not self.exclusive:
            return np.asarray(maps, scores.dtype)
        total = maps.sum(axis=0)
        # No class has a probability here: the class with the largest score gets 1.
        none = total <= 0
        maps[:, none] = np.argmax(scores[:, none], axis=0) == np.arange(len(maps))[:, np.newaxis]
        return np.asarray(maps[:-1] / np.where(none, 1, total), scores.dtype)

    def _distances(self, mask: npt.NDArray[np.bool_]) -> Array:
        """Return the signed distances of voxel centres to the border within each slice, positive inside.

        The whole of an empty slice lies as far outside as the innermost voxel of the stack lies inside, so that a shape
        that ends between two slices ends halfway; a full slice likewise.
        """
        from scipy.ndimage import distance_transform_edt

        found = np.zeros(mask.shape)
        pairs = list(zip(np.moveaxis(mask, self.axis, 0), np.moveaxis(found, self.axis, 0), strict=True))
        for plane, distance in pairs:
            if plane.any() and not plane.all():
                within = distance_transform_edt(plane, self.sides)
                distance[...] = np.where(plane, within, -distance_transform_edt(~plane, self.sides))
                distance -= np.copysign(_HALF, distance)
        deepest, outermost = (float(one) or self.farthest for one in (found.max(), -found.min()))
        for plane, distance in pairs:
            if plane.all():
                distance[...] = outermost
            elif not plane.any():
                distance[...] = -deepest
        return found
