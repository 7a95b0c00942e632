"""Tables over many files: a row for each branch, each component and each case, which can be stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from softmorph_cli.skeleton.export.document import summary
from softmorph_cli.skeleton.export.table import Cell, branch_rows, column_names
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import Branch, Component, Quantity, SkeletonGraph
from softmorph_cli.system.printable import cell

Row = dict[str, Cell]


def branches_of(graph: SkeletonGraph, warnings: Sequence[str] = ()) -> list[Row]:
    """Return a row for each branch: its component first, then the columns of the CSV of one file."""
    return [{"component": row["component"], **row} for row in branch_rows(graph)]


def components_of(graph: SkeletonGraph, warnings: Sequence[str] = ()) -> list[Row]:
    """Return a row for each component, the longest first: counts, lengths, radius and certainty."""
    inside: dict[int, list[Branch]] = {component.number: [] for component in graph.components}
    for branch in graph.branches:
        inside[branch.component].append(branch)
    degrees: dict[int, list[int]] = {component.number: [] for component in graph.components}
    for node in graph.nodes:
        degrees[node.component].append(node.degree)
    return [
        _component(component, inside[component.number], degrees[component.number], graph.frame.suffix)
        for component in graph.components
    ]


def cases_of(graph: SkeletonGraph, warnings: Sequence[str] = ()) -> list[Row]:
    """Return one row, the summary of a graph; `warnings` go into its last column."""
    unit = graph.frame.suffix
    row: Row = {}
    for name, value in summary(graph).items():
        if name in ("radius", "certainty", "levels"):
            ending = f"_{unit}" if name == Quantity.RADIUS else ""
            for part in ("mean", "min", "max"):
                row[f"{name}_{part}{ending}"] = value and value[part]
        elif name != "unit":
            row[name] = value
    return [{**row, "warnings": " ".join(warnings)}]


# The tables by the name of their option.
TABLES: Final[dict[str, Callable[[SkeletonGraph, Sequence[str]], list[Row]]]] = {
    "csv": branches_of,
    "summary": cases_of,
    "components": components_of,
}


def header(name: str, graph: SkeletonGraph) -> list[str]:
    """Return the columns of a table over files in the unit of a graph, with those of 3D images.

    `name` is a key of `TABLES`.
    """
    # A unit that is not known has the name of what is counted, voxels or pixels.
    space = Frame(np.eye(3), np.zeros(3), graph.frame.suffix)
    if name == "csv":
        names = ["component", *(column for column in column_names(space) if column != "component")]
    else:
        empty = SkeletonGraph((), (), (Component(1, 0, 0, 0, 0, 0.0),), space, (0, 0, 0))
        names = [*TABLES[name](empty, ())[0]]
    return ["file", "class", *names]


def rows(name: str, file: Path, graph: SkeletonGraph, warnings: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table for one class of one file; `name` is a key of `TABLES`."""
    return [{"file": str(cell(file)), "class": graph.name, **row} for row in TABLES[name](graph, warnings)]


def _component(component: Component, branches: Sequence[Branch], degrees: Sequence[int], unit: str) -> Row:
    lengths = [branch.length for branch in branches]
    row: Row = {
        "component": component.number,
        "branches": component.branches,
        "end_points": component.end_points,
        "junctions": component.junctions,
        "triple_points": degrees.count(3),
        "quadruple_points": degrees.count(4),
        "cycles": component.cycles,
        f"length_{unit}": component.length,
        f"branch_length_mean_{unit}": component.length / len(lengths) if lengths else None,
        f"branch_length_max_{unit}": max(lengths, default=None),
    }
    for quantity in Quantity:
        ending = f"_{unit}" if quantity == Quantity.RADIUS else ""
        known = [spread for branch in branches if (spread := branch.spread(quantity)) is not None]
        weights = lengths if sum(lengths) > 0 else None
        row[f"{quantity}_mean{ending}"] = (
            float(np.average([spread.mean for spread in known], weights=weights)) if known else None
        )
        row[f"{quantity}_min{ending}"] = min((spread.min for spread in known), default=None)
        row[f"{quantity}_max{ending}"] = max((spread.max for spread in known), default=None)
    return row
