"""A probability map with its axes, voxel size and position in the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """Return whether an affine is valid: 4 x 4, finite and invertible."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
        return False
    low, high = _STEPS
    if not (np.abs(affine) < high).all():
        return False
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    return bool((steps > low).all() and abs(np.linalg.det(affine[:3, :3] / steps)) > _FLAT)


def rectangular(matrix: npt.NDArray[Any]) -> bool:
    """Return whether the columns of a matrix, the sides of a voxel, are at right angles within half a degree."""
    sides = matrix / np.linalg.norm(matrix, axis=0)
    off = sides.T @ sides - np.eye(sides.shape[1])
    return bool(np.abs(off).max() < np.sin(np.radians(0.5)))


def class_axis(axes: str, shape: Sequence[int], family: str) -> int | None:
    """Return the axis of classes; None for a single map, or if the axis has another meaning.

    Args:
        axes: The letters of the axes, the spatial ones last.
        shape: The size along each axis.
        family: The file format: the fourth axis of a NIfTI has no name.
    """
    long = [
        k
        for k, (letter, size) in enumerate(zip(axes, shape, strict=True))
        if letter not in "ZYX" and size > 1
    ]
    if len(long) != 1:
        return None
    return long[0] if axes[long[0]] in ("C", SLICE) or family == "nifti" else None


@dataclass(frozen=True)
class Source:
    """The file a volume was read from.

    Attributes:
        path: The file.
        format: Its format: "nifti", "tiff", "png", "nrrd", "metaimage", "npy", "ome-zarr", "nnunet".
        shape: Its shape on disk, in the file's own axis order.
        dtype: Its element type on disk, as NumPy names it.
        header: Data of the reader for the writer of the same format.
        provenance: The provenance that softmorph wrote into the file (command, version, parameters), and under
            "read_with" options of reading that changed the values; empty if unknown, or if the volume has other values
            than the file (`with_array`).
        numbers: The numbers in the file, from 0 as for --channel, of the channels that were read; empty if the file has
            no axis of channels.
        channel: The name of the single channel that was read of several, or "channel 2"; else None.
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
    """A probability map; frozen, and its array is not modified.

    >>> import numpy as np
    >>> Volume(np.zeros((4, 5, 6), np.float32), "ZYX", spacing=(2.0, 1.0, 1.0), unit="mm")
    <Volume ZYX 4 x 5 x 6 float32, voxels 2 x 1 x 1 mm>

    Attributes:
        array: float32 or float64 in [0, 1]; mapped axes (time, channel, ...) first, then (Y, X) or (Z, Y, X).
        axes: One letter for each array axis, ending in "YX" or "ZYX"; for example "TCZYX".
        spacing: Voxel size along each *spatial* axis in array order, or None if unknown.
        unit: Unit of `spacing`: "mm", "um", "nm", ..., or None if unknown.
        affine: 4 x 4, maps array index (z, y, x, 1) to world (x, y, z, 1), RAS+; None if unknown. Always in mm, except
            for a `spacing` without a unit: then in that unknown unit.
        channels: A name for each index of axis "C", or None.
        source: The file it was read from, or None.
        notes: Decisions of the reader that the user should know, one sentence each.
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
            InputError: If not.
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
        """Return axes, shape, type, voxel size and file, without the values."""
        shape = " x ".join(map(str, self.array.shape))
        text = f"<Volume {self.axes} {shape} {self.array.dtype}"
        if self.spacing is not None:
            sizes = " x ".join(f"{size:g}" for size in self.spacing)
            text += f", voxels {sizes} {self.unit or 'of an unknown unit'}"
        return text + (f", from {str(self.source.path)!r}>" if self.source else ">")

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return 3 if self.axes.endswith("ZYX") else 2

    @property
    def spatial_axes(self) -> str:
        """The trailing axes, along which filters are applied: "YX" or "ZYX"."""
        return self.axes[-self.spatial_dims :]

    @property
    def mapped_axes(self) -> str:
        """The leading axes; filters are applied to each image along them separately."""
        return self.axes[: -self.spatial_dims]

    def channel_axis(self) -> int | None:
        """Return the axis of channels: "C", or the only mapped axis (unnamed in a 4-D NIfTI); None if there is none.

        Raises:
            InputError: If there are several such axes and none is "C".
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
        """Return the axis of classes; None if there is a single map or the axis has another meaning."""
        return class_axis(self.axes, self.array.shape, self.source.format if self.source else "")

    def channel(self, index: int) -> Volume:
        """Return one channel without the axis of channels; the map itself if it has none."""
        axis = self.channel_axis()
        if axis is None:
            return self
        axes = self.axes[:axis] + self.axes[axis + 1 :]
        return replace(self, array=self.array.take(index, axis), axes=axes, channels=None)

    def single(self, index: int | None = None) -> Volume:
        """Return one image without mapped axes.

        Args:
            index: The index along the mapped axis longer than 1; None if there is no such axis.

        Raises:
            InputError: If more than one axis, or without an index any, is longer than 1.
        """
        shape = self.array.shape[: -self.spatial_dims]
        long = [axis for axis, size in enumerate(shape) if size > 1]
        if len(long) > (index is not None):
            held = " x ".join(f"{shape[axis]} along {self.axes[axis]}" for axis in long)
            raise InputError(f"it holds {held}, and one is taken at a time.")
        at = tuple(index if index is not None and axis in long else 0 for axis in range(len(shape)))
        return replace(self, array=self.array[at], axes=self.spatial_axes, channels=None)

    def with_array(self, array: npt.NDArray[Any]) -> Volume:
        """Return the volume with other values of the same shape and unknown provenance.

        Raises:
            InputError: If the shape differs or the values are no probabilities.
        """
        if array.shape != self.array.shape:
            raise InputError(
                f"a map of shape {array.shape} cannot take the place of one of {self.array.shape}."
            )
        source = None if self.source is None else replace(self.source, provenance={})
        return replace(self, array=array, source=source)
