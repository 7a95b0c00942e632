"""Export to GraphML, which stores the whole graph with its cycles, parallel branches and loops."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from softmorph_cli.skeleton.export.table import branch_rows
from softmorph_cli.skeleton.graph import Quantity, SkeletonGraph


def graphml_text(graph: SkeletonGraph) -> str:
    """Return the graph in GraphML (Brandes et al., Graph Drawing 2001), written by networkx.

    The id of a node is the node's `number`, the id of an edge the `number` of its branch. Edges are undirected; lists
    of values along a branch begin at its `start_node`. A list of points is a string in which spaces separate numbers
    and semicolons separate points. Numbers have all their digits. Unknown values are left out.

    - graph: `class` (if the file has several), `unit`, `axes` (order of array indices), `shape`, `matrix` and `origin`
      of the frame (place = matrix @ index + origin, rows x, y, z);
    - nodes: `kind`, `degree`, `component`, `voxel` (array indices), `cluster` (all voxels of a junction), and the
      place `x_mm`, `y_mm`, `z_mm`;
    - edges: the columns of the CSV, `path_voxels` (array indices), `path_points_mm` (smoothed, x y z), and
      `path_radius_mm`, `path_certainty`, `path_levels` (one number per point).

    `networkx.read_graphml(path, node_type=int, edge_key_type=int, force_multigraph=True)` reads the whole graph.
    """
    import networkx as nx

    frame, unit = graph.frame, graph.frame.suffix
    drawn = nx.MultiGraph(
        **({"class": graph.name} if graph.name else {}),
        unit=unit,
        axes=frame.letters,
        shape=_numbers(graph.shape),
        matrix=_points(frame.matrix),
        origin=_numbers(frame.origin.tolist()),
    )
    for node in graph.nodes:
        x, y, z = node.place.tolist()
        drawn.add_node(
            node.number,
            kind=node.kind,
            degree=int(node.degree),
            component=node.component,
            voxel=_points(node.voxels[:1]),
            cluster=_points(node.voxels),
            **{f"x_{unit}": x, f"y_{unit}": y, f"z_{unit}": z},
        )
    for branch, row in zip(graph.branches, branch_rows(graph), strict=True):
        values: dict[str, Any] = {
            **row,
            "path_voxels": _points(branch.voxels),
            f"path_points_{unit}": _points(branch.points),
        }
        for quantity in Quantity:
            if quantity in branch.along:
                name = f"path_{quantity}_{unit}" if quantity == Quantity.RADIUS else f"path_{quantity}"
                values[name] = _numbers(branch.along[quantity].tolist())
        known = {name: value for name, value in values.items() if value is not None}
        drawn.add_edge(*branch.nodes, key=branch.number, **known)
    # `write_graphml` uses lxml if it is installed, with other white space and order.
    lines = nx.generate_graphml(drawn)
    return "\n".join(["<?xml version='1.0' encoding='utf-8'?>", *lines, ""])


def _numbers(values: Any) -> str:
    return " ".join(map(repr, values))


def _points(rows: npt.NDArray[Any]) -> str:
    return ";".join(map(_numbers, rows.tolist()))
