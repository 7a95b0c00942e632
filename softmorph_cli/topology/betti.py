"""Betti numbers of a mask: the numbers of components, loops and cavities.

b0 is the number of connected components of the foreground. b2 is the number of enclosed components of the background,
which has the complementary connectivity. b1 follows from the Euler characteristic chi = b0 - b1 + b2, which is a sum
over the cells of the mask. In 2D the enclosed background components are the holes, whose number is b1, and b2 does not
exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.topology.components import connectivities, count_components, label_components


@dataclass(frozen=True)
class Betti:
    """The Betti numbers of a mask.

    Attributes:
        b0: Number of connected components.
        b1: Number of independent loops: holes in 2D, handles and tunnels in 3D.
        b2: Number of cavities; None in 2D.
        euler: Euler characteristic, b0 - b1 + b2.
        connectivity: Connectivity of the foreground, 4 or 8 in 2D, 6 or 26 in 3D; the background has the complementary
            connectivity.
    """

    b0: int
    b1: int
    b2: int | None
    euler: int
    connectivity: int

    @classmethod
    def of(cls, numbers: Sequence[int], connectivity: int) -> Betti:
        """Return Betti numbers with their Euler characteristic.

        Args:
            numbers: b0, b1 and, in 3D, b2.
            connectivity: Connectivity of the foreground.
        """
        b0, b1, *b2 = numbers
        return cls(b0, b1, b2[0] if b2 else None, b0 - b1 + sum(b2), connectivity)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The Betti numbers b0, b1 and, in 3D, b2."""
        return (self.b0, self.b1) if self.b2 is None else (self.b0, self.b1, self.b2)

    def as_dict(self) -> dict[str, Any]:
        """Return the Betti numbers and the Euler characteristic as a JSON object."""
        return {"betti": {f"b{k}": number for k, number in enumerate(self.numbers)}, "euler": self.euler}


def betti_numbers(mask: npt.NDArray[np.bool_], connectivity: int | None = None) -> Betti:
    """Return the Betti numbers of a mask; everything outside of the array is background.

    The computation takes about five bytes of memory per voxel in addition to the mask.

    Args:
        mask: Boolean array, shape (Y, X) or (Z, Y, X).
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.

    Raises:
        InputError: If the array is not boolean or does not have 2 or 3 axes, or the connectivity does not exist.
    """
    if mask.dtype != np.bool_:
        raise InputError(f"Betti numbers are those of a mask of bool, not of {mask.dtype}.")
    foreground, background = connectivities(mask.ndim, connectivity)
    # A border of background joins all background components that touch the border of the array.
    padded = np.pad(mask, 1)
    enclosed = count_components(~padded, 0, background) - 1
    return _betti(padded, count_components(padded, 0, foreground), enclosed, foreground)


@dataclass(frozen=True)
class Labelled:
    """The components of a mask and of its background.

    Attributes:
        betti: The Betti numbers of the mask.
        pieces: For each voxel the number of its component of the foreground, from 1, or 0; int32, with a border of one
            voxel.
        zones: The same of the background; the border belongs to the unbounded component.
    """

    betti: Betti
    pieces: npt.NDArray[np.int32]
    zones: npt.NDArray[np.int32]

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], connectivity: int | None = None) -> Labelled:
        """Label a mask; the arguments are those of `betti_numbers`, which takes less memory."""
        foreground, background = connectivities(mask.ndim, connectivity)
        padded = np.pad(mask, 1)
        pieces, b0 = label_components(padded, foreground)
        zones, count = label_components(~padded, background)
        return cls(_betti(padded, b0, count - 1, foreground), pieces, zones)


def _betti(padded: npt.NDArray[np.bool_], b0: int, enclosed: int, foreground: int) -> Betti:
    """Return the Betti numbers of a mask with a border, of which the components are counted."""
    if padded.ndim == 2:
        return Betti.of((b0, enclosed), foreground)
    # By Alexander duality a 26-connected foreground has the characteristic of its 6-connected background, less 1.
    euler = _euler(padded) if foreground == 6 else _euler(~padded) - 1
    return Betti.of((b0, b0 + enclosed - euler, enclosed), foreground)


def _euler(mask: npt.NDArray[np.bool_], axis: int = 0) -> int:
    """Return the Euler characteristic of a face-connected mask: voxels - adjacent pairs + squares - cubes.

    Squares and cubes are blocks of 2 x 2 and 2 x 2 x 2 foreground voxels. Axes before `axis` are skipped (recursion).
    """
    if axis == mask.ndim:
        return int(np.count_nonzero(mask))
    along = (slice(None),) * axis
    both = mask[(*along, slice(1, None))] & mask[(*along, slice(-1))]
    return _euler(mask, axis + 1) - _euler(both, axis + 1)
