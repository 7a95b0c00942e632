"""A picture of a map and of what a filter made of it, to be read at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.plots.canvas import Sheet
from softmorph_cli.plots.layout import arrange
from softmorph_cli.plots.projection import Held, Map, fullest_planes, images, is_dense, profiles
from softmorph_cli.plots.theme import Colors
from softmorph_cli.plots.views import Box, choose_views, first_index, first_index_words, round_length, window
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import printable
from softmorph_cli.system.units import sign
from softmorph_cli.topology import components
from softmorph_cli.volume import Volume

MARGIN: Final = 28
CAPTION: Final = 28
FOOTER: Final = 66
LONGEST_SCALE_BAR: Final = 180
COLOR_BAR: Final = (12, 220)
# The share of the colour scale that looks black: margins below it are cut off.
BLACK: Final = 0.01
# Pixels between what is ringed and its ring.
RING: Final = 9
TIMES: Final = " \u00d7 "


class Placed(Map, Protocol):
    """A map that is read in blocks, with its place in the world."""

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """As in `Volume`."""

    @property
    def unit(self) -> str | None:
        """As in `Volume`."""

    @property
    def affine(self) -> npt.NDArray[np.float64] | None:
        """As in `Volume`."""


def preview(
    before: Volume,
    after: Volume | None,
    path: Path,
    *,
    title: str = "",
    subtitle: str = "",
    force: bool = False,
    changed: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Write a PNG that shows a map and the result of a filter side by side.

    A sparse volume is shown as maximum projections along its three axes, a dense one as three slices, each
    map as suits it, and the picture says which. Both have one scale and the true proportions of the voxels;
    wide empty margins are cut off. Where a volume's affine is known, right and up are the world's R, A or
    S; otherwise the first row is on top. Of several times or channels the first is shown. A map larger than the
    picture is reduced by taking maxima, so that lines one voxel wide stay.

    Args:
        before: The input.
        after: The result, of the same axes and shape, or None to show the input alone.
        path: The PNG to write.
        title: First line, for example the command.
        subtitle: Second line.
        force: Whether an existing file may be replaced.
        changed: A mask of voxels to look for, shape (Y, X) or (Z, Y, X): each place gets a ring in the result.

    Raises:
        InputError: If the two maps differ in axes or shape.
        FileError: If `path` exists and `force` is off, or if it cannot be written.
    """
    if after is not None and (after.axes, after.array.shape) != (before.axes, before.array.shape):
        raise InputError(
            f"maps of axes {before.axes} and {after.axes}, shapes {before.array.shape} and "
            f"{after.array.shape}, cannot be shown side by side: they must agree."
        )
    maps = [Held(first_index(volume)) for volume in (before, after) if volume is not None]
    places = [] if changed is None else _places(changed)
    also = first_index_words(before)
    if places:
        also = f"{also}; " if also else ""
        also += f"{len(places):,} ring{'s' if len(places) > 1 else ''} where voxels crossed the threshold"
    _save(maps, before, also, path, title, subtitle, force, places)


def preview_blocks(before: Placed, after: Map, place: Path, *, title: str = "", subtitle: str = "") -> None:
    """Write the picture of `preview`, pixel for pixel, of maps that are larger than memory.

    Args:
        before: The input.
        after: The result, of the same shape.
        place: A temporary file: whoever calls replaces what is there.
        title: As for `preview`.
        subtitle: As for `preview`.

    Raises:
        FileError: If a map is damaged.
    """
    _write([before, after], before, "", place, title, subtitle)


def _save(
    maps: Sequence[Map],
    place: Volume | Placed,
    also: str,
    path: Path,
    title: str,
    subtitle: str,
    force: bool,
    places: Sequence[Box] = (),
) -> None:
    with replacing(path, force=force) as temporary:
        _write(maps, place, also, temporary, title, subtitle, places)


def _write(
    maps: Sequence[Map],
    place: Volume | Placed,
    also: str,
    path: Path,
    title: str,
    subtitle: str,
    places: Sequence[Box] = (),
) -> None:
    # A file's name may hold bytes that are no text.
    title, subtitle = map(printable, (title, subtitle))
    _draw(maps, place, also, title, subtitle, places).save(path, title=title, description=subtitle)


def _places(changed: npt.NDArray[np.bool_]) -> list[Box]:
    """Return the box of each place where something changed."""
    from scipy.ndimage import find_objects

    labels, _ = components.label_components(changed, 3**changed.ndim - 1)
    return list(find_objects(labels))


