"""Lengths, areas and volumes as users type them: a number with its unit, such as 2.5mm, 20um2 or 4vox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil, inf, prod
from typing import Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import TYPED, millimetres

_UNITS: Final = (*TYPED, "vox")
_KNOWN: Final = f"{', '.join(unit for unit in TYPED if unit.isascii())} or vox (voxels)"
_FORM: Final = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]+)([23])?\s*")


def parse(text: str, option: str | None = None) -> tuple[float, str]:
    """Return the number and the unit, "vox" for voxels, of a length.

    Args:
        text: The length.
        option: The parameter that it is a value of, for messages; by default the radius.

    Raises:
        UsageError: If it is no positive length with a unit.
    """
    option, match = option or named("radius"), _FORM.fullmatch(text)
    if match is None or match[2] not in _UNITS or match[3]:
        raise UsageError(
            f"{option} {text!r} is no length: give a number and a unit, such as 2.5mm, 300um or 4vox; units are "
            f"{_KNOWN}."
        )
    return _positive(match[1], text, option), match[2]


def parse_size(text: str, option: str) -> tuple[float, str, int | None]:
    """Return the number, the unit and the power (2, 3, or None for voxels) of an area or a volume, such as 50um3.

    Raises:
        UsageError: If it is neither.
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
    """Return an area or a volume in voxels, rounded up.

    Raises:
        InputError: If it is an area of a 3D map or a volume of a 2D one, or the voxel size is unknown.
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
    # Three voxels stay three where the float32 of a header makes them 3.0000002.
    return ceil(number / one * (1 - 1e-5))


def in_unit(length: tuple[float, str], unit: str | None) -> float:
    """Return a length in the unit of a map's spacing.

    Raises:
        InputError: If the map's unit is unknown.
    """
    number, own = length
    ours, theirs = millimetres(own), millimetres(unit)
    if ours is None or theirs is None:
        raise InputError(
            "the file does not say how large its voxels are: give the length in voxels, such as 4vox."
        )
    return number * (ours / theirs)
