"""The data of a page's rotating 3D view: branches, nodes and the map's outline in physical units, with colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.html.histogram import SKEWED
from softmorph_cli.plots.html.tables import Column, number
from softmorph_cli.plots.theme import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    THEMES,
    VERMILION,
    YELLOW,
)
from softmorph_cli.skeleton import analyse
from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph
from softmorph_cli.skeleton.image_kind import SKELETON, THRESHOLDS
from softmorph_cli.system.printable import plural
from softmorph_cli.system.units import sign
from softmorph_cli.volume import Volume

# What a browser draws smoothly without a graphics card.
MOST_POINTS: Final = 50_000
MOST_BRANCHES: Final = MOST_POINTS // 4
MOST_NODES: Final = 2 * MOST_BRANCHES  # of a kind: the ends of all branches
MOST_SURFACE: Final = 4_000
# Number of distinct colours of a quantity.
STEPS: Final = 24
# Colours of groups such as components, which repeat.
GROUPS: Final = {
    "light": (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK),
    "dark": (SKY, ORANGE, "#2fe0a5", PURPLE, YELLOW, VERMILION, "#ffffff"),
}
# Directions on the screen, to the right and up, at angles of 0: z is up in the world of a scanner, as in the previews,
# and y is down in other images.
WORLD: Final = ((1, 0, 0), (0, 0, 1))
IMAGE: Final = ((1, 0, 0), (0, -1, 0))

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class View3D:
    """A rotating view of a skeleton in 3D.

    Attributes:
        data: What the page's script draws, as JSON: coordinates are (x, y, z) in the unit of the graph's frame.
        words: A text alternative of the view.
        notes: Sentences on what the view shows and on what it leaves out.
        outline: Whether the view has points on the map's surface.
    """

    data: dict[str, Any]
    words: str
    notes: tuple[str, ...]
    outline: bool

    @property
    def colorings(self) -> list[str]:
        """The names of the quantities and groups by which branches can be coloured."""
        return [coloring["name"] for coloring in self.data["colorings"]]

    @property
    def characters(self) -> dict[str, str]:
        """The characters that look like the marks of nodes, by kind of node."""
        return {kind: mark.character for kind, mark in THEMES["light"].marks.items()}

    def either(self, palette: str, key: int | str) -> str:
        """Return a colour of a palette ("ramp", "groups" or "marks") in CSS, which follows the page's look."""
        light, dark = (self.data["looks"][look][palette][key] for look in ("light", "dark"))
        return f"light-dark({light}, {dark})"


def view3d(inspection: analyse.Inspection, columns: Sequence[Column]) -> View3D | None:
    """Return the 3D view of an inspection; None if the skeleton is empty or that of a 2D image.

    Args:
        inspection: The inspection of a skeleton or map.
        columns: The columns of the page's table of branches, whose lengths and mean radii name a branch in the view.
    """
    graph = inspection.graph
    if graph.frame.dims != 3 or not graph.nodes:
        return None
    branches = graph.branches[:MOST_BRANCHES]
    chosen = [kept(len(branch.points), _step(branches)) for branch in branches]
    points = _joined([branch.points[index] for branch, index in zip(branches, chosen, strict=True)])
    surface = _surface(inspection)
    nodes = _nodes(graph, branches)
    box = _box(graph, [points, surface, *nodes.values()])
    decimals = max(0, 3 - math.floor(math.log10(graph.frame.finest)))
    data = {
        "unit": sign(graph.frame.suffix),
        "screen": WORLD if _is_scan(inspection.volume) else IMAGE,
        "box": box.round(decimals).tolist(),
        "numbers": [branch.number for branch in branches],
        "counts": [len(index) for index in chosen],
        "points": _flat(points, decimals),
        "nodes": {kind: _flat(places, decimals) for kind, places in nodes.items()},
        "surface": _flat(surface, decimals),
        "colorings": _colorings(graph, branches, chosen),
        "facts": [
            [words, column.cells[: len(branches)], sign(graph.frame.suffix)]
            for head, words in (("Length", "length"), ("Radius, mean", "mean radius"))
            for column in columns
            if column.head.startswith(head)
        ],
        "looks": {look: _look(look) for look in THEMES},
    }
    sizes = " × ".join(number(float(f"{size:.3g}")) for size in box[1] - box[0])
    words = (
        f"Rotating 3D view of {plural(len(graph.branches), 'branch')}, {plural(len(graph.junctions), 'junction')} and "
        f"{plural(len(graph.end_points), 'end point')}"
    )
    return View3D(
        data,
        f"{words} in a box of {sizes} {data['unit']}.",
        (
            f"The box is {sizes} {data['unit']} along x, y and z. {_directions(inspection.volume)}",
            *_left_out(graph, branches, len(points)),
        ),
        bool(len(surface)),
    )


