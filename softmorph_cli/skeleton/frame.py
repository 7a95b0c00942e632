"""From array indices to places in the world, in the unit of the file where it says one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.system import lengths
from softmorph_cli.system.units import MILLIMETRES, length
from softmorph_cli.volume import Volume

# By how much the sides of a voxel may differ that is called cubic: what float32 leaves of a ratio.
_CUBIC: Final = 1e-5


@dataclass(frozen=True)
class Frame:
    """An affine map from array indices, (y, x) or (z, y, x), to world coordinates (x, y, z).

    Attributes:
        matrix: 3 x d, the world's step for a step along each array axis.
        origin: Where index 0 lies.
        unit: "mm", "um" or "nm", that of the file; None where it is unknown: lengths are then in voxels (along x,
            where they are not cubic).
    """

    matrix: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    unit: str | None

    @classmethod
    def of(cls, volume: Volume) -> Frame:
        """Return a volume's frame: its affine, or else its spacing from index 0 on."""
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
        # Array axes are (z, y, x), the world's are (x, y, z).
        return cls(np.eye(3)[:, :dims][:, ::-1] * sizes, np.zeros(3), unit)

    @property
    def dims(self) -> int:
        """2 or 3 array axes."""
        return int(self.matrix.shape[1])

    @property
    def finest(self) -> float:
        """The shortest side of a voxel."""
        return float(np.linalg.norm(self.matrix, axis=0).min())

    def length_of(self, length: tuple[float, str]) -> float:
        """Return a length that `lengths.parse` gave in this frame's unit.

        Raises:
            InputError: If it is not in voxels and the unit is unknown.
        """
        return length[0] * self.finest if length[1] == "vox" else lengths.in_unit(length, self.unit)

    @property
    def suffix(self) -> str:
        """How names of lengths end: "mm", "um", "nm" or "voxels"."""
        return self.unit or "voxels"

    @property
    def counted(self) -> str:
        """What lengths are in, in words: `suffix`, and where a voxel's sides differ and have no unit, which of them."""
        sides = np.linalg.norm(self.matrix, axis=0)
        others = [
            f"one along {axis} counts {side:.4g}"
            for axis, side in zip("zyx"[-self.dims :], sides, strict=True)
            if abs(side - 1) > _CUBIC
        ]
        return self.suffix if self.unit or not others else f"voxels along x, of which {' and '.join(others)}"

    def world(self, index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the places, shape (..., 3), of array indices, shape (..., d)."""
        places: npt.NDArray[np.float64] = index @ self.matrix.T + self.origin
        return places
