"""Export to CSV, with a row for each branch; JSON, GraphML and pandas use the same columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from operator import attrgetter

import numpy as np

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph

Cell = int | float | str | None


def csv_text(graph: SkeletonGraph) -> str:
    """Return a table of the branches as CSV, the longest branch first (RFC 4180, but lines end in a newline alone).

    The last column is the name of the class, if the file has several classes. A cell is empty if its value is unknown.
    Numbers have all their digits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    name = {"class": graph.name} if graph.name else {}
    rows = branch_rows(graph)
    writer.writerow([*column_names(graph.frame), *name])
    writer.writerows([*row.values(), *name.values()] for row in rows)
    return text.getvalue()


def branch_rows(graph: SkeletonGraph) -> list[dict[str, Cell]]:
    """Return, for each branch, the values by column name; a value is None if it is unknown."""
    getters = _columns(graph.frame)
    return [{name: get(branch) for name, get in getters.items()} for branch in graph.branches]


def column_names(frame: Frame) -> list[str]:
    """Return the names of the columns, which depend on the unit and the number of axes of the frame."""
    return [*_columns(frame)]


def _columns(frame: Frame) -> dict[str, Callable[[Branch], Cell]]:
    """Return the columns in order: for each name, the function that computes the value of a branch.

    Names of lengths end in the unit, `frame.suffix`. Columns such as `start_z_voxel` hold array indices, and columns
    such as `start_x_mm` hold the world coordinates of the same voxel.
    """
    unit = frame.suffix
    columns: dict[str, Callable[[Branch], Cell]] = {
        "branch": attrgetter("number"),
        "component": attrgetter("component"),
        "kind": attrgetter("kind"),
        "start_node": lambda branch: branch.nodes[0],
        "end_node": lambda branch: branch.nodes[1],
        f"length_{unit}": attrgetter("length"),
        f"chord_{unit}": attrgetter("chord"),
        "tortuosity": attrgetter("tortuosity"),
        f"radius_mean_{unit}": _spread(Quantity.RADIUS, "mean"),
        f"radius_min_{unit}": _spread(Quantity.RADIUS, "min"),
        f"radius_max_{unit}": _spread(Quantity.RADIUS, "max"),
        "certainty_mean": _spread(Quantity.CERTAINTY, "mean"),
        "certainty_min": _spread(Quantity.CERTAINTY, "min"),
        "levels_mean": _spread(Quantity.LEVELS, "mean"),
        "levels_min": _spread(Quantity.LEVELS, "min"),
        "voxels": lambda branch: len(branch.voxels),
    }
    ends = {"start": 0, "end": -1}
    for end, at in ends.items():
        for axis, letter in enumerate(frame.letters):
            columns[f"{end}_{letter}_voxel"] = _index(at, axis)
    for end, at in ends.items():
        for axis, letter in enumerate("xyz"):
            columns[f"{end}_{letter}_{unit}"] = _coordinate(frame, at, axis)
    columns |= {
        "branch_type": attrgetter("type"),
        f"radius_start_{unit}": _radius_at(0),
        f"radius_end_{unit}": _radius_at(-1),
        # In 2D a radius is half a width, and there is no disk.
        f"cross_section_area_{unit}2": lambda branch: branch.cross_section if frame.dims == 3 else None,
        "generation": _tree("generation"),
        "strahler": _tree("strahler"),
        "parent": _tree("parent"),
        "angle_deg": _tree("angle"),
    }
    return columns


def _tree(name: str) -> Callable[[Branch], Cell]:
    return lambda branch: None if branch.tree is None else getattr(branch.tree, name)


def _radius_at(end: int) -> Callable[[Branch], Cell]:
    def get(branch: Branch) -> Cell:
        radius = branch.along.get(Quantity.RADIUS)
        return None if radius is None else float(radius[end])

    return get


def _spread(quantity: Quantity, part: str) -> Callable[[Branch], Cell]:
    def get(branch: Branch) -> Cell:
        spread = branch.spread(quantity)
        return None if spread is None else float(getattr(spread, part))

    return get


def _index(at: int, axis: int) -> Callable[[Branch], Cell]:
    return lambda branch: int(branch.voxels[at, axis])


def _coordinate(frame: Frame, at: int, axis: int) -> Callable[[Branch], Cell]:
    # Of the voxel, not of the smoothed curve: the two differ at the node of a ring.
    return lambda branch: float(frame.world(np.asarray(branch.voxels[at]))[axis])
