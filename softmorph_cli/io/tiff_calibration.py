"""Calibration of the stored numbers of a TIFF by ImageJ or GDAL: slope, intercept, and the number for "no value"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from softmorph_cli.io.damage import Unsupported
from softmorph_cli.io.raw import Array
from softmorph_cli.io.stored import real, shown

_METADATA, _NO_DATA, _ORIENTATION = 42112, 42113, 274
# ImageJ's numbers of the calibration functions: a straight line, and none.
_LINE, _NONE = 0, 20
_AS_STORED: Final = 1


@dataclass(frozen=True)
class Calibration:
    """The relation of stored numbers to values.

    Attributes:
        slope: A value is a stored number times `slope`, plus `inter`.
        inter: See `slope`.
        absent: The stored number that represents a missing value, or None.
        notes: For the user.
    """

    slope: float = 1.0
    inter: float = 0.0
    absent: float | None = None
    notes: tuple[str, ...] = ()

    def without_absent(self, array: Array) -> Array:
        """Return an array with NaN in place of missing values."""
        if self.absent is None or array.dtype.kind not in "fiu":
            return array
        missing = array == (array.dtype.type(self.absent) if array.dtype.kind == "f" else self.absent)
        if not missing.any():
            return array
        exact = np.result_type(array.dtype, np.float32)
        return np.where(missing, exact.type(np.nan), array.astype(exact))


def calibration(file: Any, page: Any) -> Calibration:
    """Return the calibration of a page, with notes on it, on georeferencing and on the orientation tag.

    Raises:
        Unsupported: If it is no straight line, or differs from sample to sample.
    """
    found, notes = _imagej(file.imagej_metadata or {}) if file.is_imagej else _gdal(page), []
    if (found.slope, found.inter) != (1, 0):
        notes.append(
            f"its values are the stored numbers times {found.slope:g} plus {found.inter:g}, as it says of them."
        )
    if page.is_geotiff:
        notes.append("its position on the earth (GeoTIFF) is neither used nor kept.")
    orientation = page.tags.get(_ORIENTATION)
    if orientation is not None and orientation.value != _AS_STORED:
        notes.append(
            f"it is marked to be shown turned or mirrored (Orientation {shown(str(orientation.value))}); "
            "rows and columns are taken as they are stored."
        )
    return replace(found, notes=tuple(notes))


def _imagej(metadata: Any) -> Calibration:
    if not isinstance(function := metadata.get("cf", _NONE), int) or function not in (_LINE, _NONE):
        raise Unsupported(f"its values are calibrated by ImageJ's function {shown(str(function))}")
    if function == _NONE:
        return Calibration()
    slope, inter = real(str(metadata.get("c1", 1))), real(str(metadata.get("c0", 0)))
    if np.isnan(slope) or np.isnan(inter) or slope == 0:
        raise Unsupported("its values are calibrated by ImageJ with what are no numbers")
    return Calibration(slope, inter)


def _gdal(page: Any) -> Calibration:
    metadata, absent = page.tags.get(_METADATA), page.tags.get(_NO_DATA)
    slope = inter = None
    try:
        items = ElementTree.fromstring(str(metadata.value)).iter("Item") if metadata is not None else ()
        for role in items:
            number = real(role.text or "")
            if role.get("role") == "scale":
                slope = _same(slope, number)
            elif role.get("role") == "offset":
                inter = _same(inter, number)
    except ElementTree.ParseError:
        slope = inter = None
    if slope == 0:
        raise Unsupported("its values are scaled by 0 (GDAL_METADATA)")
    number = real(str(absent.value).strip("\0 ")) if absent is not None else np.nan
    found = Calibration(1.0 if slope is None else slope, 0.0 if inter is None else inter)
    # A missing value that is read as probability 0 needs no NaN.
    harmless = np.isnan(number) or number * found.slope + found.inter == 0
    return found if harmless else replace(found, absent=number)


def _same(before: float | None, number: float) -> float:
    if np.isnan(number) or before not in (None, number):
        raise Unsupported("its samples are scaled differently (GDAL_METADATA)")
    return number
