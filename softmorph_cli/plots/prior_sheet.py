"""A sheet of pictures of completed maps: what was observed, what was filled in, the mean of a prior, the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.options import DEFAULT, PictureOptions
from softmorph_cli.plots.theme import Theme, rgb
from softmorph_cli.plots.views import choose_views, resize
from softmorph_cli.system.printable import printable

PANEL: Final = 190
# The frame of invented slices: within it a pixel is left free.
FRAME: Final = 4
GAP: Final = 14
MARGIN: Final = 28
LINE: Final = 20
LEGEND: Final = 24
# Of a letter, at most, in pixels for a pixel of the font's size.
_LETTER: Final = 0.62

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """A picture of a map.

    Attributes:
        shares: Probabilities of the classes without the background, of shape (classes, rows, columns).
        sizes: The height and the width of a voxel.
        hidden: The voxels that are not shown, of shape (rows, columns), or one that broadcasts to it.
        invented: The voxels that are invented; the frame of the picture is coloured beside them.
        colors: The colour of each class; None for those of the legend.
    """

    shares: Array
    sizes: tuple[float, float]
    hidden: Mask | None = None
    invented: Mask | None = None
    colors: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Row:
    """A row of a sheet: its name, and a picture for each column."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Example:
    """A map with hidden slices.

    Attributes:
        name: The name of the map.
        panels: Maps of shape (classes, *grid), with the background first, one for each column of the sheet.
        observed: Whether each slice along the first axis is observed; the first panel shows only those, and the second
            has the others invented.
        sizes: The size of a voxel along each axis.
        affine: Index to world, as of a `Volume`; None leaves the first row on top.
        look: The options of the picture, of which the orientation is used.
    """

    name: str
    panels: tuple[Array, ...]
    observed: Mask
    sizes: tuple[float, ...]
    affine: npt.NDArray[np.float64] | None = None
    look: PictureOptions = DEFAULT

    @property
    def row(self) -> Row:
        """The row of the sheet; a map in 3D is cut across its slices, along the first and the last axis."""
        whole, hidden = self.panels[-1], ~self.observed[:, None]
        cuts = [panel[1:] for panel in self.panels]
        if whole.ndim == 4:
            # Where the last panel holds most.
            at = int(whole[1:].sum(axis=(0, 1, 3)).argmax())
            cuts = [cut[:, :, at] for cut in cuts]
        hidden = np.broadcast_to(hidden, cuts[0].shape[1:])
        if whole.ndim == 4 and self.affine is not None:
            turned = {
                view.axis: view
                for view in choose_views(whole.shape[1:], self.sizes, affine=self.affine, look=self.look)
            }
            if 1 in turned:
                cuts = [np.stack([turned[1].oriented(one) for one in cut]) for cut in cuts]
                hidden = turned[1].oriented(hidden)
        sizes = (self.sizes[0], self.sizes[-1])
        observed, filled, *others = cuts
        pictures = (Picture(observed, sizes, hidden=hidden), Picture(filled, sizes, invented=hidden))
        return Row(self.name, (*pictures, *(Picture(cut, sizes) for cut in others)))


