"""What the numbers of an image with a colour palette are: grey values, or labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.io.raw import Array

_BRIGHTNESS: Final = (0.299, 0.587, 0.114)
# A palette for looking at grey values has many colours, each brighter than the one before but for its rounding.
_MANY: Final = 64
_ROUNDING: Final = 3.0


def of_palette(colours: npt.NDArray[Any]) -> tuple[Callable[[Array], Array], bool, str]:
    """Say what indices into a palette stand for.

    A palette of greys shows grey values, and those are meant. One of many colours that get brighter and brighter is
    how a viewer shows grey values, which are then the indices. Under any other palette indices are labels.

    Args:
        colours: uint8, a row of red, green and blue for each index.

    Returns:
        What brings indices to the numbers that are meant, of the same type; whether these are labels; and a note.
    """
    grey = bool((colours == colours[:, :1]).all())
    if grey and 2 <= len(colours) <= 256 and np.ptp(colours) > 0:
        # An index that the palette does not have is as good as its last.
        table = np.concatenate([colours[:, 0], np.full(256 - len(colours), colours[-1, 0])]).astype(np.uint8)

        def greys(stored: Array) -> Array:
            if stored.dtype == np.bool_:  # of one bit: the brighter of the two is 1
                return stored if colours[1, 0] > colours[0, 0] else ~stored
            return table[stored]

        return greys, False, "its palette is one of greys, and their values are read."
    steps = np.diff(colours @ np.array(_BRIGHTNESS))
    many = len(np.unique(colours, axis=0)) >= _MANY
    if many and steps.min() >= -_ROUNDING and steps.sum() > 0:
        return _same, False, "its palette gets brighter with its numbers, which are taken as grey values."
    return _same, True, "its numbers are indices into a palette of colours, and are taken as labels."


def _same(stored: Array) -> Array:
    return stored