def kept(count: int, step: int) -> npt.NDArray[np.int64]:
    """Return the indices of the points of a branch that are drawn: every `step`-th, the first and the last.

    >>> kept(6, 2).tolist()
    [0, 2, 4, 5]
    """
    return np.unique(np.append(np.arange(0, count, step), count - 1))


def _step(branches: Sequence[Branch]) -> int:
    """Return the least step at which at most MOST_POINTS points of the branches are drawn."""
    counts = np.array([len(branch.points) for branch in branches], int)
    step = 1
    # The first, every step-th and the last.
    while (np.ceil((counts - 1) / step) + 1).sum() > MOST_POINTS:
        step += 1
    return step


def _left_out(graph: SkeletonGraph, branches: Sequence[Branch], drawn: int) -> list[str]:
    notes = []
    if len(branches) < len(graph.branches):
        notes.append(f"Drawn are the longest {len(branches):,} of {len(graph.branches):,} branches.")
    total = sum(len(branch.points) for branch in branches)
    if drawn < total:
        notes.append(f"Drawn are {drawn:,} of the {total:,} points of the branches, evenly along each.")
    voxels = sum(node.kind == "voxel" for node in graph.nodes)
    if voxels > MOST_NODES:
        notes.append(f"Drawn are {MOST_NODES:,} of the {voxels:,} single voxels.")
    return notes


def _is_scan(volume: Volume) -> bool:
    """Return whether world coordinates are those of a body; an OME-Zarr has a place, and no anatomy."""
    return volume.affine is not None and (volume.source is None or volume.source.format != "ome-zarr")


def _directions(volume: Volume) -> str:
    if not _is_scan(volume):
        return "The axes are those of the image and right-handed: x points to the right and y down, until it is turned."
    return "The axes are right-handed: x points to the right, y to anterior and z to superior."


def _nodes(graph: SkeletonGraph, branches: Sequence[Branch]) -> dict[str, Points]:
    """Return the places of the nodes that are marked, by kind: those of the branches, and single voxels."""
    ends = {number for branch in branches for number in branch.nodes}
    marked = {
        kind: [
            node.place
            for node in graph.nodes
            if node.kind == kind and (node.number in ends or not node.degree)
        ]
        for kind in THEMES["light"].marks
    }
    return {kind: np.array(places[:MOST_NODES]).reshape(-1, 3) for kind, places in marked.items()}


def _surface(inspection: analyse.Inspection) -> Points:
    """Return the places, shape (N, 3), of at most MOST_SURFACE voxels at the surface of the map, drawn at random.

    There are none if the radii are not known, as then there is no map with a surface.
    """
    from scipy import ndimage

    graph, parameters = inspection.graph, inspection.parameters
    if not graph.branches or Quantity.RADIUS not in graph.branches[0].along:
        return np.empty((0, 3))
    threshold = parameters.get("threshold", THRESHOLDS["map"])
    if parameters.get("as") == SKELETON and parameters.get("levels") is None:
        # The threshold is that of the skeleton.
        threshold = THRESHOLDS["map"]
    mask = inspection.volume.array > threshold
    flat = np.flatnonzero(mask & ~ndimage.binary_erosion(mask))
    if len(flat) > MOST_SURFACE:
        flat = np.random.default_rng(0).choice(flat, MOST_SURFACE, replace=False)
    return graph.frame.world(np.stack(np.unravel_index(flat, mask.shape), axis=-1))


