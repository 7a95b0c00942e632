"""The page of an inspection (`softmorph inspect`): one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli import __version__
from softmorph_cli.plots.html import histogram as charts
from softmorph_cli.plots.html.histogram import Chart, histogram
from softmorph_cli.plots.html.rendering import Card, embedded, rendered
from softmorph_cli.plots.html.tables import SHOWN, Column, HtmlTable, decimals_of, figures, number, places
from softmorph_cli.plots.html.view3d import view3d
from softmorph_cli.skeleton import analyse
from softmorph_cli.skeleton.graph import Quantity, SkeletonGraph
from softmorph_cli.system.printable import plural
from softmorph_cli.system.units import COUNTED, lengths_in, sign
from softmorph_cli.volume import Volume

TIMES: Final = " \u00d7 "
# Labels of parameters, where they differ from their names.
NAMES: Final = {"as": "read as", "levels": "levels of the soft skeleton"}
TYPES: Final = {
    "junction-to-junction": "also back to the same one",
    "spur": "to an end point within the vessel that it leaves",
    "isolated cycle": "without a junction",
}
MEANINGS: Final = {
    Quantity.RADIUS: "distance from the centreline to the surface",
    Quantity.CERTAINTY: "the map's value along the branch",
    Quantity.LEVELS: "the soft skeleton's value along the branch",
}


def inspection_page(
    inspection: analyse.Inspection,
    *,
    title: str,
    facts: Mapping[str, str] | Sequence[tuple[str, str]],
    pictures: Mapping[str, bytes],
) -> str:
    """Return the page of an inspection as an HTML document that works offline, with scripts or without.

    Equal arguments give equal text; the page contains no date.

    Args:
        inspection: The inspection of a skeleton or map.
        title: The heading of the page, such as the file's name.
        facts: Additional facts at the top, by name. By default there are "file", "size", "voxel size", "lengths in",
            "softmorph version" and the inspection's parameters that are not None; a fact of the same name replaces
            the default one.
        pictures: PNG files, "light" and "dark"; the page shows the one for its theme, or the only one.
    """
    graph = inspection.graph
    branches = _branches(graph)
    view = view3d(inspection, branches.columns)
    return rendered(
        "inspection.html",
        () if view is None else ("view3d.js",),
        title=title,
        command="softmorph inspect",
        facts=_facts(inspection, facts),
        remarks=[("warning", inspection.warnings), ("note", inspection.notes)],
        cards=_cards(graph),
        pictures=embedded(pictures),
        seen=_seen(inspection.volume, graph),
        histograms=_histograms(graph),
        charts=charts,
        view=view,
        tables=[branches, _components(graph)],
        shown=SHOWN,
    )


def _facts(
    inspection: analyse.Inspection, given: Mapping[str, str] | Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    volume, frame = inspection.volume, inspection.graph.frame
    facts = {} if volume.source is None else {"file": volume.source.path.name}
    kind = "voxels (x, y, z)" if volume.spatial_dims == 3 else "pixels"
    facts["size"] = TIMES.join(f"{n}" for n in reversed(inspection.graph.shape)) + f" {kind}"
    facts["voxel size"] = _voxel_size(volume)
    facts["lengths in"] = lengths_in(frame.suffix, frame.counted)
    facts |= dict(given)
    for name, value in inspection.parameters.items():
        if value is not None:
            facts.setdefault(NAMES.get(name, name.replace("_", " ")), _words(value))
    facts.setdefault("softmorph version", __version__)
    return list(facts.items())


def _voxel_size(volume: Volume) -> str:
    if volume.spacing is None:
        return "not known"
    unit = "of unknown unit" if volume.unit is None else sign(volume.unit)
    return TIMES.join(f"{size:.4g}" for size in reversed(volume.spacing)) + f" {unit}"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value))
    return str(value)


def _cards(graph: SkeletonGraph) -> list[Card]:
    cards = [
        Card("Components", f"{len(graph.components):,}"),
        Card("Cycles", f"{graph.cycles:,}"),
        Card("End points", f"{len(graph.end_points):,}"),
        Card("Junctions", f"{len(graph.junctions):,}"),
        Card("Branches", f"{len(graph.branches):,}"),
        Card("Total length", number(graph.length), sign(graph.frame.suffix)),
    ]
    for quantity, name, unit in (
        (Quantity.RADIUS, "Mean radius", sign(graph.frame.suffix)),
        (Quantity.CERTAINTY, "Mean certainty", ""),
        (Quantity.LEVELS, "Mean soft skeleton", ""),
    ):
        spread = graph.spread(quantity)
        if spread is not None:
            least, largest = figures((spread.min, spread.max), decimals_of(spread.max or 1, 3))
            if 0 < spread.max < 1e-3:
                least, largest = f"{spread.min:.3g}", f"{spread.max:.3g}"
            words = f"from {least} to {largest}"
            cards.append(Card(name, f"{spread.mean:.4g}", unit, words))
        elif quantity != Quantity.LEVELS:
            cards.append(Card(name, "\u2013", "", "not known"))
    return cards


def _seen(volume: Volume, graph: SkeletonGraph) -> str:
    """Return the text alternative of the page's picture."""
    what = "The image" if volume.spatial_dims == 2 else "Views of the volume along its axes"
    counts = (
        plural(len(graph.branches), "branch"),
        plural(len(graph.junctions), "junction"),
        plural(len(graph.end_points), "end point"),
    )
    return f"{what} with the skeleton drawn over the map: {counts[0]}, {counts[1]} and {counts[2]}."


