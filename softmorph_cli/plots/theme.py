"""Colour themes of pictures: dark for maps, light for pages that are printed or read in daylight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

COLOR_MAP: Final = "inferno"
# Of radii and generations.
SCALE: Final = "viridis"

# Distinct for all kinds of colour vision: Okabe & Ito, Color universal design, 2008 (jfly.uni-koeln.de/color).
SKY, ORANGE, GREEN, YELLOW = "#56b4e9", "#e69f00", "#009e73", "#f0e442"
PURPLE, VERMILION, BLUE, BLACK = "#cc79a7", "#d55e00", "#0072b2", "#000000"

# Maps values in [0, 1] to colours along a new last axis.
Colors = Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]


def rgb(color: str) -> npt.NDArray[np.uint8]:
    """Return the red, green and blue of a colour, from 0 to 255.

    >>> rgb("#56b4e9").tolist()
    [86, 180, 233]
    """
    return np.frombuffer(bytes.fromhex(color[1:]), np.uint8)


@dataclass(frozen=True)
class Mark:
    """The mark of one kind of node.

    Attributes:
        shape: The shape, as a marker of matplotlib.
        character: A character that looks like the shape.
        color: The colour.
    """

    shape: str
    character: str
    color: str


@dataclass(frozen=True)
class Theme:
    """The colours of a picture.

    Attributes:
        classes: Colours of classes in turn.
        hidden: Colour of what is not observed.
        edge: Colour of the line around pictures that have the colour of the background.
        faded: The share of the scale, from 0 on, over which the colour map fades into the background; 0 if it begins
            there.
        background: Colour of the canvas.
        text: Colour of titles and labels.
        pale_text: Colour of secondary text.
        bar: Colour of the scale bar.
        ring: Colour of rings around changes, which is not in the colour map.
        curve: Positions in the colour map for soft values 0 and 1 of curves; both stand out from the backdrop.
        backdrop: Greys for the values 0 and 1 of a map that curves are drawn over.
        agreement: Colours of voxels in both of two masks ("both"), in the prediction only ("extra") and in the
            reference only ("missed").
        agreement_lines: Colours of the pieces of centrelines of the same kinds, over these voxels.
        marks: Marks by kind of node; distinct in shape, and in colour for all kinds of colour vision.
    """

    background: str
    text: str
    pale_text: str
    bar: str
    ring: str
    curve: tuple[float, float]
    backdrop: tuple[int, int]
    agreement: Mapping[str, str]
    agreement_lines: Mapping[str, str]
    marks: Mapping[str, Mark]
    classes: tuple[str, ...]
    hidden: str
    edge: str
    faded: float

    def map_colors(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 4), of a map's values in [0, 1]."""
        if not self.faded:
            return _color_map(values)
        share = np.clip(np.asarray(values, np.float64)[..., None] / self.faded, 0, 1)
        ground = np.append(rgb(self.background), 255)
        mixed = share * _color_map(1 - np.asarray(values)) + (1 - share) * ground
        return np.asarray(np.rint(mixed), np.uint8)

    def mixed_colors(
        self, shares: npt.NDArray[Any], colors: Sequence[str] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 3), of the shares of classes, shape (classes, ...), over the background.

        `colors` are lights on black; by default the classes have the colours of the theme in turn, which are lights
        on a dark ground and cover their shares of a light one.
        """
        names = colors or [self.classes[k % len(self.classes)] for k in range(len(shares))]
        palette = np.array([rgb(name) for name in names], np.float64)
        mixed = np.tensordot(shares, palette, axes=(0, 0))
        if self.faded and not colors:
            rest = np.clip(1 - np.asarray(shares, np.float64).sum(axis=0), 0, 1)
            mixed = mixed + rest[..., None] * rgb(self.background)
        return np.asarray(np.rint(mixed.clip(0, 255)), np.uint8)

    def curve_colors(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 3), of a curve's soft values in [0, 1]."""
        zero, one = self.curve
        return _color_map(zero + (one - zero) * np.asarray(values, np.float64))[..., :3]

    def scale_colors(self, shares: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 3), of shares of a scale such as that of radii; below 0 there is no value."""
        from matplotlib import colormaps

        shares = np.asarray(shares, np.float64)
        # All of them stand out from the background.
        low, high = (0.0, 0.85) if self.faded else (0.2, 1.0)
        found = np.asarray(colormaps[SCALE](low + (high - low) * shares.clip(0, 1), bytes=True), np.uint8)
        return np.where(shares[..., None] < 0, rgb(self.pale_text), found[..., :3])

    def class_colors(self, numbers: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Return the colours, shape (..., 3), of numbers of classes from 0 on, which repeat after the last one."""
        palette = np.stack([rgb(color) for color in self.classes])
        return np.asarray(palette[np.asarray(numbers) % len(palette)])

    def backdrop_colors(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the greys, shape (..., 3), of a map's values in [0, 1] below curves."""
        zero, one = self.backdrop
        return grey_colors((zero + (one - zero) * np.asarray(values, np.float64)) / 255)


def grey_colors(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the greys, shape (..., 3), of values from 0, which is black, to 1."""
    grey = np.rint(255 * np.asarray(values, np.float64)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _color_map(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOR_MAP](values, bytes=True), np.uint8)


def _marks(end_point: str, junction: str, voxel: str) -> dict[str, Mark]:
    return {
        "end point": Mark("o", "●", end_point),
        "junction": Mark("^", "▲", junction),
        "voxel": Mark("s", "■", voxel),
    }


DARK: Final = Theme(
    background="#17171c",
    text="#f4f4f4",
    pale_text="#a9a9b3",
    bar="#ffffff",
    ring="#4fd1ff",
    curve=(0.4, 1.0),
    backdrop=(0, 100),
    agreement={"both": "#646a73", "extra": "#d98300", "missed": "#2f86c4"},
    agreement_lines={"both": "#f4f4f4", "extra": "#ffe08a", "missed": "#a8e1ff"},
    marks=_marks(SKY, "#2fe0a5", "#ffffff"),
    classes=(SKY, ORANGE, GREEN, YELLOW, PURPLE, VERMILION, BLUE),
    hidden="#4a4a50",
    edge="#17171c",
    faded=0.0,
)
LIGHT: Final = Theme(
    background="#ffffff",
    text="#222222",
    pale_text="#6b6b6b",
    bar="#222222",
    ring=BLUE,
    curve=(0.9, 0.06),  # darker where the map is more certain
    backdrop=(252, 204),
    agreement={"both": "#c3c7cc", "extra": ORANGE, "missed": SKY},
    agreement_lines={"both": "#222222", "extra": "#8a2f00", "missed": "#003fa3"},
    marks=_marks(BLUE, GREEN, BLACK),
    # Without the yellow, which is too pale on white.
    classes=(BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK),
    hidden="#b9b9c0",
    edge="#d9d9d9",
    faded=0.3,
)
THEMES: Final = {"light": LIGHT, "dark": DARK}
