"""A picture of a map with the skeleton through it, as a graph: curves, end points, junctions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np

from softmorph_cli.plots.canvas import Sheet
from softmorph_cli.plots.layout import arrange
from softmorph_cli.plots.preview import BLACK, CAPTION, FOOTER, MARGIN, draw_scales, size_words
from softmorph_cli.plots.scene import Scene
from softmorph_cli.plots.theme import DARK, Look
from softmorph_cli.plots.views import first_index_words
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import printable
from softmorph_cli.volume import Volume

LEGEND: Final = 20
# What a kind of node is called, one and many.
NAMES: Final = {
    "end point": ("end point", "end points"),
    "junction": ("junction", "junctions"),
    "voxel": ("single voxel", "single voxels"),
}


def preview_graph(
    volume: Volume,
    graph: SkeletonGraph,
    path: Path,
    *,
    title: str = "",
    subtitle: str = "",
    force: bool = False,
    look: Look = DARK,
) -> None:
    """Write a PNG that shows the skeleton of a map over the map.

    A volume is seen along its three axes: the map as a faint projection, its maximum or, where it is dense, its
    mean; over it each branch as the smooth line that its length is measured along, coloured by the soft value;
    end points, junctions and single voxels marked. World directions, proportions and margins are as in
    `preview`.

    Args:
        volume: The map.
        graph: The graph of its skeleton.
        path: The PNG to write.
        title: First line, for example the command.
        subtitle: Second line.
        force: Whether an existing file may be replaced.
        look: DARK or LIGHT.

    Raises:
        InputError: If the graph is of an image of another shape.
        FileError: If `path` exists and `force` is off, or if it cannot be written.
    """
    # A file's name may hold bytes that are no text.
    title, subtitle = map(printable, (title, subtitle))
    with replacing(path, force=force) as temporary:
        _draw(volume, graph, title, subtitle, look).save(temporary, title=title, description=subtitle)


def graph_png(
    volume: Volume, graph: SkeletonGraph, *, title: str = "", subtitle: str = "", look: Look = DARK
) -> bytes:
    """Return the PNG of `preview_graph`, to be embedded in a page.

    Raises:
        InputError: If the graph is of an image of another shape.
    """
    title, subtitle = map(printable, (title, subtitle))
    held = io.BytesIO()
    _draw(volume, graph, title, subtitle, look).save(held, title=title, description=subtitle)
    return held.getvalue()


def _draw(volume: Volume, graph: SkeletonGraph, title: str, subtitle: str, look: Look) -> Sheet:
    scene = Scene.of(volume, graph)
    captions = [scene.caption(view) for view in scene.views]
    caption_height = CAPTION if any(captions) else 0
    layout = arrange(
        [view.extent for view in scene.views],
        1,
        voxel=min(scene.spacing),
        caption=caption_height,
        caption_width=max(8 * len(caption) for caption in captions),
    )
    facts = size_words(graph.shape, volume.spacing, volume.unit)
    facts += f" \u00b7 margins below {BLACK * scene.top:g} cut off" if scene.cut else ""
    lines = [line for line in (subtitle, facts, first_index_words(volume)) if line]
    header = (36 if title else 0) + 24 * len(lines) + 14
    height = MARGIN + header + layout.height + LEGEND + FOOTER + MARGIN
    sheet = Sheet(layout.width + 2 * MARGIN, height, look)
    sheet.text(MARGIN, MARGIN + 18, title, size=21, bold=True)
    for number, line in enumerate(lines):
        sheet.text(MARGIN, MARGIN + header - 24 * (len(lines) - number), line, size=15, color=look.pale_ink)
    for view, caption, cell in zip(scene.views, captions, layout.cells[0], strict=True):
        x, y = MARGIN + cell.x, MARGIN + header + cell.y
        sheet.text(x, y + CAPTION - 9, caption, size=15, color=look.pale_ink)
        scene.draw(sheet, view, cell, x, y + caption_height)
    _draw_legend(sheet, scene, MARGIN + header + layout.height + 24)
    draw_scales(sheet, layout.scale, scene.unit, 1.0, "soft value", look.curve_colors)
    return sheet


def legend_words(scene: Scene) -> list[tuple[str, str]]:
    """Return what each kind of mark is called, with how often it occurs, and the kind."""
    counts = {kind: len(index) for kind, index in scene.marked().items()}
    return [
        (f"{counts[kind]:,} {names[counts[kind] != 1]}", kind)
        for kind, names in NAMES.items()
        if counts[kind] or kind != "voxel"
    ]


def _draw_legend(sheet: Sheet, scene: Scene, y: int) -> None:
    x = float(MARGIN)
    for words, kind in legend_words(scene):
        sheet.marks(np.array([[x + 6, y - 5.0]]), sheet.look.marks[kind], 10)
        x = sheet.text(x + 20, y, words, size=15) + 28
