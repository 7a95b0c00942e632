"""A sheet of pictures of completed maps: what was observed, what a prior filled in, its mean, and the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.theme import BLUE, DARK, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, rgb

# Of the classes in turn, on a dark ground.
COLORS: Final = (SKY, ORANGE, GREEN, YELLOW, PURPLE, VERMILION, BLUE)
PANEL: Final = 190
HEADING: Final = 125
GAP: Final = 14
MARGIN: Final = 28
HEAD: Final = 96
LEGEND: Final = 44
_HIDDEN: Final = 58  # grey of slices that were not observed


@dataclass(frozen=True)
class Example:
    """A map with hidden slices.

    Attributes:
        name: The name of the map.
        panels: Maps of shape (classes, *grid), with the background first, one for each column of the sheet.
        observed: Whether each slice along the first axis is observed; the first panel shows only those.
        sizes: The size of a voxel along each axis.
    """

    name: str
    panels: tuple[npt.NDArray[Any], ...]
    observed: npt.NDArray[np.bool_]
    sizes: tuple[float, ...]


def draw_sheet(
    examples: Sequence[Example],
    columns: Sequence[str],
    classes: Sequence[str],
    *,
    title: str,
    subtitle: str = "",
) -> Canvas:
    """Return a sheet with a row for each map.

    A map in 3D is cut across its slices, along the first and the last axis, where the last panel holds most.

    Args:
        examples: The maps, each with as many panels as there are columns.
        columns: The heads of the columns.
        classes: The names of the classes without the background.
        title: The first line.
        subtitle: The second line.
    """
    rows = [[_pixels(panel, one, k == 0) for k, panel in enumerate(one.panels)] for one in examples]
    heights = [max(len(picture) for picture in row) for row in rows]
    # Wide enough for the heads.
    column = max(HEADING, *(picture.shape[1] for row in rows for picture in row)) + GAP
    width = 2 * MARGIN + len(columns) * column - GAP
    height = HEAD + sum(each + GAP + 20 for each in heights) + LEGEND
    canvas = Canvas(width, height, DARK, title=title, description=subtitle)
    canvas.text(MARGIN, 34, title, size=17, bold=True)
    canvas.text(MARGIN, 56, subtitle, size=12, color=DARK.pale_text)
    for k, head in enumerate(columns):
        canvas.text(MARGIN + k * column, HEAD - 10, head, size=13)
    top = HEAD
    for one, row, each in zip(examples, rows, heights, strict=True):
        for k, picture in enumerate(row):
            canvas.image(MARGIN + k * column, top, picture, lambda drawn: np.asarray(drawn, np.uint8))
        canvas.text(MARGIN, top + each + 14, one.name, size=11, color=DARK.pale_text)
        top += each + GAP + 20
    x = float(MARGIN)
    for name, color in zip(classes, _repeated(len(classes)), strict=True):
        canvas.text(x, top + 14, "■", size=13, color=color)
        x = canvas.text(x + 18, top + 14, name, size=12) + 18
    return canvas


def _pixels(panel: npt.NDArray[Any], example: Example, only_observed: bool) -> npt.NDArray[np.uint8]:
    """Return the picture of a map: the colours of its classes, mixed by their probabilities."""
    whole, sizes = example.panels[-1], example.sizes
    if panel.ndim == 4:
        row = int(whole[1:].sum(axis=(0, 1, 3)).argmax())
        panel, sizes = panel[:, :, row], (sizes[0], sizes[2])
    palette = np.array([[0, 0, 0], *(rgb(color) for color in _repeated(len(panel) - 1))], np.float64)
    mixed = np.tensordot(panel, palette, axes=(0, 0))
    if only_observed:
        mixed[~example.observed] = _HIDDEN
    tall, wide = (number * size for number, size in zip(mixed.shape[:2], sizes, strict=True))
    scale = PANEL / max(tall, wide)
    rows, columns = max(1, round(tall * scale)), max(1, round(wide * scale))
    # Nearest voxels: slices stay visible.
    at = [
        np.minimum((np.arange(count) + 0.5) / count * number, number - 1).astype(int)
        for count, number in zip((rows, columns), mixed.shape[:2], strict=True)
    ]
    return np.rint(mixed[np.ix_(*at)]).astype(np.uint8)


def _repeated(count: int) -> list[str]:
    return [COLORS[k % len(COLORS)] for k in range(count)]
