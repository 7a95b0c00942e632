"""The `Volume` class: a probability map with its axes, voxel size and position in world coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named

SPATIAL_AXES: Final = ("YX", "ZYX")
# The axis of slices that are separate images.
SLICE: Final = "S"
# Bounds of an affine: lengths of steps in mm, and the volume spanned by the steps' unit vectors.
_STEPS = (1e-15, 1e15)
_FLAT = 1e-6


def places(affine: npt.NDArray[Any]) -> bool:
    """Return whether an affine matrix can place voxels in the world: it is 4 x 4, finite and invertible."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
        return False
    low, high = _STEPS
    if not (np.abs(affine) < high).all():
        return False
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    return bool((steps > low).all() and abs(np.linalg.det(affine[:3, :3] / steps)) > _FLAT)


def rectangular(matrix: npt.NDArray[Any]) -> bool:
    """Return whether the columns of a matrix, which are the sides of a voxel, are orthogonal within half a degree."""
    sides = matrix / np.linalg.norm(matrix, axis=0)
    off = sides.T @ sides - np.eye(sides.shape[1])
    return bool(np.abs(off).max() < np.sin(np.radians(0.5)))


def world_directions(sides: npt.NDArray[Any]) -> list[tuple[str, bool]]:
    """Return the world axis, of "RAS", that each array axis is closest to, and whether it has the same direction.

    World axes are assigned to array axes one to one with the largest sum of absolute cosines.

    Args:
        sides: A vector along each array axis as a column, shape (3, n), of n at most 3.
    """
    cosines = sides / np.linalg.norm(sides, axis=0)
    axes = range(cosines.shape[1])
    best = max(permutations(range(3), len(axes)), key=lambda p: sum(abs(cosines[p[k], k]) for k in axes))
    return [("RAS"[best[k]], bool(cosines[best[k], k] > 0)) for k in axes]


def class_axis(axes: str, shape: Sequence[int], family: str) -> int | None:
    """Return the index of the array axis along which classes lie; None for a single map or another kind of axis.

    Args:
        axes: One letter for each array axis, the spatial axes last.
        shape: The size along each axis.
        family: The name of the file format. In a NIfTI or MGH the fourth axis has no name and is assumed to hold
            classes.
    """
    long = [
        k
        for k, (letter, size) in enumerate(zip(axes, shape, strict=True))
        if letter not in "ZYX" and size > 1
    ]
    if len(long) != 1:
        return None
    return long[0] if axes[long[0]] in ("C", SLICE) or family in ("nifti", "mgh") else None