def _draw(
    maps: Sequence[Map],
    place: Volume | Placed,
    also: str,
    title: str,
    subtitle: str,
    places: Sequence[Box],
) -> Sheet:
    names = ["input", "result"] if len(maps) > 1 else [""]
    whole = maps[0].shape
    along = [profiles(one) for one in maps]
    largest = [float(one[0].max()) for one in along]
    top = scale_top(max(largest))
    box = window(along, BLACK * top)
    shape = tuple(part.stop - part.start for part in box)
    spacing, unit = voxel_size(len(shape), place.spacing, place.unit)
    # Both maps are cut at the same planes, but a skeleton in slices would be a few lonely dots.
    dense = [
        len(shape) == 3 and is_dense(one, box, most / 2) for one, most in zip(maps, largest, strict=True)
    ]
    planes = fullest_planes(maps[0], box, top) if any(dense) else None
    start = tuple(part.start for part in box)
    views = [
        choose_views(shape, spacing, affine=place.affine, start=start, planes=planes if one else None)
        for one in dense
    ]

    captions = [view.caption for row in views for view in row]
    caption_height = CAPTION if len(maps) > 1 or any(captions) else 0
    layout = arrange(
        [view.extent for view in views[0]],
        len(names),
        voxel=min(spacing),
        caption=caption_height,
        caption_width=max(70 + 8 * len(caption) for caption in captions),
    )
    facts = size_words(whole, place.spacing, place.unit)
    facts += f" \u00b7 margins below {BLACK * top:g} cut off" if shape != whole else ""
    lines = [line for line in (subtitle, facts, also) if line]
    header = (36 if title else 0) + 24 * len(lines) + 14
    sheet = Sheet(layout.width + 2 * MARGIN, MARGIN + header + layout.height + FOOTER + MARGIN)
    sheet.text(MARGIN, MARGIN + 18, title, size=21, bold=True)
    for number, line in enumerate(lines):
        sheet.text(
            MARGIN, MARGIN + header - 24 * (len(lines) - number), line, size=15, color=sheet.look.pale_ink
        )

    for name, one, row, cells in zip(names, maps, views, layout.cells, strict=True):
        sizes = [(cell.height, cell.width) for cell in cells]
        for view, cell, values in zip(row, cells, images(one, box, row, sizes), strict=True):
            x, y = MARGIN + cell.x, MARGIN + header + cell.y
            begin = sheet.text(x, y + CAPTION - 9, name, size=16, bold=True) + (10 if name else 0)
            sheet.text(begin, y + CAPTION - 9, view.caption, size=15, color=sheet.look.pale_ink)
            sheet.image(x, y + caption_height, values / top)
            if one is maps[-1]:
                rings = [
                    np.add(ring * (cell.width, cell.height), (x, y + caption_height))
                    for ring in view.spans(places, box)
                ]
                _draw_rings(sheet, rings)
    draw_scales(sheet, layout.scale, unit, top, "probability")
    return sheet


def _draw_rings(sheet: Sheet, spans: Sequence[npt.NDArray[np.float64]]) -> None:
    """Draw a ring around each span, given by two opposite corners (x, y)."""
    turn = np.linspace(0, 2 * np.pi, 49)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rings = [span.mean(axis=0) + (np.ptp(span, axis=0).max() / 2 + RING) * circle for span in spans]
    color = np.frombuffer(bytes.fromhex(sheet.look.ring[1:]), np.uint8)
    if rings:
        sheet.lines(rings, np.tile(color, (len(rings), 1)), 1.5)


def draw_scales(
    sheet: Sheet,
    scale: float,
    unit: str,
    top: float,
    what: str,
    colors: Colors | None = None,
) -> None:
    """Draw the scale bar at the lower left and the colour bar, from 0 to `top`, at the lower right.

    Args:
        sheet: To draw on.
        scale: Pixels for one unit.
        unit: What lengths are in.
        top: The value at the colour bar's right end.
        what: What the colours stand for.
        colors: From shares of `top` to colours; those of a map if not given.
    """
    y = sheet.height - MARGIN - 32
    length = round_length(LONGEST_SCALE_BAR / scale)
    sheet.bar(MARGIN, y + 3, round(length * scale), 5)
    sheet.text(MARGIN, y + 31, f"{length:g} {unit}", size=15)
    height, width = COLOR_BAR
    left = sheet.width - MARGIN - width
    sheet.text(left - 14, y + 11, what, size=15, align="right")
    shares = np.tile(np.linspace(0, 1, width), (height, 1))
    sheet.image(left, y, shares, colors)
    sheet.text(left, y + 31, "0", size=14)
    sheet.text(left + width / 2, y + 31, f"{top / 2:g}", size=14, align="center")
    sheet.text(left + width, y + 31, f"{top:g}", size=14, align="right")


def size_words(shape: Sequence[int], spacing: tuple[float, ...] | None, unit: str | None) -> str:
    """Say how many voxels a map has along x, y (and z), and how large they are."""
    words = TIMES.join(f"{n}" for n in reversed(shape))
    words += " voxels (x, y, z)" if len(shape) == 3 else " pixels"
    if spacing is not None and unit is not None:
        words += " of " + TIMES.join(f"{size:.3g}" for size in reversed(spacing))
        words += f" {sign(unit)}"
    return words


def voxel_size(
    dims: int, spacing: tuple[float, ...] | None, unit: str | None
) -> tuple[tuple[float, ...], str]:
    """Return the size of a voxel and its unit; without a known unit, measured in voxels along x."""
    name = "voxels" if dims == 3 else "pixels"
    if spacing is None:
        return (1.0,) * dims, name
    if unit is not None:
        return spacing, sign(unit)
    relative = tuple(size / spacing[-1] for size in spacing)
    return relative, name if np.allclose(relative, 1, rtol=1e-4) else f"{name} along x"


def scale_top(largest: float) -> float:
    """Return where the colour scale ends: the least of 1, 0.5, 0.2, 0.1, ... that a largest value does not exceed."""
    return 1 / round_length(1 / largest) if largest > 1e-6 else 1.0
