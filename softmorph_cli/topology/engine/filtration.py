"""The order in which the voxels of a map join its superlevel sets as the threshold falls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Filtration:
    """The voxels above 0 of a map in order of decreasing value; of equal voxels the first in the array comes first.

    Voxels are given by their flat index (C order) in a box with a border of zeros, one voxel wide.

    Attributes:
        box: Values of at least 0, float32 or float64, shape (Y, X) or (Z, Y, X).
        order: The voxels above 0 in order, shape (N,).
        number: For each voxel of the box the position in `order`, or -1 if its value is 0; flat, int32, or int64 for a
            box of 2^31 voxels.
    """

    box: npt.NDArray[Any]
    order: Indices
    number: npt.NDArray[Any]

    @classmethod
    def of(cls, box: npt.NDArray[Any]) -> Filtration:
        """Return the filtration of a box."""
        box = np.ascontiguousarray(box)  # so that flat indices are those of the memory
        values = box.ravel()
        places = np.flatnonzero(values > 0)
        return cls._ordered(box, places[_decreasing(values[places])])

    @classmethod
    def whole(cls, box: npt.NDArray[Any], equal: Indices) -> Filtration:
        """Return the filtration of all voxels inside the border of a box, those of value 0 last.

        Args:
            box: A box, as for the attribute.
            equal: These voxels in the order that those of equal value have.
        """
        values = box.ravel()[equal]
        above = values > 0
        places = equal[above]
        return cls._ordered(box, np.concatenate([places[_decreasing(values[above])], equal[~above]]))

    @classmethod
    def _ordered(cls, box: npt.NDArray[Any], order: Indices) -> Filtration:
        number = np.full(box.size, -1, np.int32 if box.size < 2**31 else np.int64)
        number[order] = np.arange(len(order), dtype=number.dtype)
        return cls(box, order, number)

    @cached_property
    def values(self) -> npt.NDArray[Any]:
        """The values in order, shape (N,)."""
        values: npt.NDArray[Any] = self.box.ravel()[self.order]
        return values

    def offsets(self, steps: npt.NDArray[np.integer]) -> Indices:
        """Return the flat offsets of steps along the axes, shape (K, d)."""
        strides = np.array(self.box.strides, np.int64) // self.box.itemsize
        return np.asarray(steps, np.int64) @ strides


def _decreasing(values: npt.NDArray[Any]) -> Indices:
    """Return the indices that sort positive numbers in decreasing order; equal numbers keep their order."""
    if values.dtype != np.float32 or len(values) >= 2**32:
        return np.argsort(-values, kind="stable")
    # Positive floats have the order of their bits. Sorting value and index as one integer is faster than an argsort.
    keys = (~values.view(np.int32)).astype(np.int64) << 32
    keys |= np.arange(len(values))
    keys.sort()
    keys &= 2**32 - 1
    return keys
