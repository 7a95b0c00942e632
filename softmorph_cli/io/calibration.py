"""What ImageJ and GDAL say in a TIFF of its numbers: a line that scales them, and which number stands for no value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from softmorph_cli.io.damage import Unsupported
from softmorph_cli.io.raw import Array
from softmorph_cli.io.stored import real, shown

_METADATA, _NO_DATA, _ORIENTATION = 42112, 42113, 274
# ImageJ's numbers of functions: a straight line, and none.
_LINE, _NONE = 0, 20
_AS_STORED: Final = 1


@dataclass(frozen=True)
class Calibration:
    """What the stored numbers of a TIFF mean.

    Attributes:
        slope: A value is a stored number times this,
        inter: plus this.
        absent: The stored number that stands for no value, or None.
        notes: For the user.
    """

    slope: float = 1.0
    inter: float = 0.0
    absent: float | None = None
    notes: tuple[str, ...] = ()

    def without_absent(self, array: Array) -> Array:
        """Return an array with NaN in place of the number that stands for no value."""
        if self.absent is None or array.dtype.kind not in "fiu":
            return array
        gone = array == (array.dtype.type(self.absent) if array.dtype.kind == "f" else self.absent)
        if not gone.any():
            return array
        exact = np.result_type(array.dtype, np.float32)
        return np.where(gone, exact.type(np.nan), array.astype(exact))


def calibration(file: Any, page: Any) -> Calibration:
    """Return what a file says of the numbers of a page.

    Raises:
        Unsupported: If its numbers are scaled by what is no straight line, or differently from sample to sample.
    """
    found, told = _imagej(file.imagej_metadata or {}) if file.is_imagej else _gdal(page), []
    if (found.slope, found.inter) != (1, 0):
        told.append(
            f"its values are the stored numbers times {found.slope:g} plus {found.inter:g}, as it says of them."
        )
    if page.is_geotiff:
        told.append("its position on the earth (GeoTIFF) is neither used nor kept.")
    turned = page.tags.get(_ORIENTATION)
    if turned is not None and turned.value != _AS_STORED:
        told.append(
            f"it is marked to be shown turned or mirrored (Orientation {shown(str(turned.value))}); rows and columns "
            "are taken as they are stored."
        )
    return replace(found, notes=tuple(told))


def _imagej(told: Any) -> Calibration:
    if not isinstance(function := told.get("cf", _NONE), int) or function not in (_LINE, _NONE):
        raise Unsupported(f"its values are calibrated by ImageJ's function {shown(str(function))}")
    if function == _NONE:
        return Calibration()
    slope, inter = real(str(told.get("c1", 1))), real(str(told.get("c0", 0)))
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
    none = real(str(absent.value).strip("\0 ")) if absent is not None else np.nan
    found = Calibration(1.0 if slope is None else slope, 0.0 if inter is None else inter)
    # What is read as 0 in any case does no harm.
    return found if np.isnan(none) or none * found.slope + found.inter == 0 else replace(found, absent=none)


def _same(before: float | None, number: float) -> float:
    if np.isnan(number) or before not in (None, number):
        raise Unsupported("its samples are scaled differently (GDAL_METADATA)")
    return number
