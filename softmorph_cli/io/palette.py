"""Palette images: decides whether the stored palette indices represent grey values or labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.io.raw import Array

_BRIGHTNESS: Final = (0.299, 0.587, 0.114)
# A viewer's palette for grey values has many colours whose brightness increases, up to rounding.
_MANY: Final = 64
_ROUNDING: Final = 3.0


def of_palette(colours: npt.NDArray[Any]) -> tuple[Callable[[Array], Array], bool, str]:
    """Decide from the palette of an image whether its indices represent grey values or labels.

    If all colours are grey, the values are these greys. If the palette has many colours of increasing brightness, as
    viewers use to display grey values, the indices are the values. With any other palette the indices are labels.

    Args:
        colours: The palette, an array of uint8 of shape (indices, 3): red, green and blue of each index.

    Returns:
        A function that converts indices to values of the same type, whether the values are labels, and a note.
    """
    grey = bool((colours == colours[:, :1]).all())
    if grey and 2 <= len(colours) <= 256 and np.ptp(colours) > 0:
        # An index beyond the palette is taken as its last.
        table = np.concatenate([colours[:, 0], np.full(256 - len(colours), colours[-1, 0])]).astype(np.uint8)

        def greys(stored: Array) -> Array:
            if stored.dtype == np.bool_:  # one bit: the brighter of the two greys is 1
                return stored if colours[1, 0] > colours[0, 0] else ~stored
            return table[stored]

        return greys, False, "its palette is one of greys, and their values are read."
    steps = np.diff(colours @ np.array(_BRIGHTNESS))
    many = len(np.unique(colours, axis=0)) >= _MANY
    if many and steps.min() >= -_ROUNDING and steps.sum() > 0:
        return (
            np.asarray,
            False,
            "its palette gets brighter with its numbers, which are taken as grey values.",
        )
    return np.asarray, True, "its numbers are indices into a palette of colours, and are taken as labels."