@dataclass(frozen=True)
class Source:
    """A description of the file that a volume was read from.

    Attributes:
        path: The path of the file.
        format: The name of the file format: "nifti", "tiff", "png", "nrrd", "metaimage", "npy", "ome-zarr", "nnunet",
            "hdf5", "mgh", "mrc", "dicom".
        shape: The shape of the stored array, in the axis order of the file.
        dtype: The NumPy name of the element type in the file.
        header: Metadata of the file that the writer of the same format restores (`softmorph_cli.io.raw.Kept`).
        provenance: The provenance that softmorph wrote into the file (command, version, parameters), and under
            "read_with" options of reading that changed the values; empty if unknown, or if the volume has other values
            than the file (`with_array`).
        numbers: The indices of the channels that were read, counted from 0 as for --channel; empty if the file has no
            channel axis.
        channel: The name of the channel, or "channel 2" if it has none, where one of several channels was read; the
            name of the only image, if the file names that; else None.
    """

    path: Path
    format: str
    shape: tuple[int, ...]
    dtype: str
    header: Any = field(default=None, repr=False, compare=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    numbers: tuple[int, ...] = ()
    channel: str | None = None


@dataclass(frozen=True, repr=False)
class Volume:
    """A probability map with its geometry; instances are immutable, and no function modifies the array.

    >>> import numpy as np
    >>> Volume(np.zeros((4, 5, 6), np.float32), "ZYX", spacing=(2.0, 1.0, 1.0), unit="mm")
    <Volume ZYX 4 x 5 x 6 float32, voxels 2 x 1 x 1 mm>

    Attributes:
        array: Probabilities, float32 or float64 in [0, 1]; first the mapped axes (time, channel, ...), along which each
            image is processed separately, then the spatial axes (Y, X) or (Z, Y, X).
        axes: One letter for each array axis, ending in "YX" or "ZYX"; for example "TCZYX".
        spacing: Voxel size along each *spatial* axis in array order, or None if unknown.
        unit: Unit of `spacing`: "mm", "um", "nm", ..., or None if unknown.
        affine: 4 x 4 matrix that maps array index (z, y, x, 1) to world coordinates (x, y, z, 1), RAS+; None if
            unknown. World coordinates are in mm; if `spacing` has no unit, they are in the same unknown unit.
        channels: A name for each index of axis "C", or None.
        source: A description of the file that the map was read from; None if the map was made in memory.
        notes: Assumptions that the reader of the file made and the user should know, one sentence each.
    """

    array: npt.NDArray[Any]
    axes: str
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    affine: npt.NDArray[np.float64] | None = None
    channels: tuple[str, ...] | None = None
    source: Source | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the attributes are consistent and the values are probabilities.

        Raises:
            InputError: If attributes contradict each other, or values lie outside [0, 1].
        """
        if self.array.ndim != len(self.axes) or len(set(self.axes)) != len(self.axes):
            raise InputError(
                f"axes {self.axes!r} do not name the {self.array.ndim} axes of an array of shape "
                f"{self.array.shape}: give one distinct letter for each."
            )
        if self.spatial_axes not in SPATIAL_AXES or set(self.mapped_axes) & set("ZYX"):
            raise InputError(f"axes {self.axes!r} must end in YX or ZYX, with every other axis before them.")
        if self.array.dtype not in (np.float32, np.float64):
            raise InputError(f"a volume holds float32 or float64, not {self.array.dtype}.")
        if self.array.size == 0:
            raise InputError(f"the map is empty: its shape is {self.array.shape}.")
        # Beyond these bounds volumes would overflow.
        if self.spacing is not None and (
            len(self.spacing) != self.spatial_dims or not all(1e-12 < s < 1e12 for s in self.spacing)
        ):
            sizes = ", ".join(f"{s:g}" for s in self.spacing)
            raise InputError(
                f"voxel size {sizes} must be {self.spatial_dims} positive numbers of a sensible size: "
                "correct the file's header."
            )
        if self.affine is not None and not places(self.affine):
            raise InputError(
                f"the affine {self.affine.tolist()} does not place voxels: it must be 4 x 4, finite and have an "
                "inverse; correct the file's header."
            )
        low, high = float(self.array.min()), float(self.array.max())
        if not (low >= 0 and high <= 1):
            raise InputError(f"probabilities lie in [0, 1]; this map has values from {low:g} to {high:g}.")

    def __repr__(self) -> str:
        """Return a summary of the volume: axes, shape, element type, voxel size and file, without the values."""
        shape = " x ".join(map(str, self.array.shape))
        text = f"<Volume {self.axes} {shape} {self.array.dtype}"
        if self.spacing is not None:
            sizes = " x ".join(f"{size:g}" for size in self.spacing)
            text += f", voxels {sizes} {self.unit or 'of an unknown unit'}"
        return text + (f", from {str(self.source.path)!r}>" if self.source else ">")

    @property
    def spatial_dims(self) -> int:
        """The number of spatial axes: 2 or 3."""
        return 3 if self.axes.endswith("ZYX") else 2

    @property
    def spatial_axes(self) -> str:
        """The letters of the spatial axes, which are the last ones of the array: "YX" or "ZYX"."""
        return self.axes[-self.spatial_dims :]

    @property
    def mapped_axes(self) -> str:
        """The letters of the axes before the spatial axes, such as "TC"; filters process each image separately."""
        return self.axes[: -self.spatial_dims]

    def channel_axis(self) -> int | None:
        """Return the index of the channel axis: axis "C", or the only mapped axis, which a 4-D NIfTI does not name.

        The result is None if there are no mapped axes.

        Raises:
            InputError: If there are several mapped axes and none is "C".
        """
        mapped = self.mapped_axes
        if "C" in mapped:
            return mapped.index("C")
        if len(mapped) > 1:
            raise InputError(
                f"none of the axes {mapped} is that of the channels; name it with {named('channel_axis')}."
            )
        return 0 if mapped else None

    def class_axis(self) -> int | None:
        """Return the index of the array axis along which classes lie; None for a single map or another kind of axis."""
        return class_axis(self.axes, self.array.shape, self.source.format if self.source else "")

    def channel(self, index: int) -> Volume:
        """Return the channel at `index` as a map without channel axis; the map itself if it has no such axis."""
        axis = self.channel_axis()
        if axis is None:
            return self
        axes = self.axes[:axis] + self.axes[axis + 1 :]
        return replace(self, array=self.array.take(index, axis), axes=axes, channels=None)

    def single(self, index: int | None = None) -> Volume:
        """Return one 2D or 3D image of the map, without mapped axes.

        Args:
            index: The index along the only mapped axis that is longer than 1; None if there is no such axis.

        Raises:
            InputError: If several mapped axes are longer than 1, or one is and `index` is None.
        """
        shape = self.array.shape[: -self.spatial_dims]
        long = [axis for axis, size in enumerate(shape) if size > 1]
        if len(long) > (index is not None):
            held = " x ".join(f"{shape[axis]} along {self.axes[axis]}" for axis in long)
            raise InputError(f"it holds {held}, and one is taken at a time.")
        at = tuple(index if index is not None and axis in long else 0 for axis in range(len(shape)))
        return replace(self, array=self.array[at], axes=self.spatial_axes, channels=None)

    def with_array(self, array: npt.NDArray[Any]) -> Volume:
        """Return a copy of the volume with the values of `array`, which has the same shape; provenance is dropped.

        Raises:
            InputError: If the shape differs or values lie outside [0, 1].
        """
        if array.shape != self.array.shape:
            raise InputError(
                f"a map of shape {array.shape} cannot take the place of one of {self.array.shape}."
            )
        source = None if self.source is None else replace(self.source, provenance={})
        return replace(self, array=array, source=source)
