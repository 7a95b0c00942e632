"""Lengths as people type them: a number with its unit, such as 2.5mm, 300um or 4vox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil, prod
from typing import Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.units import millimetres

_UNITS: Final = ("nm", "um", "µm", "mm", "cm", "m", "vox")
_KNOWN: Final = "nm, um, mm, cm, m or vox (voxels)"
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]+)([23])?\s*")
_FORM = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]+)\s*")


def parse(text: str, option: str = "--radius") -> tuple[float, str]:
    """Return the number and the unit ("vox" for voxels) of a length that was given for an option.

    Raises:
        UsageError: If it is no length with a unit.
    """
    match = _FORM.fullmatch(text)
    unit = match[2] if match else ""
    if match is None or unit not in _UNITS:
        raise UsageError(
            f"{option} {text!r} is no length: give a number and a unit, such as 2.5mm, 300um or 4vox; units are "
            f"{_KNOWN}."
        )
    if not 0 < float(match[1]) < float("inf"):
        raise UsageError(f"{option} {text!r}: it must be more than 0 and finite.")
    return float(match[1]), unit


def parse_size(text: str, option: str) -> tuple[float, str, int | None]:
    """Return the number, the unit and the power (2, 3, or None for voxels) of an area or a volume, such as 50um3.

    Raises:
        UsageError: If it is neither.
    """
    match = _SIZE.fullmatch(text)
    unit = match[2] if match else ""
    power = int(match[3]) if match and match[3] else None
    if match is None or unit not in _UNITS or (power is None) != (unit == "vox"):
        raise UsageError(
            f"{option} {text!r} is no size: give a volume such as 50um3, in 2D an area such as 20um2, or 30vox; "
            f"units of length are {_KNOWN}."
        )
    if not 0 < float(match[1]) < float("inf"):
        raise UsageError(f"{option} {text!r}: it must be more than 0 and finite.")
    return float(match[1]), unit, power


def in_voxels(
    size: tuple[float, str, int | None], spacing: Sequence[float] | None, unit: str | None, dims: int
) -> int:
    """Return the least number of voxels that is not below an area or a volume.

    Raises:
        InputError: If it is an area and the map has three axes, or the reverse, or the voxel size is not known.
    """
    number, own, power = size
    if power is None:
        return ceil(number)
    if power != dims:
        raise InputError(f"the map is {dims}D: give the size in {own}{dims} or in vox.")
    if spacing is None or millimetres(unit) is None:
        raise InputError(
            "the file does not say how large its voxels are: give the size in voxels, such as 30vox."
        )
    one = prod(in_unit((side, unit or ""), own) for side in spacing)
    # A size of three voxels is three, also where a header's float32 makes it 3.0000002 of them.
    return ceil(number / one * (1 - 1e-5))


def in_unit(length: tuple[float, str], unit: str | None) -> float:
    """Return a length in the unit of a map's spacing.

    Raises:
        InputError: If the map's unit is not known.
    """
    number, own = length
    ours, theirs = millimetres(own), millimetres(unit)
    if ours is None or theirs is None:
        raise InputError(
            "the file does not say how large its voxels are: give the length in voxels, such as 4vox."
        )
    return number * (ours / theirs)
