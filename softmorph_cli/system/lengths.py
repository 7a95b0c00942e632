"""Lengths, areas and volumes as users type them: a number with its unit, such as 2.5mm, 20um2 or 4vox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil, inf, prod
from typing import Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.units import COUNTED, MILLIMETRES, length, millimetres, typed

_LENGTHS: Final = "nm, um (µm, micron), mm, cm, m"
_KNOWN: Final = f"{_LENGTHS} or vox (voxels, px)"
_NUMBER: Final = r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*"
# Both the micro sign and the Greek letter, and both the letter and the sign of the angstrom.
_WORD: Final = "([A-Za-z\u00b5\u03bc\u00c5\u212b]+)"
# A length, an area or a volume; one side of a voxel.
_FORM: Final = re.compile(rf"{_NUMBER}{_WORD}\s*(\^?[23]|[²³])?\s*")
_SIDE: Final = re.compile(rf"{_NUMBER}{_WORD}?\s*")

# Beyond these no image has a length, and numbers of voxels would exceed what a float holds.
_LEAST: Final = 1e-30
_MOST: Final = 1e300


def parse(text: str, option: str | None = None) -> tuple[float, str]:
    """Parse a length such as 2.5mm, 1 micron or 4px; return its number and its unit, "vox" for voxels and pixels.

    Args:
        text: The length as the user typed it.
        option: The name of the parameter that has this value, for messages; by default the radius.

    Raises:
        UsageError: If the text is not a positive number with a unit of length.
    """
    option, match = option or named("radius"), _FORM.fullmatch(text)
    unit = typed(match[2]) if match else None
    if match is None or unit is None or match[3]:
        raise UsageError(
            f"{option} {text!r} is no length: give a number and a unit, such as 2.5mm, 300um or 4vox; units are "
            f"{_KNOWN}."
        )
    return _positive(match[1], text, option), unit


def parse_size(text: str, option: str) -> tuple[float, str, int | None]:
    """Parse an area or a volume such as 50um3 or 50 µm³; return number, unit and its power (2, 3; None for voxels).

    Args:
        text: The size as the user typed it.
        option: The name of the parameter that has this value, for messages.

    Raises:
        UsageError: If the text is neither an area nor a volume.
    """
    match = _FORM.fullmatch(text)
    unit = typed(match[2]) if match else None
    if match is None or unit is None or (match[3] is None) != (unit == "vox"):
        raise UsageError(
            f"{option} {text!r} is no size: give a volume such as 50um3, in 2D an area such as 20um2, or 30vox; "
            f"units of length are {_KNOWN}."
        )
    power = {"2": 2, "3": 3, "²": 2, "³": 3}[match[3][-1]] if match[3] else None
    return _positive(match[1], text, option), unit, power


def parse_sides(text: str, option: str) -> tuple[tuple[float, ...], str | None]:
    """Parse a voxel size such as 1umx0.25x0.25; return its sides, slowest axis first, and their unit.

    A unit that stands at one side only holds for all of them; sides in several units are converted to the first.

    Args:
        text: The sides as the user typed them, separated by x, × or a comma; one side is for all axes.
        option: The name of the parameter that has this value, for messages.

    Returns:
        The sides, and "mm", "um" or "nm"; None where no unit stands at any side.

    Raises:
        UsageError: If the text is no voxel size.

    >>> parse_sides("1umx0.25x0.25", "voxel_size")
    ((1.0, 0.25, 0.25), 'um')
    >>> parse_sides("1um x 250nm x 250nm", "voxel_size")
    ((1.0, 0.25, 0.25), 'um')
    """
    parts = [_SIDE.fullmatch(part) for part in re.split("[x×,]", text)]
    found = [(part[1], typed(part[2]) if part[2] else "") for part in parts if part]
    units = [unit for _, unit in found if unit]
    wrong = None in parts or len(parts) > 3 or any(unit in (None, "vox") for _, unit in found)
    if wrong or (len(set(units)) > 1 and len(units) < len(found)):
        raise UsageError(
            f"{option} {text!r} is no voxel size: give a number for each axis of the array, z first, and the unit, "
            f"such as 1umx0.25x0.25, or one for all axes, such as 0.25um; units are {_LENGTHS}."
        )
    sides = [(_positive(number, text, option), unit or (units or [""])[0]) for number, unit in found]
    if not units:
        return tuple(side for side, _ in sides), None
    known = [length(side, unit) for side, unit in sides]
    first = known[0][1] or ""
    # Without the last bits of the product: 0.25, not 0.24999999999999997.
    return tuple(
        side if unit == first else float(f"{side * MILLIMETRES[unit or ''] / MILLIMETRES[first]:.12g}")
        for side, unit in known
    ), first


def _positive(number: str, text: str, option: str) -> float:
    if not 0 < float(number) < inf:
        raise UsageError(f"{option} {text!r}: it must be more than 0 and finite.")
    if not _LEAST <= float(number) <= _MOST:
        raise UsageError(f"{option} {text!r}: it must be from {_LEAST:g} to {_MOST:g}.")
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
            f"{sizeless(own)}give the size in {COUNTED[dims]}, such as 30{'px' if dims == 2 else 'vox'}."
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
        raise InputError(f"{sizeless(own)}give the length in voxels, such as 4vox.")
    return number * (ours / theirs)


def sizeless(unit: str = "mm") -> str:
    """Return the beginning of an error: a map has no voxel size in a known unit, which `unit` is an example of."""
    # In Python it may be an array.
    if not in_shell():
        return "the image does not say how large its voxels are: "
    size = named("voxel_size", f"1{unit if unit in MILLIMETRES else 'mm'}")
    return f"the file does not say how large its voxels are: state it, such as {size}, or "