def draw_sheet(
    rows: Sequence[Row],
    columns: Sequence[str],
    classes: Sequence[str],
    *,
    title: str,
    facts: Sequence[str] = (),
    panel: int = PANEL,
    look: PictureOptions = DEFAULT,
) -> Canvas:
    """Return a sheet of pictures, with the colours of the classes mixed by their probabilities.

    Args:
        rows: The rows, each with as many pictures as there are columns.
        columns: The heads of the columns.
        classes: The names of the classes without the background.
        title: The first line.
        facts: Further lines below it.
        panel: The height or the width of a picture in pixels, whichever is larger.
        look: The options of the picture.
    """
    sizes = [[_size(picture, panel) for picture in row.pictures] for row in rows]
    heights = [max(height for height, _ in row) for row in sizes]
    # Wide enough for the heads.
    heading = round(13 * _LETTER * max(map(len, columns)))
    column = max(heading, *(width for row in sizes for _, width in row)) + GAP
    width = 2 * MARGIN + max(len(columns) * column - GAP, 480)
    legend = _legend(look.theme, rows, classes, width - 2 * MARGIN)
    facts = [fact for fact in facts if fact]
    head = 40 + LINE * len(facts) + (30 if any(columns) else 8)
    named = LINE if any(row.name for row in rows) else 0
    height = head + sum(each + GAP + named for each in heights) + LEGEND * len(legend) + GAP
    canvas = Canvas(
        width,
        height,
        look.theme,
        title=printable(title),
        description=printable("; ".join(facts)),
        dpi=look.dots_per_inch,
    )
    canvas.text(MARGIN, 34, title, size=17, bold=True)
    for k, fact in enumerate(facts):
        canvas.text(MARGIN, 56 + LINE * k, fact, size=12, color=canvas.theme.pale_text)
    for k, name in enumerate(columns):
        canvas.text(MARGIN + k * column, head - 8, name, size=13)
    top = head
    for row, places, each in zip(rows, sizes, heights, strict=True):
        canvas.text(MARGIN, top + 13, row.name, size=12, color=canvas.theme.pale_text)
        top += named
        for k, (picture, size) in enumerate(zip(row.pictures, places, strict=True)):
            drawn = _pixels(picture, size, canvas)
            canvas.image(MARGIN + k * column, top, drawn, size=size)
        top += each + GAP
    for line in legend:
        x = float(MARGIN)
        for sign, color, name in line:
            canvas.text(x, top + 14, sign, size=13, color=color)
            x = canvas.text(x + 18, top + 14, name, size=12) + 18
        top += LEGEND
    return canvas


def _legend(
    theme: Theme, rows: Sequence[Row], classes: Sequence[str], room: float
) -> list[list[tuple[str, str, str]]]:
    """Return the lines of the legend: signs with their colours and meanings."""
    pictures = [picture for row in rows for picture in row.pictures]
    entries = [
        ("■", color, name) for name, color in zip(classes, _repeated(theme, len(classes)), strict=True)
    ]
    if any(one.hidden is not None for one in pictures):
        entries.append(("■", theme.hidden, "missing"))
    if any(one.invented is not None for one in pictures):
        entries.append(("□", theme.text, "invented: framed"))
    lines: list[list[tuple[str, str, str]]] = [[]]
    taken = 0.0
    for entry in entries:
        taken += 36 + 12 * _LETTER * len(entry[2])
        if lines[-1] and taken > room:
            lines.append([])
            taken = 36 + 12 * _LETTER * len(entry[2])
        lines[-1].append(entry)
    return lines


def _size(picture: Picture, panel: int) -> tuple[int, int]:
    """Return the height and the width in pixels of a picture with its frame."""
    lengths = [number * size for number, size in zip(picture.shares.shape[1:], picture.sizes, strict=True)]
    rows, columns = (max(1, round(length * panel / max(lengths))) for length in lengths)
    return rows + 2 * (FRAME + 1), columns + 2 * (FRAME + 1)


def _pixels(picture: Picture, size: tuple[int, int], canvas: Canvas) -> npt.NDArray[np.uint8]:
    """Return a picture with its frame, of shape (rows, columns, 3), of a size in pixels."""
    edge, line = (max(1, round(width * canvas.zoom)) for width in (FRAME + 1, 1))
    rows, columns = (max(1, length - 2 * edge) for length in canvas.dots(*size))

    def resized(mask: Mask | None) -> Mask:
        if mask is None:
            return np.zeros((rows, columns), np.bool_)
        return np.asarray(resize(np.broadcast_to(mask, picture.shares.shape[1:]), rows, columns))

    theme = canvas.theme
    mixed = theme.mixed_colors(
        np.stack([resize(one, rows, columns) for one in picture.shares]), picture.colors
    )
    mixed[resized(picture.hidden)] = rgb(theme.hidden)
    around = np.pad(resized(picture.invented), edge, mode="edge")[..., None]
    framed = np.where(around, rgb(theme.text), rgb(theme.background))
    inner = edge - line
    framed[inner:-inner, inner:-inner] = rgb(theme.edge)
    framed[edge:-edge, edge:-edge] = mixed
    return framed


def _repeated(theme: Theme, count: int) -> list[str]:
    return [theme.classes[k % len(theme.classes)] for k in range(count)]