def _histograms(graph: SkeletonGraph) -> list[Chart]:
    unit, branches = sign(graph.frame.suffix), graph.branches
    if not branches:
        return []
    lengths = np.array([branch.length for branch in branches])
    drawn = [
        histogram(
            lengths,
            name="Branch length",
            unit=unit,
            counted="branches",
            note="Counted are branches, each once.",
        )
    ]
    for quantity, name, of in ((Quantity.RADIUS, "Radius", unit), (Quantity.CERTAINTY, "Certainty", "")):
        if quantity in branches[0].along:
            counted = COUNTED[len(graph.shape)]
            note = f"Counted are the {counted} along the branches, each once."
            values = _along(graph, quantity)
            drawn.append(histogram(values, name=name, unit=of, counted=counted, note=note))
    return drawn


def _along(graph: SkeletonGraph, quantity: str) -> npt.NDArray[np.float64]:
    """Return a quantity at every voxel of the branches; voxels that branches share count once."""
    voxels = np.concatenate([branch.voxels for branch in graph.branches])
    values = np.concatenate([branch.along[quantity] for branch in graph.branches])
    first = np.unique(np.ravel_multi_index(tuple(voxels.T), graph.shape), return_index=True)[1]
    alone: npt.NDArray[np.float64] = values[first]
    return alone


def _branches(graph: SkeletonGraph) -> HtmlTable:
    unit, branches = sign(graph.frame.suffix), graph.branches
    columns = [
        Column("Branch", [f"{b.number}" for b in branches]),
        Column("Type", [b.type for b in branches], "text", "choice"),
        Column(f"Length ({unit})", figures([b.length for b in branches])),
        Column("Tortuosity", figures([b.tortuosity for b in branches], 3)),
    ]
    # A quantity is known of all branches or of none.
    known = [quantity for quantity in Quantity if branches and quantity in branches[0].along]
    for quantity in known:
        spreads = [spread for branch in branches if (spread := branch.spread(quantity)) is not None]
        of, decimals = "", 3
        if quantity == Quantity.RADIUS:
            means = [s.mean for s in spreads if s.mean > 0]
            of, decimals = f" ({unit})", decimals_of(float(np.median(means)), 3) if means else 0
        for part in ("mean", "min", "max") if quantity == Quantity.RADIUS else ("mean", "min"):
            cells = figures([getattr(s, part) for s in spreads], decimals)
            columns.append(Column(f"{quantity.capitalize()}, {part}{of}", cells))
    columns.append(Column("Component", [f"{b.component}" for b in branches], "number", "box"))
    ends = np.array([(b.points[0], b.points[-1]) for b in branches]).reshape(-1, 2, 3)
    # The z of an image is left out if it is 0.
    ends = ends[..., :2] if graph.frame.dims == 2 and not ends[..., 2].any() else ends
    axes = ",\u00a0".join("xyz"[: ends.shape[-1]])
    decimals = decimals_of(float(np.linalg.norm(graph.frame.matrix, axis=0).min()), 2)
    if not (ends % 1).any():
        decimals = 0
    for k, word in enumerate(("From", "To")):
        columns.append(Column(f"{word} {axes} ({unit})", places(ends[:, k], decimals), ""))
    legend = TYPES | {"tortuosity": "length over the straight distance"} | {q: MEANINGS[q] for q in known}
    return HtmlTable("branches", "Every branch, the longest first", columns, 2, legend)


def _components(graph: SkeletonGraph) -> HtmlTable:
    rows = graph.components
    columns = [
        Column("Component", [f"{c.number}" for c in rows]),
        Column(f"Length ({sign(graph.frame.suffix)})", figures([c.length for c in rows])),
        Column("Branches", [f"{c.branches:,}" for c in rows]),
        Column("End points", [f"{c.end_points:,}" for c in rows]),
        Column("Junctions", [f"{c.junctions:,}" for c in rows]),
        Column("Cycles", [f"{c.cycles:,}" for c in rows]),
    ]
    return HtmlTable("components", "Connected components, the longest first", columns, 1)
