"""GraphML: everything, cycles, parallel branches and loops included."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from softmorph_cli.skeleton.export.rows import axis_letters, columns
from softmorph_cli.skeleton.graph import QUANTITIES, RADIUS, SkeletonGraph


def graphml_text(graph: SkeletonGraph) -> str:
    """Return the graph in GraphML (Brandes et al., Graph Drawing 2001) as networkx writes it.

    A node's id is its number, an edge's id its branch's. Edges are undirected; a branch's lists run from its
    `start_node`. A list of points is text: numbers parted by spaces, points by semicolons; every number has all its
    digits. What is unknown is left out.

    - graph: `class` (of a file with several), `unit`, `axes` (the order of array indices), `shape`, `matrix` and
      `origin` (of the frame: place = matrix @ index + origin, rows x, y, z);
    - nodes: `kind`, `degree`, `component`, `voxel` (array indices), `cluster` (all the voxels of a junction), and
      the place, `x_mm`, `y_mm`, `z_mm`;
    - edges: the columns of the table, `path_voxels` (array indices), `path_points_mm` (smoothed, x y z), and
      `path_radius_mm`, `path_certainty`, `path_levels`: one number a point.

    `networkx.read_graphml(path, node_type=int, edge_key_type=int, force_multigraph=True)` gives all this back.
    """
    import networkx as nx

    frame, unit = graph.frame, graph.frame.suffix
    drawn = nx.MultiGraph(
        **({"class": graph.name} if graph.name else {}),
        unit=unit,
        axes=axis_letters(frame),
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
    asked = columns(frame)
    for branch in graph.branches:
        said: dict[str, Any] = {name: ask(branch) for name, ask in asked.items()}
        said["path_voxels"] = _points(branch.voxels)
        said[f"path_points_{unit}"] = _points(branch.points)
        for quantity in QUANTITIES:
            if quantity in branch.along:
                name = f"path_{quantity}_{unit}" if quantity == RADIUS else f"path_{quantity}"
                said[name] = _numbers(branch.along[quantity].tolist())
        known = {name: value for name, value in said.items() if value is not None}
        drawn.add_edge(*branch.nodes, key=branch.number, **known)
    # Not `write_graphml`: that writes in another order, and other spaces, where lxml is installed.
    lines = nx.generate_graphml(drawn)
    return "\n".join(["<?xml version='1.0' encoding='utf-8'?>", *lines, ""])


def _numbers(values: Any) -> str:
    return " ".join(map(repr, values))


def _points(rows: npt.NDArray[Any]) -> str:
    return ";".join(map(_numbers, rows.tolist()))
