"""Interprets the stored numbers of a TIFF: colours, palettes, and calibration by ImageJ or GDAL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.damage import Unsupported
from softmorph_cli.io.itk_headers import real, shown
from softmorph_cli.io.palette import of_palette
from softmorph_cli.io.raw import Array

# The names of the samples of a pixel, by tifffile's name of the photometric interpretation.
_COLOURS = {
    "RGB": ("red", "green", "blue", "alpha"),
    "SEPARATED": ("cyan", "magenta", "yellow", "black"),
    "YCBCR": ("brightness", "blue difference", "red difference"),
    **dict.fromkeys(("CIELAB", "ICCLAB", "ITULAB"), ("lightness", "a", "b")),
}
_UNREADABLE = {
    "CFA": "the raw samples of a camera's colour filter array",
    "LOGL": "logarithms of brightness",
    "LOGLUV": "logarithms of brightness, and colours",
}
_METADATA, _NO_DATA, _ORIENTATION = 42112, 42113, 274
# ImageJ's numbers of the calibration functions: a straight line, and none.
_LINE, _NONE = 0, 20
_AS_STORED: Final = 1


@dataclass(frozen=True)
class Interpretation:
    """The meaning of the stored numbers of a TIFF page, as its fields state.

    Attributes:
        convert: A function that maps stored numbers to grey values or labels of the same type, before calibration.
        labels: Whether the converted numbers are labels.
        samples: The names of the samples of a pixel, if the samples are components of a colour.
        slope: The factor of the calibration: a value is a converted number times `slope`, plus `inter`.
        inter: The intercept of the calibration.
        absent: The converted number that represents a missing value, or None.
        notes: Sentences for the user on how the numbers were interpreted.
    """

    convert: Callable[[Array], Array] = np.asarray
    labels: bool = False
    samples: tuple[str, ...] = ()
    slope: float = 1.0
    inter: float = 0.0
    absent: float | None = None
    notes: tuple[str, ...] = ()

    def sample_names(self, count: int) -> tuple[str, ...]:
        """Return names for the `count` samples of a pixel; empty if the samples are no components of a colour."""
        named = self.samples[:count]
        return named and (*named, *(f"sample {number}" for number in range(len(self.samples), count)))

    def apply(self, array: Array) -> Array:
        """Convert stored numbers to grey values or labels; missing values become NaN, if necessary in a wider type."""
        array = self.convert(array)
        if self.absent is None or array.dtype.kind not in "fiu":
            return array
        missing = array == (array.dtype.type(self.absent) if array.dtype.kind == "f" else self.absent)
        if not missing.any():
            return array
        exact = np.result_type(array.dtype, np.float32)
        return np.where(missing, exact.type(np.nan), array.astype(exact))

    def apply_to_part(self, array: Array, path: Path) -> Array:
        """Convert a part of the stored numbers of a file to an array whose type does not depend on the values.

        Raises:
            FileError: If missing values would need a wider type.
        """
        values = self.apply(array)
        if self.absent is not None and values.dtype != self.convert(array[:0]).dtype:
            raise FileError(
                f"{path} is read in parts, and its pixels of {self.absent:g} have no value (GDAL_NODATA): set them to "
                "0 in the program that made it."
            )
        return values


def interpret(path: Path, file: Any, page: Any) -> Interpretation:
    """Return the meaning of the stored numbers of a TIFF page.

    Args:
        path: The path of the file, for messages.
        file: The open file, a `tifffile.TiffFile`.
        page: The page.

    Raises:
        InputError: If the numbers cannot be probabilities.
        Unsupported: If a palette does not fit the numbers, or the calibration is no straight line or differs from
            sample to sample.
    """
    found = _photometric(path, page)
    slope, inter, absent = _imagej(file.imagej_metadata or {}) if file.is_imagej else _gdal(page)
    notes = list(found.notes)
    if (slope, inter) != (1, 0):
        notes.append(f"its values are the stored numbers times {slope:g} plus {inter:g}, as it says of them.")
    if page.is_geotiff:
        notes.append("its position on the earth (GeoTIFF) is neither used nor kept.")
    orientation = page.tags.get(_ORIENTATION)
    if orientation is not None and orientation.value != _AS_STORED:
        notes.append(
            f"it is marked to be shown turned or mirrored (Orientation {shown(str(orientation.value))}); "
            "rows and columns are taken as they are stored."
        )
    return replace(found, slope=slope, inter=inter, absent=absent, notes=tuple(notes))


def _photometric(path: Path, page: Any) -> Interpretation:
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric in _UNREADABLE:
        raise InputError(
            f"{path} is a TIFF of {_UNREADABLE[photometric]} ({photometric}), which are no probabilities."
        )
    if photometric == "PALETTE" and page.colormap is not None:
        table = np.asarray(page.colormap)
        if table.ndim != 2 or len(table) != 3 or table.shape[1] < 2**page.bitspersample:
            raise Unsupported(f"its palette has {table.size} numbers for {page.bitspersample} bits")
        # The standard's palettes have 16 bits; some writers use 8 of them.
        colours = (table >> 8 if table.max() > 255 else table).T.astype(np.uint8)
        convert, labels, note = of_palette(colours)
        return Interpretation(convert, labels, notes=(note,))
    if photometric == "MINISWHITE":
        if page.bitspersample == 1:
            note = "it is marked 'white is zero': what is stored as 0 is shown white, and taken as 1."
            return Interpretation(np.logical_not, notes=(note,))
        note = "it is marked 'white is zero'; its numbers are taken as they are stored."
        return Interpretation(notes=(note,))
    if photometric == "YCBCR" and page.compression.name != "NONE":
        photometric = "RGB"  # decoders convert it
    samples = _COLOURS.get(photometric, ())
    if not samples and page.samplesperpixel == 2 and any(page.extrasamples or ()):
        samples = ("grey", "alpha")
    return Interpretation(samples=samples)


def _imagej(metadata: Any) -> tuple[float, float, None]:
    """Return slope and intercept of the calibration by ImageJ, and None, as ImageJ has no number for missing values."""
    function = metadata.get("cf", _NONE)
    if not isinstance(function, int) or function not in (_LINE, _NONE):
        raise Unsupported(f"its values are calibrated by ImageJ's function {shown(str(function))}")
    if function == _NONE:
        return 1.0, 0.0, None
    slope, inter = real(str(metadata.get("c1", 1))), real(str(metadata.get("c0", 0)))
    if np.isnan(slope) or np.isnan(inter) or slope == 0:
        raise Unsupported("its values are calibrated by ImageJ with what are no numbers")
    return slope, inter, None


def _gdal(page: Any) -> tuple[float, float, float | None]:
    """Return slope and intercept of the scaling by GDAL, and the number for missing values, or None."""
    metadata, no_data = page.tags.get(_METADATA), page.tags.get(_NO_DATA)
    stated: dict[str, set[float]] = {"scale": set(), "offset": set()}
    # A text that is no XML has none of the two.
    with suppress(ElementTree.ParseError):
        for item in ElementTree.fromstring(str(metadata.value)).iter("Item") if metadata is not None else ():
            stated.get(item.get("role", ""), set()).add(real(item.text or ""))
    if any(len(numbers) > 1 or any(map(np.isnan, numbers)) for numbers in stated.values()):
        raise Unsupported("its samples are scaled differently (GDAL_METADATA)")
    slope, inter = stated["scale"].pop() if stated["scale"] else 1.0, sum(stated["offset"])
    if slope == 0:
        raise Unsupported("its values are scaled by 0 (GDAL_METADATA)")
    number = real(str(no_data.value).strip("\0 ")) if no_data is not None else np.nan
    # A missing value that is read as probability 0 needs no NaN.
    return slope, inter, None if np.isnan(number) or number * slope + inter == 0 else number
