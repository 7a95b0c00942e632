"""Terminal output of `softmorph inspect`: the picture, the summary, the tables of branches and components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from softmorph_cli.cli.report import number
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.skeleton.graph import Branch, Component, SkeletonGraph
    from softmorph_cli.volume import Volume

Rows = list[list[str]]
COMPONENTS: Final = 8

ORDERS: Final = {
    "length": "longest first",
    "tortuosity": "most tortuous first",
    "radius": "widest first",
    "certainty": "least certain first",
}


def check_order(sort: str) -> None:
    """Refuse an unknown order of branches."""
    if sort not in ORDERS:
        raise UsageError(f"--sort {sort}: use {', '.join(ORDERS)}.")


def check_known(graph: SkeletonGraph, sort: str) -> None:
    """Refuse an order by a quantity that was not measured."""
    if sort in ("radius", "certainty") and graph.branches and graph.branches[0].spread(sort) is None:
        soft = " of soft values" if sort == "certainty" else ""
        raise InputError(
            f"--sort {sort}: no branch has a {sort} here; add --map MAP{soft}, or take --sort length."
        )


def heading(sort: str) -> str:
    """Return the title of the table of branches, which names the order of the rows."""
    return f"branches, {ORDERS[sort]}"


def facts(volume: Volume) -> list[tuple[str, str]]:
    """Return the size of the map and that of its voxels, each with its name."""
    size = " × ".join(map(str, volume.array.shape))
    spacing = " × ".join(f"{s:g}" for s in volume.spacing) if volume.spacing else "unknown"
    return [
        (f"size ({', '.join(volume.axes.lower())})", size),
        ("voxel size", f"{spacing} {sign(volume.unit or '')}".rstrip()),
    ]


def words(found: analyse.Inspection) -> str:
    """Return the footer of the summary: how the curve was found."""
    volume, asked = found.volume, found.parameters
    parts = [f"{name} {value}" for name, value in facts(volume)]
    parts.append(f"above {asked['threshold']:g}, {3**volume.spatial_dims - 1}-connected")
    for name, thing, what in (("pruned_spurs", "spur", "pruned"), ("pruned_cycles", "cycle", "cut")):
        if name in asked:
            parts.append(f"{asked[name]:,} {thing}{'s' if asked[name] != 1 else ''} {what}")
    return "; ".join(parts)


def picture(found: analyse.Inspection) -> None:
    """Print the picture of the skeleton, as large as the window allows."""
    from rich.console import Console

    from softmorph_cli.plots.terminal import picture

    console = Console()
    # rich reports a color system under NO_COLOR too.
    colors = console.color_system is not None and not console.no_color
    console.print(
        picture(found.volume, found.graph, width=console.width, height=console.height, colors=colors)
    )


def summary(graph: SkeletonGraph) -> Rows:
    """Return the lines of the summary: a name and a value."""
    unit = sign(graph.frame.suffix)
    rows = [
        ["components", f"{len(graph.components):,}"],
        ["cycles", f"{graph.cycles:,}"],
        ["end points", f"{len(graph.end_points):,}"],
        ["junctions", f"{len(graph.junctions):,}"],
        ["branches", f"{len(graph.branches):,}"],
    ]
    if not graph.branches:
        return rows
    rows.append([f"total length ({unit})", number(graph.length)])
    rows.append([f"longest branch ({unit})", number(graph.branches[0].length)])
    for name, quantity in (
        (f"radius ({unit})", "radius"),
        ("certainty", "certainty"),
        ("soft skeleton", "levels"),
    ):
        spread = graph.spread(quantity)
        if spread is not None:
            rows.append([name, f"{short(spread.mean)} ({short(spread.min)} to {short(spread.max)})"])
    return rows


def table(graph: SkeletonGraph, *, top: int, sort: str) -> tuple[tuple[str, ...], Rows]:
    """Return the columns and the lines of the table of branches, the first `top` of an order; 0 for all."""
    if not graph.branches:
        return (), []
    unit, first = sign(graph.frame.suffix), graph.branches[0]
    columns: list[tuple[str, Callable[[Branch], str]]] = [
        (f"length\n({unit})", lambda b: short(b.length)),
        ("tortu-\nosity", lambda b: "-" if b.tortuosity is None else f"{b.tortuosity:.3f}"),
    ]
    for name, quantity in (
        (f"radius\n({unit})", "radius"),
        ("cer-\ntainty", "certainty"),
        ("soft\nskeleton", "levels"),
    ):
        if first.spread(quantity) is not None:
            columns.append((name, _figure(quantity, "mean")))
            if quantity == "certainty":
                columns.append(("least", _figure(quantity, "min")))
    columns += [("type", lambda b: b.type), ("com-\nponent", lambda b: str(b.component))]
    chosen = _sorted(graph.branches, sort)[: top or None]
    lines = [[f"branch {b.number}", *(value(b) for _, value in columns)] for b in chosen]
    return ("", *(name for name, _ in columns)), lines


def components(graph: SkeletonGraph) -> tuple[tuple[str, ...], Rows]:
    """Return the columns and the lines of the table of components; none of a single component."""
    if len(graph.components) < 2:
        return (), []
    unit = sign(graph.frame.suffix)
    names = (f"length ({unit})", "branches", "end points", "junctions", "cycles")
    quantities = ("branches", "end_points", "junctions", "cycles")

    def line(name: str, some: Sequence[Component]) -> list[str]:
        counts = (sum(getattr(one, quantity) for one in some) for quantity in quantities)
        return [name, short(sum(one.length for one in some)), *(f"{count:,}" for count in counts)]

    lines = [line(f"component {one.number}", [one]) for one in graph.components[:COMPONENTS]]
    rest = graph.components[COMPONENTS:]
    if rest:
        lines.append(line(f"{len(rest):,} more", rest))
    return ("", *names), lines


def _sorted(every: Sequence[Branch], sort: str) -> list[Branch]:
    def key(branch: Branch) -> float:
        if sort == "length":
            return -branch.length
        if sort == "tortuosity":
            return -(branch.tortuosity or 0.0)
        spread = branch.spread(sort)
        if spread is None:
            return 0.0
        return -spread.mean if sort == "radius" else spread.mean

    return sorted(every, key=key)


def _figure(quantity: str, part: str) -> Callable[[Branch], str]:
    return lambda branch: short(getattr(branch.spread(quantity), part))


def short(value: float) -> str:
    """Return a measured number as text: three significant figures, or from 1,000 on an integer."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
