"""Masks of the voxels that count."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.io.raw import Array


def is_inside(array: Any) -> Array:
    """Return where a mask is neither 0 nor NaN: many programs store NaN outside of an organ."""
    values = np.asarray(array)
    with np.errstate(invalid="ignore"):  # raised by signalling NaN
        inside = np.asarray(values != 0)
    if values.dtype.kind == "f":
        inside &= ~np.isnan(values)
    return inside


def nan_notes(path: Path, parts: Iterable[Any]) -> tuple[str, ...]:
    """Return a note if a part of a mask holds NaN; later parts are not read."""
    values = map(np.asarray, parts)
    if any(part.dtype.kind == "f" and np.isnan(part).any() for part in values):
        return (f"the mask {path} has values that are not a number (NaN): they count as outside.",)
    return ()
