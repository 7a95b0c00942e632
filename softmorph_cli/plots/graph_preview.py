"""Pictures of a map with its skeleton as a graph: curves, end points, junctions."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from softmorph_cli.plots.backdrop import Backdrop
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.coloring import CERTAINTY
from softmorph_cli.plots.layout import Cell
from softmorph_cli.plots.options import DEFAULT, ViewOptions
from softmorph_cli.plots.preview import (
    BLACK,
    FOOTER,
    MARGIN,
    draw_color_bar,
    draw_letters,
    draw_scale_bar,
    framed,
    size_words,
)
from softmorph_cli.plots.scene import Scene
from softmorph_cli.plots.theme import THEMES
from softmorph_cli.plots.views import first_index_words
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.volume import Volume

LEGEND: Final = 20
# Largest width and height of a small picture, in pixels.
THUMBNAIL: Final = (280, 210)
# Singular and plural of each kind of node.
NAMES: Final = {
    "end point": ("end point", "end points"),
    "junction": ("junction", "junctions"),
    "voxel": ("single voxel", "single voxels"),
}


def preview_graph(
    volume: Volume,
    graph: SkeletonGraph,
    *,
    title: str = "",
    subtitle: str = "",
    look: ViewOptions = DEFAULT,
    backdrop: Backdrop | None = None,
    color: str = CERTAINTY,
) -> Canvas:
    """Return a picture of a map with its skeleton drawn over the map.

    A volume is shown along its three axes: the map as a faint projection, its maximum or, if it is dense, its mean;
    over it each branch as the smooth line that its length is measured along, coloured by the soft value; end points,
    junctions and single voxels marked. World directions, proportions and margins are as in `preview`.

    Args:
        volume: The map.
        graph: The graph of the map's skeleton.
        title: First line of the picture, for example the command.
        subtitle: Second line of the picture.
        look: The options of the picture.
        backdrop: An image of the shape of the map, which is drawn in place of the map.
        color: What the curve is coloured by: "certainty" (the soft value), "radius", "generation" or "branch".

    Returns:
        The picture, with `.png()` and `.save(path)`.

    Raises:
        InputError: If the graph belongs to an image of another shape, or has no values of `color`.
    """
    scene = Scene.of(volume, graph, look, backdrop, color)
    coloring = scene.coloring(look.theme)
    facts = size_words(graph.shape, volume.spacing, volume.unit)
    facts += f" \u00b7 margins below {BLACK * scene.top:g} cut off" if scene.cut else ""
    captions = [scene.caption(view) for view in scene.views]
    canvas, layout = framed(
        [view.extent for view in scene.views],
        [captions],
        min(scene.spacing),
        title,
        subtitle,
        (facts, scene.behind.words if scene.behind else "", first_index_words(volume)),
        footer=LEGEND + FOOTER,
        look=look,
    )
    for view, caption, cell in zip(scene.views, captions, layout.cells[0], strict=True):
        canvas.text(cell.x, cell.y - 9, caption, size=15, color=canvas.theme.pale_text)
        scene.draw(canvas, view, cell)
        draw_letters(canvas, view, cell)
    _draw_legend(canvas, scene, canvas.height - MARGIN - FOOTER - LEGEND + 24)
    draw_scale_bar(canvas, layout.scale, scene.unit)
    steps = None if coloring.name == CERTAINTY else coloring.steps
    draw_color_bar(canvas, coloring.label, coloring.ticks, coloring.colors, steps)
    return canvas


def thumbnails(volume: Volume, graph: SkeletonGraph | None) -> dict[str, bytes]:
    """Return `thumbnail` for each look of a page, "light" and "dark"."""
    return {look: thumbnail(volume, graph, theme=look) for look in ("light", "dark")}


def thumbnail(
    volume: Volume, graph: SkeletonGraph | None, *, theme: Literal["dark", "light"] = "dark"
) -> bytes:
    """Return a small PNG of a map, with its skeleton if there is one: the view that shows most of it, without words.

    Args:
        volume: The map; of several times or channels the first is shown.
        graph: The graph of the map's skeleton, or None.
        theme: The colour theme of the picture.

    Raises:
        InputError: If the graph belongs to an image of another shape.
    """
    shape = volume.array.shape[-volume.spatial_dims :]
    nothing = SkeletonGraph((), (), (), Frame(np.eye(3), np.zeros(3), None), shape)
    scene = Scene.of(volume, graph or nothing)
    view = max(scene.views, key=lambda one: one.extent[0] * one.extent[1])
    height, width = view.extent
    scale = min(THUMBNAIL[0] / width, THUMBNAIL[1] / height)
    cell = Cell(0, 0, height=max(8, round(scale * height)), width=max(8, round(scale * width)))
    canvas = Canvas(cell.width, cell.height, THEMES[theme])
    scene.draw(canvas, view, cell)
    return canvas.png()


def legend_words(scene: Scene) -> list[tuple[str, str]]:
    """Return the entries of the legend: a label with the number of marks, and the kind of node, for each kind."""
    counts = {kind: len(index) for kind, index in scene.marked().items()}
    return [
        (f"{counts[kind]:,} {names[counts[kind] != 1]}", kind)
        for kind, names in NAMES.items()
        if counts[kind] or kind != "voxel"
    ]


def _draw_legend(canvas: Canvas, scene: Scene, y: int) -> None:
    x = float(MARGIN)
    for words, kind in legend_words(scene):
        canvas.marks(np.array([[x + 6, y - 5.0]]), canvas.theme.marks[kind], 10)
        x = canvas.text(x + 20, y, words, size=15) + 28
