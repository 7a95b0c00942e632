"""Lengths as people type them: a number with its unit, such as 2.5mm, 300um or 4vox."""

from __future__ import annotations

import re
from typing import Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.units import millimetres

_UNITS: Final = ("nm", "um", "µm", "mm", "cm", "m", "vox")
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
            f"{option} {text!r} is no length: give a number and a unit, such as 2.5mm, 300um or 4vox."
        )
    if not 0 < float(match[1]) < float("inf"):
        raise UsageError(f"{option} {text!r}: it must be more than 0 and finite.")
    return float(match[1]), unit


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
