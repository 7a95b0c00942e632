"""Mask files: images of the shape of a map; the map is set to 0 where the mask is 0 or NaN."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io import select
from softmorph_cli.io.boxes import Box, extent
from softmorph_cli.io.formats import read_raw
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.mapped import held
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.io.values import check_type
from softmorph_cli.system.parameters import named


@dataclass(frozen=True)
class MaskFile:
    """A mask file on the voxel grid of a map.

    Attributes:
        path: The path of the mask file.
        array: The stored numbers of the mask without axes of size one; a lazy array where the format allows it.
        long: For each spatial axis of the map, whether `array` has the axis.
        zero: The stored number that means 0, by the slope and intercept of the file; NaN if none does.
    """

    path: Path
    array: Array
    long: tuple[bool, ...]
    zero: float = 0.0

    @classmethod
    def open(cls, path: Path, raw: Raw, name: str, *, lazy: bool = False) -> MaskFile:
        """Open a mask file and check that its shape is the shape of the map.

        Args:
            path: The path of the mask file.
            raw: The map, with its axes in order.
            name: The path of the map, for messages.
            lazy: Whether to read the voxels of a TIFF lazily.

        Raises:
            FileError: If the mask file cannot be read.
            InputError: If the mask file holds no numbers, or has another shape than the map.
        """
        _, other = read_raw(path, lazy=lazy)
        check_type(other, str(path))
        other = select.arrange(select.name_axes(other, str(path)))
        shape, found = raw.array.shape[-len(select.spatial(raw)) :], other.array.shape
        # Axes of size one may be others in the mask than in the map.
        if [size for size in found if size > 1] != [size for size in shape if size > 1]:
            raise InputError(
                f"{named('mask')} {path} has shape {found}; {name} has {shape}: a mask needs one value for each voxel."
            )
        array = other.array[tuple(slice(None) if size > 1 else 0 for size in found)]
        zero = -other.inter / other.slope if other.slope else float("nan")
        # A file whose numbers are not integers is compared in its own type, in which the slope was written.
        kind = array.dtype.type if array.dtype.kind == "f" else float
        return cls(path, array, tuple(size > 1 for size in shape), float(kind(zero)))

    def cropped(self, box: Box) -> MaskFile:
        """Return the mask cropped to a box, which has a slice for each spatial axis of the map."""
        return replace(self, array=self.array[tuple(self._kept(box))])

    def read(self, box: Box) -> Array:
        """Read the mask in a box of the map as a boolean array: true where the mask is neither 0 nor NaN.

        Raises:
            InputError: If the part of the mask does not fit into memory.
        """
        part = self.array[tuple(self._kept(box))]
        check_room(part.shape, part.dtype.itemsize + 1, self.path)
        values = held(part, part.dtype)
        with np.errstate(invalid="ignore"):  # raised by signalling NaN
            inside = np.asarray(values != self.zero)
        if values.dtype.kind == "f":
            inside &= ~np.isnan(values)
        return inside.reshape(extent(box))

    def notes(self, box: Box) -> tuple[str, ...]:
        """Return a note if the mask is NaN somewhere in a box; many programs store NaN outside of an organ."""
        if self.array.dtype.kind != "f":
            return ()
        part: Any = self.array[tuple(self._kept(box))]
        part = part if isinstance(part, Lazy) else np.atleast_1d(part)
        pieces = part.boxes() if isinstance(part, Lazy) else range(len(part))
        if any(np.isnan(np.asarray(part[piece])).any() for piece in pieces):
            return (f"the mask {self.path} has values that are not a number (NaN): they count as outside.",)
        return ()

    def _kept(self, box: Box) -> list[slice]:
        return [cut for cut, long in zip(box, self.long, strict=True) if long]
