"""The class `Frame`: the affine map from array indices to world coordinates, in the unit of the file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import COUNTED, MILLIMETRES, length
from softmorph_cli.volume import Volume

# Relative difference of the sides of a voxel that counts as cubic: the rounding of float32.
_CUBIC: Final = 1e-5


@dataclass(frozen=True)
class Frame:
    """An affine map from array indices, (y, x) or (z, y, x), to world coordinates (x, y, z).

    Attributes:
        matrix: Linear part of the affine map, shape (3, d); each column is the displacement in world coordinates for
            one step along an array axis.
        origin: World coordinates of the voxel with index 0, shape (3,).
        unit: Unit of world coordinates, "mm", "um" or "nm", as in the file. None if the unit is unknown: lengths are
            then in voxels (along x, if voxels are not cubic).
    """

    matrix: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    unit: str | None

    @classmethod
    def of(cls, volume: Volume) -> Frame:
        """Return the frame of a volume, from its affine or else from its voxel size with index 0 at the origin."""
        dims = volume.spatial_dims
        factor, unit = length(1.0, volume.unit)
        if volume.affine is not None:
            unit = "mm" if volume.spacing is None and volume.unit is None else unit
            matrix, origin = volume.affine[:3, 3 - dims : 3], volume.affine[:3, 3]
            one = MILLIMETRES[unit] if unit is not None else float(np.linalg.norm(matrix[:, -1])) or 1.0
            return cls(matrix / one, origin / one, unit)
        sizes = np.ones(dims) if volume.spacing is None else np.array(volume.spacing)
        unit = None if volume.spacing is None else unit
        sizes = sizes / sizes[-1] if unit is None else sizes * factor
        # Array axes are (z, y, x), world axes (x, y, z).
        return cls(np.eye(3)[:, :dims][:, ::-1] * sizes, np.zeros(3), unit)

    @property
    def dims(self) -> int:
        """Number of array axes: 2 or 3."""
        return int(self.matrix.shape[1])

    @property
    def letters(self) -> str:
        """The names of the array axes, one letter each: "zyx" or "yx"."""
        return "zyx"[-self.dims :]

    @property
    def sides(self) -> npt.NDArray[np.float64]:
        """The side lengths of a voxel along each array axis, in the unit of the frame."""
        return np.asarray(np.linalg.norm(self.matrix, axis=0))

    @property
    def finest(self) -> float:
        """The length of the shortest side of a voxel, in the unit of the frame."""
        return float(self.sides.min())

    def length_of(self, length: tuple[float, str]) -> float:
        """Convert a length, a number and a unit ("mm", "um", "nm" or "vox"), to the unit of the frame.

        Raises:
            InputError: If the length is not in voxels and the unit of the frame is unknown.
        """
        return length[0] * self.finest if length[1] == "vox" else lengths.in_unit(length, self.unit)

    @property
    def suffix(self) -> str:
        """The unit of lengths as a suffix of column names: "mm", "um", "nm", or "voxels", in 2D "pixels"."""
        return self.unit or COUNTED[self.dims]

    @property
    def counted(self) -> str:
        """The unit of lengths in words; for voxels that are not cubic, with the axis along which they are counted."""
        others = [
            f"one along {axis} counts {side:.4g}"
            for axis, side in zip(self.letters, self.sides, strict=True)
            if abs(side - 1) > _CUBIC
        ]
        return (
            self.suffix
            if self.unit or not others
            else f"{self.suffix} along x, of which {' and '.join(others)}"
        )

    def world(self, index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Convert array indices, shape (..., d), to world coordinates (x, y, z), shape (..., 3)."""
        places: npt.NDArray[np.float64] = index @ self.matrix.T + self.origin
        return places

    @cached_property
    def inverse(self) -> npt.NDArray[np.float64]:
        """The matrix, shape (d, 3), that converts displacements in world coordinates to steps along the array axes."""
        return np.asarray(np.linalg.pinv(self.matrix))

    def index(self, places: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Convert world coordinates, shape (..., 3), to array indices, shape (..., d), which may lie between voxels."""
        index: npt.NDArray[np.float64] = (places - self.origin) @ self.inverse.T
        return index


def check_same_grid(reference: Volume, skeleton: Volume) -> None:
    """Check that a map and the skeleton made from the map lie on the same voxel grid.

    Raises:
        InputError: If the shapes differ, or the positions of voxels differ by more than a tenth of a voxel.
    """
    if reference.array.shape != skeleton.array.shape:
        raise InputError(
            f"the map's shape is {reference.array.shape} and the skeleton's {skeleton.array.shape}: "
            f"{named('map')} takes the map that this skeleton was made from."
        )
    ours, theirs = Frame.of(skeleton), Frame.of(reference)
    if (ours.unit is None) != (theirs.unit is None):
        return
    first = np.zeros(ours.dims)
    # Two affine maps are equal if they agree at these d + 1 places.
    corners = np.vstack([first, np.diag(np.array(skeleton.array.shape) - 1.0)])
    scale = MILLIMETRES[theirs.unit] / MILLIMETRES[ours.unit] if ours.unit and theirs.unit else 1.0
    # Smaller differences are the rounding of file formats.
    if np.allclose(ours.world(corners), theirs.world(corners) * scale, rtol=0, atol=0.1 * ours.finest):
        return
    last = corners.sum(axis=0)
    raise InputError(
        f"the map and the skeleton lie at different places: the first voxel is, in {ours.suffix}, at "
        f"{_words(theirs.world(first) * scale)} in the map and at {_words(ours.world(first))} in the skeleton, the "
        f"last at {_words(theirs.world(last) * scale)} and at {_words(ours.world(last))}."
    )


def _words(place: npt.NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in place) + ")"
