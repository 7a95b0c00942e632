"""From array indices to places in the world, in millimetres where the file says how large a voxel is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.units import millimetres
from softmorph_cli.volume import Volume


@dataclass(frozen=True)
class Frame:
    """An affine map from array indices, (y, x) or (z, y, x), to world coordinates (x, y, z).

    Attributes:
        matrix: 3 x d, the world's step for a step along each array axis.
        origin: Where index 0 lies.
        unit: "mm", or None where it is unknown: lengths are then in voxels (along x, where they are not cubic).
    """

    matrix: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    unit: str | None

    @classmethod
    def of(cls, volume: Volume) -> Frame:
        """Return a volume's frame: its affine, or else its spacing from index 0 on."""
        dims = volume.spatial_dims
        if volume.affine is not None:
            return cls(volume.affine[:3, 3 - dims : 3], volume.affine[:3, 3], "mm")
        factor = millimetres(volume.unit)
        sizes = np.ones(dims) if volume.spacing is None else np.array(volume.spacing)
        unit = None if volume.spacing is None or factor is None else "mm"
        sizes = sizes / sizes[-1] if unit is None or factor is None else sizes * factor
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

    @property
    def suffix(self) -> str:
        """How names of lengths end: "mm" or "voxels"."""
        return self.unit or "voxels"

    def world(self, index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the places, shape (..., 3), of array indices, shape (..., d)."""
        places: npt.NDArray[np.float64] = index @ self.matrix.T + self.origin
        return places
