"""Lengths as people type them: a number with its unit, such as 2.5mm, 300um or 4vox."""

from __future__ import annotations

import re
from typing import Final

from softmorph_cli.errors import InputError, UsageError

MILLIMETRES: Final = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
_FORM = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]+)\s*")


def parse(text: str) -> tuple[float, str]:
    """Return a length's number and unit ("vox" for voxels).

    Raises:
        UsageError: If it is no length with a unit.
    """
    match = _FORM.fullmatch(text)
    unit = match[2] if match else ""
    if match is None or unit not in (*MILLIMETRES, "vox"):
        raise UsageError(
            f"--radius {text!r} is no length: give a number and a unit, such as 2.5mm, 300um or 4vox."
        )
    if not 0 < float(match[1]) < float("inf"):
        raise UsageError(f"--radius {text!r}: it must be more than 0 and finite.")
    return float(match[1]), unit


def in_unit(length: tuple[float, str], unit: str | None, path: object) -> float:
    """Return a length in the unit of a map's spacing.

    Raises:
        InputError: If the map's unit is not known.
    """
    number, own = length
    if unit not in MILLIMETRES:
        raise InputError(
            f"{path} does not say how large its voxels are: give the radius in voxels, {number:g}vox."
        )
    return number * MILLIMETRES[own] / MILLIMETRES[unit]
