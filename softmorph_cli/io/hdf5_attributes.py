"""What the attributes of an HDF5 dataset say of its axes, voxel size and range, as ilastik and others write them.

ilastik writes `axistags` (vigra's JSON: the key and the resolution of each axis), `axis_units` (JSON: the unit of each
axis, by key) and `drange` (the lowest and the highest number). Fiji's HDF5 plugins and PlantSeg write
`element_size_um`, in the order z, y, x. h5py's dimension labels name axes too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.io.damage import Damaged
from softmorph_cli.system.printable import printable
from softmorph_cli.system.units import TimeStep, in_one_unit, sizeless, time_step

_LETTERS: Final = "TZYXC"
# Units of axes whose size in space is unknown.
_PIXELS: Final = ("pixel", "pixels", "px", "voxel", "voxels")
_LONGEST_TEXT: Final = 1 << 20
_SHOWN: Final = 40
# A collection of texts: its signature and version, its size, and then objects of a header of 16 bytes and their bytes.
_COLLECTION: Final = b"GCOL\x01"
_OBJECT: Final = struct.Struct("<HH4xQ")
# How much of the start and the end of a file is searched for collections.
_SEARCHED: Final = 1 << 22


@dataclass(frozen=True)
class Description:
    """What the attributes of a dataset say.

    Attributes:
        axes: A letter for each axis, or None where the attributes do not name them.
        spacing: The voxel size by axis letter, for spatial axes whose size is stated.
        unit: The unit of `spacing`: "mm", "um", "nm" or None.
        time_step: The time between two indices of axis "T", or None.
        highest: The number that ilastik renormalised 1 to, if it states a range from 0; else None.
        notes: Sentences on what is not used.
    """

    axes: str | None = None
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    time_step: TimeStep | None = None
    highest: float | None = None
    notes: tuple[str, ...] = ()


def describe(dataset: Any, shape: tuple[int, ...]) -> Description:
    """Read the attributes of a dataset, an object of h5py, of which the shape is known."""
    axes, resolutions, notes = _tagged(dataset, len(shape))
    axes = axes or _labelled(dataset, len(shape))
    units = _json(dataset, "axis_units")
    units = units if isinstance(units, dict) else {}
    sizes: dict[str, tuple[float, Any]] = {}
    step = None
    for letter, size in resolutions.items():
        unit = units.get(letter.lower(), "")
        unit = unit if isinstance(unit, str) else ""
        if letter == "T":
            step = time_step(size, unit)
        elif letter in "ZYX" and size > 0 and unit.strip().lower() not in _PIXELS:
            sizes[letter] = (size, unit)
    if not sizes:
        in_micrometres = _numbers(dataset, "element_size_um", 3)
        if in_micrometres is not None and min(in_micrometres) > 0:
            sizes = {letter: (size, "um") for letter, size in zip("ZYX", in_micrometres, strict=True)}
    spacing, unit_name = in_one_unit(sizes)
    if unit_name is not None:
        notes += sizeless(letter for letter in "ZYX" if letter in sizes and letter not in spacing)
    span = _numbers(dataset, "drange", 2)
    return Description(
        axes=axes,
        spacing=spacing,
        unit=unit_name,
        time_step=step,
        highest=span[1] if span is not None and span[0] == 0 else None,
        notes=tuple(notes),
    )


def check_texts(path: Path) -> None:
    """Refuse a file whose collections of texts do not hold the objects that they list: libhdf5 would never return.

    Raises:
        Damaged: If a collection in the first or the last 4 MiB of the file is broken.
    """
    with path.open("rb") as file:
        parts = [file.read(_SEARCHED)]
        if (more := path.stat().st_size - _SEARCHED) > 0:
            file.seek(max(_SEARCHED, more))
            parts.append(file.read(_SEARCHED))
    for content in parts:
        at = content.find(_COLLECTION)
        while 0 <= at <= len(content) - 2 * _OBJECT.size:
            end = at + struct.unpack_from("<Q", content, at + 8)[0]
            place = at + _OBJECT.size
            while place + _OBJECT.size <= min(end, len(content)):
                number, _, size = _OBJECT.unpack_from(content, place)
                # Object 0 is the free room, whose size counts its header.
                room = size if number == 0 else _OBJECT.size + -(-size // 8) * 8
                place += room
                if room < _OBJECT.size or place > end:
                    raise Damaged("its texts do not fit the room for them")
            at = content.find(_COLLECTION, at + 1)


def _tagged(dataset: Any, count: int) -> tuple[str | None, dict[str, float], list[str]]:
    """Return the letters and the resolutions by `axistags`, and a note where it does not name the axes."""
    tags = _json(dataset, "axistags")
    if tags is None:
        return None, {}, []
    listed = tags.get("axes") if isinstance(tags, dict) else None
    told = [one if isinstance(one, dict) else {} for one in listed] if isinstance(listed, list) else []
    keys = [str(one.get("key", "?")).upper() for one in told]
    if len(keys) != count or len(set(keys)) != count or not set(keys) <= set(_LETTERS):
        shown = printable("".join(keys)[:_SHOWN].lower())
        return None, {}, [f"its axistags, {shown!r}, do not name its {count} axes, and are not used."]
    sizes = {key: _number(one.get("resolution")) for key, one in zip(keys, told, strict=True)}
    return "".join(keys), {key: size for key, size in sizes.items() if size is not None}, []


def _labelled(dataset: Any, count: int) -> str | None:
    """Return the letters by HDF5's own labels of dimensions; None if not all of them are letters of axes."""
    letters = "".join(str(dimension.label) for dimension in dataset.dims).upper()
    known = len(letters) == count == len(set(letters)) and set(letters) <= set(_LETTERS)
    return letters if known else None


def _json(dataset: Any, name: str) -> Any:
    """Return the value of an attribute that holds JSON; None if it is missing or is no JSON."""
    text = _attribute(dataset, name, ())
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _numbers(dataset: Any, name: str, count: int) -> tuple[float, ...] | None:
    """Return an attribute of `count` finite numbers; None if it is missing or something else."""
    found = np.asarray(_attribute(dataset, name, (count,)))
    if found.shape != (count,) or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        return None
    return tuple(float(number) for number in found)


def _attribute(dataset: Any, name: str, shape: tuple[int, ...]) -> Any:
    """Return the value of an attribute of this shape; None if it is missing or has another, and is then not read."""
    if name not in dataset.attrs or dataset.attrs.get_id(name).shape != shape:
        return None
    return dataset.attrs[name]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if isfinite(value) else None
