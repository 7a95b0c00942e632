"""Layout of the views of one or two maps; lengths are in pixels, extents in the unit of the spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

# Largest height and width of the area of all views.
LARGEST: Final = (920, 1444)
NARROWEST: Final = 560
LARGEST_VOXEL: Final = 40
THINNEST: Final = 3
GAP: Final = 20


@dataclass(frozen=True)
class Cell:
    """The place of one view of one map in a picture, in pixels.

    Attributes:
        x: Column of the left edge of the caption, which stands above the image.
        y: Row of the upper edge of the caption.
        height: Height of the image.
        width: Width of the image.
    """

    x: int
    y: int
    height: int
    width: int


@dataclass(frozen=True)
class Layout:
    """An arrangement of the views of one or two maps in a rectangle.

    Attributes:
        scale: Pixels for one unit of the spacing, the same for all views.
        height: Height of the rectangle in pixels.
        width: Width of the rectangle in pixels.
        cells: The places of the views, indexed by map, then by view.
    """

    scale: float
    height: int
    width: int
    cells: tuple[tuple[Cell, ...], ...]

    def moved(self, x: int, y: int) -> Layout:
        """Return the layout with all cells moved by `x` and `y` pixels."""
        cells = (tuple(replace(cell, x=cell.x + x, y=cell.y + y) for cell in row) for row in self.cells)
        return replace(self, cells=tuple(cells))


def arrange(
    extents: Sequence[tuple[float, float]],
    maps: int,
    *,
    voxel: float,
    caption: int,
    caption_width: int,
) -> Layout:
    """Return the layout with the largest views: maps beside each other, or one below the other.

    Each map is shown in all views.

    Args:
        extents: Height and width of each view, in the unit of the spacing.
        maps: Number of maps.
        voxel: Shortest side of a voxel, in the unit of the spacing.
        caption: Height of the caption above each view in pixels.
        caption_width: Width of the widest caption in pixels.
    """
    beside, below = (_scale(*_tracks(extents, maps, by_row), voxel, caption) for by_row in (False, True))
    # Maps beside each other are easier to compare, unless views are clearly larger otherwise.
    by_row = below > 1.15 * beside
    scale = below if by_row else beside
    rows, columns = _tracks(extents, maps, by_row)

    widths = [max(round(extent * scale), caption_width) for extent in columns]
    heights = [max(round(extent * scale), THINNEST) + caption for extent in rows]
    content = sum(widths) + GAP * (len(widths) - 1)
    margin = max(0, NARROWEST - content) // 2
    lefts = [margin + sum(widths[:k]) + GAP * k for k in range(len(widths))]
    tops = [sum(heights[:k]) + GAP * k for k in range(len(heights))]

    def cell(which: int, view: int) -> Cell:
        row, column = (which, view) if by_row else (view, which)
        height, width = (max(round(extent * scale), THINNEST) for extent in extents[view])
        return Cell(lefts[column], tops[row], height, width)

    cells = tuple(tuple(cell(which, view) for view in range(len(extents))) for which in range(maps))
    return Layout(scale, tops[-1] + heights[-1], max(content, NARROWEST), cells)


def _tracks(
    extents: Sequence[tuple[float, float]], maps: int, by_row: bool
) -> tuple[list[float], list[float]]:
    """Return the heights of the rows and the widths of the columns of a grid of views."""
    heights, widths = [e[0] for e in extents], [e[1] for e in extents]
    return ([max(heights)] * maps, widths) if by_row else (heights, [max(widths)] * maps)


def _scale(rows: list[float], columns: list[float], voxel: float, caption: int) -> float:
    free_height = LARGEST[0] - len(rows) * caption - GAP * (len(rows) - 1)
    free_width = LARGEST[1] - GAP * (len(columns) - 1)
    pixels = min(free_height / sum(rows), free_width / sum(columns), LARGEST_VOXEL / voxel) * voxel
    # Whole pixels a voxel look cleaner, if the views do not get much smaller.
    if pixels >= 1 and math.floor(pixels) >= 0.8 * pixels:
        pixels = math.floor(pixels)
    return pixels / voxel