def _box(graph: SkeletonGraph, parts: Sequence[Points]) -> Points:
    """Return the least and the largest coordinates, shape (2, 3), of the voxels around all points."""
    points = np.concatenate(parts)
    half = np.abs(graph.frame.matrix).sum(axis=1) / 2
    return np.stack([points.min(axis=0) - half, points.max(axis=0) + half])


def _colorings(
    graph: SkeletonGraph, branches: Sequence[Branch], chosen: Sequence[npt.NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """Return the ways to colour the branches: by a quantity at each point, by a number or by a group of each branch.

    Each has a name, and an index of a colour in a palette of `_look` for each point or each branch ("each"). A quantity
    has the texts of the least and the largest value ("words"), a group those of its members unless colours repeat.
    """
    if not branches:
        return []
    unit = sign(graph.frame.suffix)
    found = []
    for quantity in Quantity:
        if quantity in branches[0].along:
            parts = [b.along[quantity][index] for b, index in zip(branches, chosen, strict=True)]
            of = unit if quantity == Quantity.RADIUS else ""
            name = "Soft skeleton" if quantity == Quantity.LEVELS else quantity.capitalize()
            found.append(_ramp(name, "point", np.concatenate(parts), of))
    types = list(dict.fromkeys(branch.type for branch in branches))
    components = [f"{component.number}" for component in graph.components if component.branches]
    found += [
        _group(
            "Branch", [branch.number - 1 for branch in branches], [f"{branch.number}" for branch in branches]
        ),
        _group("Component", [branch.component - 1 for branch in branches], components),
        _group("Type", [types.index(branch.type) for branch in branches], types),
    ]
    trees = [branch.tree for branch in branches]
    for name, values in (
        ("Generation", [None if tree is None else tree.generation for tree in trees]),
        ("Strahler order", [None if tree is None else tree.strahler for tree in trees]),
    ):
        if any(value is not None for value in values):
            known = np.array([math.nan if value is None else value for value in values])
            found.append(_ramp(name, "branch", known, ""))
    return found


def _ramp(name: str, each: str, values: npt.NDArray[np.float64], unit: str) -> dict[str, Any]:
    """Return a colouring by a quantity; unknown values (NaN) have the index -1."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    # As in the histograms: most values would have the first colour.
    logarithmic = low > 0 and high > SKEWED * float(np.nanmedian(values))
    scaled = np.log(values) if logarithmic else values
    first, last = (math.log(low), math.log(high)) if logarithmic else (low, high)
    steps = np.rint((scaled - first) / max(last - first, 1e-6 * abs(last), 1e-12) * (STEPS - 1))
    ends = [" ".join(filter(None, (number(float(f"{end:.3g}")), unit))) for end in (low, high)]
    return {
        "name": name,
        "palette": "ramp",
        "each": each,
        "values": np.where(np.isnan(steps), -1, steps).astype(int).tolist(),
        # Values that differ by rounding errors alone count as equal.
        "words": ends[: 1 if high - low <= 1e-6 * abs(high) else 2],
        "scale": "logarithmic" if logarithmic else "",
    }


def _group(name: str, members: Sequence[int], words: Sequence[str]) -> dict[str, Any]:
    count = len(GROUPS["light"])
    return {
        "name": name,
        "palette": "groups",
        "each": "branch",
        "values": [member % count for member in members],
        "words": list(words) if len(words) <= count else [],
        "scale": f"{count} colours, which repeat" if len(words) > count else "",
    }


def _look(look: str) -> dict[str, Any]:
    theme = THEMES[look]
    ramp = theme.curve_colors(np.arange(STEPS) / (STEPS - 1))
    return {
        "ramp": [f"#{bytes(color).hex()}" for color in ramp],
        "groups": GROUPS[look],
        "marks": {kind: mark.color for kind, mark in theme.marks.items()},
    }


def _joined(parts: Sequence[Points]) -> Points:
    return np.concatenate(parts) if parts else np.empty((0, 3))


def _flat(points: Points, decimals: int) -> list[float]:
    rounded: list[float] = (points.round(decimals) + 0.0).ravel().tolist()
    return rounded
