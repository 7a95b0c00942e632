"""Lengths, areas and volumes as users type them: a number with its unit, such as 2.5mm, 20um2 or 4vox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil, inf, prod
from typing import Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.units import TYPED, millimetres

_UNITS: Final = (*TYPED, "vox")
_KNOWN: Final = f"{', '.join(unit for unit in TYPED if unit.isascii())} or vox (voxels)"
_FORM: Final = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]+)([23])?\s*")


def parse(text: str, option: str | None = None) -> tuple[float, str]:
    """Parse a length such as 2.5mm or 4vox; return its number and its unit, "vox" for voxels.

    Args:
        text: The length as the user typed it.
        option: The name of the parameter that has this value, for messages; by default the radius.

    Raises:
        UsageError: If the text is not a positive number with a unit of length.
    """
    option, match = option or named("radius"), _FORM.fullmatch(text)
    if match is None or match[2] not in _UNITS or match[3]:
        raise UsageError(
            f"{option} {text!r} is no length: give a number and a unit, such as 2.5mm, 300um or 4vox; units are "
            f"{_KNOWN}."
        )
    return _positive(match[1], text, option), match[2]


def parse_size(text: str, option: str) -> tuple[float, str, int | None]:
    """Parse an area or a volume such as 50um3; return number, unit and power of the unit (2, 3; None for voxels).

    Args:
        text: The size as the user typed it.
        option: The name of the parameter that has this value, for messages.

    Raises:
        UsageError: If the text is neither an area nor a volume.
    """
    match = _FORM.fullmatch(text)
    if match is None or match[2] not in _UNITS or (match[3] is None) != (match[2] == "vox"):
        raise UsageError(
            f"{option} {text!r} is no size: give a volume such as 50um3, in 2D an area such as 20um2, or 30vox; "
            f"units of length are {_KNOWN}."
        )
    return _positive(match[1], text, option), match[2], int(match[3]) if match[3] else None


def _positive(number: str, text: str, option: str) -> float:
    if not 0 < float(number) < inf:
        raise UsageError(f"{option} {text!r}: it must be more than 0 and finite.")
    return float(number)


def in_voxels(
    size: tuple[float, str, int | None], spacing: Sequence[float] | None, unit: str | None, dims: int
) -> int:
    """Convert an area or a volume to a count of voxels, rounded up.

    Args:
        size: Number, unit and power of the unit, as `parse_size` returns.
        spacing: The voxel size along each spatial axis; None if unknown.
        unit: The unit of `spacing`; None if unknown.
        dims: The number of spatial axes of the map.

    Raises:
        InputError: If the map is 3D and the size an area or the map 2D and the size a volume, or the voxel size is
            unknown.
    """
    number, own, power = size
    if power is None:
        return ceil(number)
    if power != dims:
        raise InputError(f"the map is {dims}D: give the size in {own}{dims} or in vox.")
    if spacing is None or millimetres(unit) is None:
        raise InputError(
            f"{_whose()} does not say how large its voxels are: give the size in voxels, such as 30vox."
        )
    one = prod(in_unit((side, unit or ""), own) for side in spacing)
    # Three voxels stay three where the float32 of a header makes them 3.0000002.
    return ceil(number / one * (1 - 1e-5))


def in_unit(length: tuple[float, str], unit: str | None) -> float:
    """Convert a length to the unit of the voxel size of a map.

    Args:
        length: Number and unit, as `parse` returns.
        unit: The unit of the voxel size; None if unknown.

    Raises:
        InputError: If one of the two units is unknown.
    """
    number, own = length
    ours, theirs = millimetres(own), millimetres(unit)
    if ours is None or theirs is None:
        raise InputError(
            f"{_whose()} does not say how large its voxels are: give the length in voxels, such as 4vox."
        )
    return number * (ours / theirs)


def _whose() -> str:
    # In Python it may be an array.
    return "the file" if in_shell() else "the image"
