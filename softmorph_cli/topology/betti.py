"""Betti numbers of a mask, by counting: components, loops and cavities.

b0 is counted by labelling the foreground and b2 by labelling the background, which is connected the other way;
b1 follows from the Euler characteristic chi = b0 - b1 + b2, a sum over the cells of the mask. In an image the
holes are background components, and there is no b2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.topology.components import count_components

# Through faces alone, or also through edges and corners; the first one named is the default of the foreground.
CONNECTIVITIES: Final = {2: (8, 4), 3: (26, 6)}


@dataclass(frozen=True)
class Betti:
    """The Betti numbers of a mask.

    Attributes:
        b0: Connected components.
        b1: Independent loops: holes in 2D, handles and tunnels in 3D.
        b2: Cavities; None in 2D.
        euler: Euler characteristic, b0 - b1 + b2.
        connectivity: Of the foreground, 4 or 8 in 2D, 6 or 26 in 3D; the background has the other one.
    """

    b0: int
    b1: int
    b2: int | None
    euler: int
    connectivity: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """b0, b1 and, in 3D, b2."""
        return (self.b0, self.b1) if self.b2 is None else (self.b0, self.b1, self.b2)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {"betti": {f"b{k}": number for k, number in enumerate(self.numbers)}, "euler": self.euler}


def connectivities(dims: int, connectivity: int | None) -> tuple[int, int]:
    """Return the connectivity of the foreground and of the background, which has to be the other one.

    Args:
        dims: 2 or 3.
        connectivity: Of the foreground; None takes 8 or 26.

    Raises:
        InputError: If there is no such connectivity, or it has no counterpart, as 18 in 3D.
    """
    if dims not in CONNECTIVITIES:
        raise InputError(f"topology is that of 2 or 3 spatial axes, not of {dims}.")
    full, faces = CONNECTIVITIES[dims]
    chosen = full if connectivity is None else connectivity
    if chosen not in (full, faces):
        raise InputError(
            f"connectivity {chosen} has no topology in {dims}D: use {full} (background {faces}) or "
            f"{faces} (background {full})."
        )
    return chosen, faces if chosen == full else full


def betti_numbers(mask: npt.NDArray[np.bool_], connectivity: int | None = None) -> Betti:
    """Count components, loops and cavities; outside of the array is background.

    Beside the mask this takes about five bytes a voxel.

    Args:
        mask: Shape (Y, X) or (Z, Y, X), bool.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.

    Raises:
        InputError: If the array is no mask of 2 or 3 axes, or the connectivity does not exist.
    """
    if mask.dtype != np.bool_:
        raise InputError(f"Betti numbers are those of a mask of bool, not of {mask.dtype}.")
    foreground, background = connectivities(mask.ndim, connectivity)
    # One voxel of background around it joins all background that touches the border.
    padded = np.pad(mask, 1)
    outside = ~padded
    enclosed = count_components(outside, 0, background) - 1
    b0 = count_components(padded, 0, foreground)
    if mask.ndim == 2:
        return Betti(b0, enclosed, None, b0 - enclosed, foreground)
    # The background of a 26-connected foreground is 6-connected, and both together are a box (Alexander duality).
    euler = _euler(padded) if foreground == 6 else _euler(outside) - 1
    return Betti(b0, b0 + enclosed - euler, enclosed, euler, foreground)


def _euler(mask: npt.NDArray[np.bool_], axis: int = 0) -> int:
    """Return the Euler characteristic of a face-connected mask: voxels - pairs + squares of four - cubes of eight."""
    if axis == mask.ndim:
        return int(np.count_nonzero(mask))
    along = (slice(None),) * axis
    both = mask[(*along, slice(1, None))] & mask[(*along, slice(-1))]
    return _euler(mask, axis + 1) - _euler(both, axis + 1)
