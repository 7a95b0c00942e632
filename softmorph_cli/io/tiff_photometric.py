"""PhotometricInterpretation of a TIFF page: what its stored numbers represent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io.damage import Unsupported
from softmorph_cli.io.palette import of_palette
from softmorph_cli.io.raw import Array

# The names of the samples of a pixel, by tifffile's name of the interpretation.
_COLOURS = {
    "RGB": ("red", "green", "blue", "alpha"),
    "SEPARATED": ("cyan", "magenta", "yellow", "black"),
    "YCBCR": ("brightness", "blue difference", "red difference"),
    **dict.fromkeys(("CIELAB", "ICCLAB", "ITULAB"), ("lightness", "a", "b")),
}
_UNREADABLE = {
    "CFA": "the raw samples of a camera's colour filter array",
    "LOGL": "logarithms of brightness",
    "LOGLUV": "logarithms of brightness, and colours",
}


@dataclass(frozen=True)
class Interpretation:
    """The meaning of the stored numbers of a page.

    Attributes:
        convert: Maps stored numbers to grey values or labels of the same type.
        labels: Whether they are labels.
        samples: The names of the samples of a pixel, if they are components of a colour.
        notes: For the user.
    """

    convert: Callable[[Array], Array] = np.asarray
    labels: bool = False
    samples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def names_of(self, count: int) -> tuple[str, ...]:
        """Return the names of `count` samples of a colour; none if they are no colour."""
        named = self.samples[:count]
        return named and (*named, *(f"sample {number}" for number in range(len(self.samples), count)))


def interpret(path: Path, page: Any) -> Interpretation:
    """Return the meaning of the stored numbers of a page.

    Raises:
        InputError: If they cannot be probabilities.
        Unsupported: If the palette does not fit them.
    """
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric in _UNREADABLE:
        raise InputError(
            f"{path} is a TIFF of {_UNREADABLE[photometric]} ({photometric}), which are no probabilities."
        )
    if photometric == "PALETTE" and page.colormap is not None:
        table = np.asarray(page.colormap)
        if table.ndim != 2 or len(table) != 3 or table.shape[1] < 2**page.bitspersample:
            raise Unsupported(f"its palette has {table.size} numbers for {page.bitspersample} bits")
        # The standard's palettes have 16 bits; some writers use 8 of them.
        colours = (table >> 8 if table.max() > 255 else table).T.astype(np.uint8)
        convert, labels, note = of_palette(colours)
        return Interpretation(convert, labels, notes=(note,))
    if photometric == "MINISWHITE":
        if page.bitspersample == 1:
            note = "it is marked 'white is zero': what is stored as 0 is shown white, and taken as 1."
            return Interpretation(np.logical_not, notes=(note,))
        note = "it is marked 'white is zero'; its numbers are taken as they are stored."
        return Interpretation(notes=(note,))
    if photometric == "YCBCR" and page.compression.name != "NONE":
        photometric = "RGB"  # decoders convert it
    samples = _COLOURS.get(photometric, ())
    if not samples and page.samplesperpixel == 2 and any(page.extrasamples or ()):
        samples = ("grey", "alpha")
    return Interpretation(samples=samples)
