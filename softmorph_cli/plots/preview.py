"""Pictures of a map and of the result of a filter, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.io.blocks import BoxReader
from softmorph_cli.plots.backdrop import Backdrop as Backdrop
from softmorph_cli.plots.backdrop import blended
from softmorph_cli.plots.backdrop import settle as settle
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.layout import Cell, Layout, arrange
from softmorph_cli.plots.options import DEFAULT, PictureOptions, ViewOptions, format_of
from softmorph_cli.plots.projection import Held, fullest_planes, images, is_dense, profiles
from softmorph_cli.plots.theme import Colors, rgb
from softmorph_cli.plots.views import (
    Box,
    View,
    choose_views,
    first_index,
    first_index_words,
    round_length,
    window,
)
from softmorph_cli.plots.views import whole as whole_box
from softmorph_cli.system.printable import printable
from softmorph_cli.system.units import COUNTED, sign
from softmorph_cli.topology import components
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.io.blocks import Blocks

MARGIN: Final = 28
CAPTION: Final = 28
FOOTER: Final = 66
LONGEST_SCALE_BAR: Final = 180
COLOR_BAR: Final = (12, 220)
# The share of the colour scale that looks black: margins below it are cut off.
BLACK: Final = 0.01
# Pixels between a change and the ring around it.
RING: Final = 9
# Pixels of a view below which letters would cover each other.
_LETTER_ROOM: Final = 56
TIMES: Final = " \u00d7 "


def preview(
    before: Volume,
    after: Volume | None,
    path: Path,
    *,
    title: str = "",
    subtitle: str = "",
    force: bool = False,
    changed: npt.NDArray[np.bool_] | None = None,
    look: ViewOptions = DEFAULT,
    backdrop: Backdrop | None = None,
) -> None:
    """Write a picture that shows a map and the result of a filter side by side.

    A sparse volume is shown as maximum projections along its three axes, a dense one as three slices; this is chosen
    for each map, and the captions say which. Both have one scale and the true proportions of the voxels; wide empty
    margins are cut off. With a known affine, right and up are the world's R, A or S; otherwise the first row is on top.
    Of several times or channels the first is shown. A map larger than the picture is reduced by taking maxima, so that
    lines one voxel wide stay.

    Args:
        before: The input map.
        after: The result, with the axes and shape of the input, or None to show the input alone.
        path: The PNG, PDF or SVG to write.
        title: First line of the picture, for example the command.
        subtitle: Second line of the picture.
        force: Whether an existing file may be replaced.
        changed: A mask of changed voxels, shape (Y, X) or (Z, Y, X); each of its components gets a ring in the result.
        look: The options of the picture.
        backdrop: An image of the shape of the map, over which both maps are drawn as far as they are certain.

    Raises:
        InputError: If the two maps differ in axes or shape, or an option does not go with them.
        FileError: If `path` exists and `force` is False, or `path` cannot be written.
    """
    if after is not None and (after.axes, after.array.shape) != (before.axes, before.array.shape):
        raise InputError(
            f"maps of axes {before.axes} and {after.axes}, shapes {before.array.shape} and "
            f"{after.array.shape}, cannot be shown side by side: they must agree."
        )
    maps = [Held(first_index(volume)) for volume in (before, after) if volume is not None]
    boxes = [] if changed is None else _component_boxes(changed)
    note = first_index_words(before)
    if boxes:
        note = f"{note}; " if note else ""
        note += f"{len(boxes):,} ring{'s' if len(boxes) > 1 else ''} where voxels crossed the threshold"
    words = (note, title, subtitle)
    _draw(maps, before, *words, boxes, look=look.of_file(path), backdrop=backdrop).save(path, force=force)


def preview_blocks(
    before: Blocks,
    after: BoxReader,
    path: Path,
    look: ViewOptions = DEFAULT,
    name: Path | None = None,
    title: str = "",
    subtitle: str = "",
) -> None:
    """Write the same picture as `preview`, pixel for pixel, for maps larger than memory, over a temporary file.

    The end of `name`, which the file gets in the end, tells the format.

    Raises:
        FileError: If a map is damaged.
    """
    name = name or path
    canvas = _draw([before, after], before, "", title, subtitle, look=look.of_file(name))
    path.write_bytes(canvas.rendered(format_of(name)))


def _component_boxes(mask: npt.NDArray[np.bool_]) -> list[Box]:
    from scipy.ndimage import find_objects

    labels, _ = components.label_components(mask, 3**mask.ndim - 1)
    return list(find_objects(labels))


def _draw(
    maps: Sequence[BoxReader],
    geometry: Volume | Blocks,
    note: str,
    title: str,
    subtitle: str,
    ringed: Sequence[Box] = (),
    *,
    look: ViewOptions = DEFAULT,
    backdrop: Backdrop | None = None,
) -> Canvas:
    names = ["input", "result"] if len(maps) > 1 else [""]
    whole = maps[0].shape
    along = [profiles(one) for one in maps]
    largest = [float(profile[0].max()) for profile in along]
    top = scale_top(max(largest))
    # Over an image all of it is shown.
    box = window(along, BLACK * top) if backdrop is None else whole_box(whole)
    shape = tuple(part.stop - part.start for part in box)
    spacing, unit = voxel_size(len(shape), geometry.spacing, geometry.unit)
    # Slices are at the same planes in both maps; a sparse skeleton is projected, as slices would show a few dots of it.
    sliced = [
        len(shape) == 3 and (look.in_slices or (look.projection is None and is_dense(one, box, most / 2)))
        for one, most in zip(maps, largest, strict=True)
    ]
    planes = fullest_planes(maps[0], box, top) if any(sliced) else None
    place: dict[str, Any] = {
        "affine": geometry.affine,
        "start": tuple(part.start for part in box),
        "look": look,
        "depths": look.depths(geometry.spacing, geometry.unit),
        "mean": look.projection == "mean",
    }
    views = [choose_views(shape, spacing, planes=planes if one else None, **place) for one in sliced]

    facts = size_words(whole, geometry.spacing, geometry.unit)
    facts += f" \u00b7 margins below {BLACK * top:g} cut off" if shape != whole else ""
    captions = [[view.caption for view in row] for row in views]
    extents = [view.extent for view in views[0]]
    behind = None if backdrop is None else backdrop.within(box, [view for row in views for view in row])
    words = (title, subtitle, (facts, behind.words if behind else "", note))
    canvas, layout = framed(extents, captions, min(spacing), *words, label_room=70, look=look)
    sizes = [canvas.dots(cell.height, cell.width) for cell in layout.cells[0]]
    drawn = [images(one, box, row, sizes) for one, row in zip(maps, views, strict=True)]
    if place["mean"]:
        # Means along lines of sight are far below the largest value.
        top = scale_top(max(float(image.max()) for row in drawn for image in row))
    for name, one, row, cells, shown in zip(names, maps, views, layout.cells, drawn, strict=True):
        for view, cell, values in zip(row, cells, shown, strict=True):
            begin = canvas.text(cell.x, cell.y - 9, name, size=16, bold=True) + (10 if name else 0)
            canvas.text(begin, cell.y - 9, view.caption, size=15, color=canvas.theme.pale_text)
            share = values / top
            seen: npt.NDArray[Any] = share
            if behind is not None:
                seen = blended(behind.image(view, *share.shape), canvas.theme.map_colors(share), share)
            canvas.image(cell.x, cell.y, seen, size=(cell.height, cell.width))
            draw_letters(canvas, view, cell)
            if one is maps[-1]:
                size, corner = (cell.width, cell.height), (cell.x, cell.y)
                _draw_rings(canvas, [np.add(span * size, corner) for span in view.spans(ringed, box)])
    draw_scales(canvas, layout.scale, unit, top, "mean probability" if place["mean"] else "probability")
    return canvas


def draw_letters(canvas: Canvas, view: View, cell: Cell) -> None:
    """Write the letters of the sides of the body at the edges of a view that has them, unless it is too thin."""
    if not view.letters:
        return
    left, right, top, bottom = tuple(view.letters)
    middle, center = cell.y + cell.height / 2 + 5, cell.x + cell.width / 2
    style: dict[str, Any] = {"size": 14, "bold": True, "halo": True}
    if cell.height >= _LETTER_ROOM and cell.width >= _LETTER_ROOM:
        canvas.text(center, cell.y + 16, top, align="center", **style)
        canvas.text(center, cell.y + cell.height - 5, bottom, align="center", **style)
    if cell.height >= 16 and cell.width >= _LETTER_ROOM:
        canvas.text(cell.x + 5, middle, left, **style)
        canvas.text(cell.x + cell.width - 5, middle, right, align="right", **style)


def _draw_rings(canvas: Canvas, spans: Sequence[npt.NDArray[np.float64]]) -> None:
    """Draw a ring around each box, given by two opposite corners (x, y)."""
    turn = np.linspace(0, 2 * np.pi, 49)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rings = [span.mean(axis=0) + (np.ptp(span, axis=0).max() / 2 + RING) * circle for span in spans]
    color = rgb(canvas.theme.ring)
    if rings:
        canvas.lines(rings, np.tile(color, (len(rings), 1)), 1.5)


def framed(
    extents: Sequence[tuple[float, float]],
    captions: Sequence[Sequence[str]],
    voxel: float,
    title: str,
    subtitle: str,
    facts: Sequence[str],
    *,
    label_room: int = 0,
    footer: int = FOOTER,
    look: PictureOptions = DEFAULT,
) -> tuple[Canvas, Layout]:
    """Return a canvas with lines of text at the top, and the layout of captioned images below them.

    `extents` and `voxel` are arguments of `arrange`; `captions` are those of each map's views. Unlike in the result of
    `arrange`, cells are the places of the images on the canvas, without captions. Empty lines are left out. `footer` is
    the height in pixels below the layout.
    """
    caption_height = CAPTION if len(captions) > 1 or any(captions[0]) else 0
    layout = arrange(
        extents,
        len(captions),
        voxel=voxel,
        caption=caption_height,
        caption_width=max(label_room + 8 * len(caption) for row in captions for caption in row),
    )
    # File names may hold unprintable bytes.
    title, subtitle = map(printable, (title, subtitle))
    lines = [line for line in (subtitle, *facts) if line]
    top = MARGIN + (36 if title else 0) + 24 * len(lines) + 14
    height = top + layout.height + footer + MARGIN
    canvas = Canvas(
        layout.width + 2 * MARGIN,
        height,
        look.theme,
        title=title,
        description=subtitle,
        dpi=look.dots_per_inch,
    )
    canvas.text(MARGIN, MARGIN + 18, title, size=21, bold=True)
    for number, line in enumerate(reversed(lines), 1):
        canvas.text(MARGIN, top - 24 * number, line, size=15, color=canvas.theme.pale_text)
    return canvas, layout.moved(MARGIN, top + caption_height)


def draw_scales(
    canvas: Canvas,
    scale: float,
    unit: str,
    top: float,
    quantity: str,
) -> None:
    """Draw the scale bar at the lower left and the colour bar, from 0 to `top`, at the lower right.

    `scale` is the number of pixels for one `unit` of length.
    """
    draw_scale_bar(canvas, scale, unit)
    draw_color_bar(canvas, quantity, ("0", f"{top / 2:g}", f"{top:g}"), canvas.theme.map_colors)


def draw_color_bar(
    canvas: Canvas, quantity: str, ticks: Sequence[str], colors: Colors, steps: int | None = None
) -> None:
    """Draw a colour bar at the lower right.

    Args:
        canvas: The canvas.
        quantity: What the colours are of.
        ticks: Texts at equal distances, from the left end to the right end; of `steps`, one below each colour.
        colors: Maps shares from 0 to 1 to colours.
        steps: The number of colours, which are told apart; None for a scale without steps.
    """
    y = canvas.height - MARGIN - 32
    height, width = COLOR_BAR
    left = canvas.width - MARGIN - width
    canvas.text(left - 14, y + 11, quantity, size=15, align="right")
    rows, columns = canvas.dots(height, width)
    shares = np.linspace(0, 1, columns)
    if steps is not None:
        shares = np.minimum(np.arange(columns) * steps // columns, steps - 1) / max(steps - 1, 1)
    canvas.image(left, y, np.tile(shares, (rows, 1)), colors, size=COLOR_BAR)
    below = steps is not None and len(ticks) == steps
    for k, tick in enumerate(ticks):
        if below or len(ticks) == 1:
            canvas.text(left + width * (k + 0.5) / len(ticks), y + 31, tick, size=14, align="center")
        else:
            align: Literal["left", "center", "right"] = (
                "left" if k == 0 else "right" if k == len(ticks) - 1 else "center"
            )
            canvas.text(left + width * k / (len(ticks) - 1), y + 31, tick, size=14, align=align)


def draw_scale_bar(canvas: Canvas, scale: float, unit: str) -> None:
    """Draw the scale bar at the lower left; `scale` is the number of pixels for one `unit` of length."""
    y = canvas.height - MARGIN - 32
    length = round_length(LONGEST_SCALE_BAR / scale)
    canvas.bar(MARGIN, y + 3, round(length * scale), 5)
    canvas.text(MARGIN, y + 31, f"{length:g} {unit}", size=15)


def size_words(shape: Sequence[int], spacing: tuple[float, ...] | None, unit: str | None) -> str:
    """Return the numbers of voxels along x, y (and z) and the size of a voxel as text."""
    words = TIMES.join(f"{n}" for n in reversed(shape))
    words += " voxels (x, y, z)" if len(shape) == 3 else " pixels"
    if spacing is not None and unit is not None:
        words += " of " + TIMES.join(f"{size:.3g}" for size in reversed(spacing))
        words += f" {sign(unit)}"
    return words


def voxel_size(
    dims: int, spacing: tuple[float, ...] | None, unit: str | None
) -> tuple[tuple[float, ...], str]:
    """Return the size of a voxel along each axis, and its unit; without a unit, relative to the size along x."""
    name = COUNTED[dims]
    if spacing is None:
        return (1.0,) * dims, name
    if unit is not None:
        return spacing, sign(unit)
    relative = tuple(size / spacing[-1] for size in spacing)
    return relative, name if np.allclose(relative, 1, rtol=1e-4) else f"{name} along x"


def scale_top(largest: float) -> float:
    """Return the upper end of the colour scale: the least of 1, 0.5, 0.2, 0.1, ... not below the largest value."""
    return 1 / round_length(1 / largest) if largest > 1e-6 else 1.0
