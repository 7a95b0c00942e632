"""Slices of the MNI tissue maps that are hidden, and what interpolation makes of them."""

from __future__ import annotations

from importlib import import_module, resources
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

nibabel: Any = import_module("nibabel")


def tissue(name: str) -> Array:
    """Return the probability map (Z, Y, X) of "gm" or "wm" (ICBM 152, 2009a, 1 mm), which comes with nilearn."""
    file = f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    path = resources.files("nilearn") / "datasets" / "data" / file
    return np.asarray(nibabel.Nifti1Image.from_filename(str(path)).dataobj, np.float32).T / 255


def hidden_slices(count: int, step: int) -> npt.NDArray[np.bool_]:
    """Return which slices are hidden if one of `step` is kept; those after the last kept one are not."""
    hidden = np.arange(count) % step > 0
    # Behind the last slice that is kept there is nothing to interpolate to.
    hidden[(count - 1) // step * step :] = False
    return hidden


def judged(found: Array, truth: Array) -> tuple[float, float]:
    """Return the Dice at 0.5 and the mean absolute error of a map."""
    both = (found > 0.5).sum() + (truth > 0.5).sum()
    dice = 2 * ((found > 0.5) & (truth > 0.5)).sum() / both
    return float(dice), float(np.abs(found - truth).mean())
