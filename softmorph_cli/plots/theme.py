"""The two looks of a picture: dark, as for maps, and light, for a page that is read by day or printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

COLOR_MAP: Final = "inferno"

# From values in [0, 1] to colours along a new last axis.
Colors = Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Mark:
    """How one kind of node is marked: a shape as matplotlib names it, the same as a character, a colour."""

    shape: str
    character: str
    color: str


@dataclass(frozen=True)
class Look:
    """The colours of a picture.

    Attributes:
        paper: Behind everything.
        ink: Of words.
        pale_ink: Of words that matter less.
        bar: Of the scale bar.
        ring: Around what is to be looked at; no colour of the colour map.
        curve: Where in the colour map curves of soft value 0 and 1 lie; neither end is lost on the backdrop.
        backdrop: The greys of 0 and 1 of a map that curves are drawn over.
        marks: By kind of node. Told apart by shape alone, and by all kinds of colour vision.
    """

    paper: str
    ink: str
    pale_ink: str
    bar: str
    ring: str
    curve: tuple[float, float]
    backdrop: tuple[int, int]
    marks: Mapping[str, Mark]

    def map_colors(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 4), of a map's values in [0, 1]."""
        from matplotlib import colormaps

        return np.asarray(colormaps[COLOR_MAP](values, bytes=True), np.uint8)

    def curve_colors(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 3), of a curve's soft values in [0, 1]."""
        zero, one = self.curve
        return self.map_colors(zero + (one - zero) * np.asarray(values, np.float64))[..., :3]

    def backdrop_colors(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the greys, shape (..., 3), of a map's values in [0, 1] where curves lie over it."""
        zero, one = self.backdrop
        grey = np.rint(zero + (one - zero) * np.asarray(values, np.float64)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)


DARK: Final = Look(
    paper="#17171c",
    ink="#f4f4f4",
    pale_ink="#a9a9b3",
    bar="#ffffff",
    ring="#4fd1ff",
    curve=(0.4, 1.0),
    backdrop=(0, 100),
    marks={
        "end point": Mark("o", "●", "#56b4e9"),
        "junction": Mark("^", "▲", "#2fe0a5"),
        "voxel": Mark("s", "■", "#ffffff"),
    },
)
LIGHT: Final = Look(
    paper="#ffffff",
    ink="#222222",
    pale_ink="#6b6b6b",
    bar="#222222",
    ring="#0072b2",
    # More ink where the map is surer.
    curve=(0.9, 0.06),
    backdrop=(252, 204),
    marks={
        "end point": Mark("o", "●", "#0072b2"),
        "junction": Mark("^", "▲", "#009e73"),
        "voxel": Mark("s", "■", "#000000"),
    },
)
