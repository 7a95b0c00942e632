"""Pictures of where a prediction and a reference agree, and where each of them has what the other lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.backdrop import Backdrop, blended
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.layout import Cell
from softmorph_cli.plots.options import DEFAULT, ViewOptions
from softmorph_cli.plots.preview import (
    FOOTER,
    MARGIN,
    draw_letters,
    draw_scale_bar,
    framed,
    size_words,
    voxel_size,
)
from softmorph_cli.plots.projection import Held, fullest_planes, profiles
from softmorph_cli.plots.scene import LINE
from softmorph_cli.plots.theme import Colors, Mark, Theme, rgb
from softmorph_cli.plots.views import View, choose_views, resize, whole, window
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.volume import Volume

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

_LEGEND: Final = 46
# Of colours over an image.
OPACITY: Final = 0.55
# Keys of the colours of a theme: what voxels and pieces of centrelines can be.
BOTH, EXTRA, MISSED = "both", "extra", "missed"
_VOXELS: Final = {BOTH: "true positive", EXTRA: "false positive", MISSED: "false negative"}
_LINES: Final = {BOTH: "centreline in both", EXTRA: "in the prediction only", MISSED: "in the reference only"}


class Compared(NamedTuple):
    """A prediction or a reference: its mask, and the graph of its centreline."""

    mask: Mask
    graph: SkeletonGraph


def preview_agreement(
    prediction: Compared,
    reference: Compared,
    place: Volume,
    *,
    title: str = "",
    subtitle: str = "",
    look: ViewOptions = DEFAULT,
    backdrop: Backdrop | None = None,
) -> Canvas:
    """Return a picture of where a prediction and a reference disagree.

    A volume is shown along its three axes. The colour of a pixel says what most voxels along its line of sight are: in
    both masks, in the prediction only (false positive) or in the reference only (false negative); of equal numbers what
    is wrong is shown. Over them are the reference's centreline, where it lies inside the prediction and where it does
    not, and the prediction's where it lies outside of the reference.

    Args:
        prediction: Mask of the prediction, shape (Y, X) or (Z, Y, X), and its graph.
        reference: Mask of the reference, of the same shape, and its graph.
        place: A volume with the shape, voxel size and affine of both.
        title: First line of the picture, for example the command.
        subtitle: Second line of the picture.
        look: The options of the picture.
        backdrop: An image of the shape of the masks, which shows through their colours.

    Returns:
        The picture, with `.png()` and `.save(path)`.
    """
    either = prediction.mask | reference.mask
    held = Held(either.astype(np.float32))
    box = window([profiles(held)], 0.5) if backdrop is None else whole(either.shape)
    start, shape = tuple(part.start for part in box), either[box].shape
    spacing, unit = voxel_size(len(shape), place.spacing, place.unit)
    planes = fullest_planes(held, box, 1.0) if look.in_slices and len(shape) == 3 else None
    views = choose_views(
        shape,
        spacing,
        affine=place.affine,
        start=start,
        planes=planes,
        look=look,
        depths=look.depths(place.spacing, place.unit),
    )
    behind = None if backdrop is None else backdrop.within(box, views)
    captions = [view.caption.removeprefix(" · ").replace("maximum", "projection") for view in views]
    cut = " · empty margins cut off" if shape != either.shape else ""
    canvas, layout = framed(
        [view.extent for view in views],
        [captions],
        min(spacing),
        title,
        subtitle,
        (size_words(either.shape, place.spacing, place.unit) + cut, behind.words if behind else ""),
        footer=_LEGEND + FOOTER,
        look=look,
    )
    kinds = _kinds(prediction.mask, reference.mask)
    lines = [*_pieces(reference, prediction, BOTH, MISSED), *_pieces(prediction, reference, "", EXTRA)]
    for view, caption, cell in zip(views, captions, layout.cells[0], strict=True):
        canvas.text(cell.x, cell.y - 9, caption, size=15, color=canvas.theme.pale_text)
        image = _projected([one[box] for one in kinds.values()], view)
        number = resize(image, *canvas.dots(cell.height, cell.width))
        drawn = _colors(canvas.theme)(number / len(kinds))
        if behind is not None:
            drawn = blended(behind.image(view, *number.shape), drawn, np.where(number > 0, OPACITY, 0.0))
        canvas.image(cell.x, cell.y, drawn, size=(cell.height, cell.width))
        _draw_lines(canvas, lines, view, cell, start, shape, over_image=behind is not None)
        draw_letters(canvas, view, cell)
    counts = {kind: int(np.count_nonzero(one)) for kind, one in kinds.items()}
    _draw_legend(canvas, counts)
    draw_scale_bar(canvas, layout.scale, unit)
    return canvas


def _kinds(predicted: Mask, truth: Mask) -> dict[str, Mask]:
    """Return masks of what voxels are; of equal numbers along a line of sight the last one is shown."""
    return {BOTH: predicted & truth, EXTRA: predicted & ~truth, MISSED: truth & ~predicted}


def _projected(kinds: list[Mask], view: View) -> npt.NDArray[np.intp]:
    """Return an image of a view with what most voxels along a line of sight are, from 1 on; 0 where there is none."""
    counts = np.stack([_count(one, view) for one in kinds[::-1]])
    most = len(kinds) - counts.argmax(axis=0)
    return np.asarray(view.oriented(np.where(counts.any(axis=0), most, 0)))


def _count(kind: Mask, view: View) -> npt.NDArray[np.intp]:
    """Return the number of voxels of a kind along each line of sight."""
    if view.axis is None:
        return kind.astype(np.intp)
    part = kind[(slice(None),) * view.axis + (view.part(kind.shape[view.axis]),)]
    return np.asarray(part.sum(axis=view.axis))


def _colors(theme: Theme) -> Colors:
    table = np.array([rgb(theme.background), *(rgb(theme.agreement[kind]) for kind in _VOXELS)])

    def colors(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        return np.asarray(table[np.rint(values * len(_VOXELS)).astype(np.intp)])

    return colors


def _pieces(own: Compared, other: Compared, inside: str, outside: str) -> Iterator[tuple[str, Points]]:
    """Yield the pieces of a centreline: what each is, and the array indices along it, shape (N, d).

    A piece is called `inside` where it lies in the other mask, else `outside`; pieces whose name is empty are left out.
    """
    for branch in own.graph.branches:
        index = own.graph.frame.index(branch.points)
        held = other.mask[tuple(branch.voxels.T)]
        both = held[1:] & held[:-1]
        cuts = np.flatnonzero(np.diff(both)) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(both)], strict=True):
            name = inside if end > begin and both[begin] else outside
            if name and end > begin:
                yield name, index[begin : end + 1]


def _draw_lines(
    canvas: Canvas,
    lines: list[tuple[str, Points]],
    view: View,
    cell: Cell,
    start: tuple[int, ...],
    shape: tuple[int, ...],
    *,
    over_image: bool,
) -> None:
    size, corner = np.array([cell.width, cell.height]), np.array([cell.x, cell.y])
    rows, columns = view.shown
    voxel = min(cell.height / shape[rows], cell.width / shape[columns])
    width = float(np.clip(0.25 * voxel, *LINE))
    # What is wrong on top.
    for kind in _LINES:
        parts = [part for name, index in lines if name == kind for part in view.parts_of(index, start, shape)]
        paths = [corner + size * view.places(part - start, shape) for part in parts]
        color = rgb(canvas.theme.agreement_lines[kind])
        if paths and over_image:
            # Dark and light lines stand out from any grey.
            edge = np.tile(rgb(canvas.theme.background), (len(paths), 1))
            canvas.lines(paths, edge, width + 2)
        if paths:
            canvas.lines(paths, np.tile(color, (len(paths), 1)), width)


def _draw_legend(canvas: Canvas, counts: dict[str, int]) -> None:
    top = canvas.height - MARGIN - FOOTER - _LEGEND + 24
    x = float(MARGIN)
    for kind, words in _VOXELS.items():
        canvas.marks(np.array([[x + 6, top - 5.0]]), Mark("s", "■", canvas.theme.agreement[kind]), 12)
        x = canvas.text(x + 20, top, f"{words} {counts[kind]:,}", size=15) + 28
    x = float(MARGIN)
    for kind, words in _LINES.items():
        line = np.array([[x, top + 19.0], [x + 14, top + 19.0]])
        canvas.lines([line], rgb(canvas.theme.agreement_lines[kind])[None], 3)
        x = canvas.text(x + 20, top + 24, words, size=15) + 28
