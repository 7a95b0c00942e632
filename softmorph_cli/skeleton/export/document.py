"""The JSON document of a skeleton graph: a summary, the components, the branches and the nodes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from softmorph_cli.skeleton.export.images import skeleton_voxels
from softmorph_cli.skeleton.export.table import branch_rows
from softmorph_cli.skeleton.graph import Quantity, SkeletonGraph


def document(graph: SkeletonGraph) -> dict[str, Any]:
    """Return the graph as a JSON object of lists, strings and finite numbers; a value is None if it is unknown.

    Returns:
        The key `graph` holds the summary; `components`, `branches` (with the columns of the CSV as keys) and `nodes`
        hold lists. Names of lengths end in the unit, such as `length_mm`; `world` is a place (x, y, z) in the
        summary's `unit`; `voxel` is an array index.
    """
    renamed = {"number": "component", "length": f"length_{graph.frame.suffix}"}
    return {
        "graph": summary(graph),
        "components": [
            {renamed.get(name, name): value for name, value in asdict(component).items()}
            for component in graph.components
        ],
        "branches": [
            {**row, "nodes": list(branch.nodes)}
            for row, branch in zip(branch_rows(graph), graph.branches, strict=True)
        ],
        "nodes": [
            {
                "node": node.number,
                "component": node.component,
                "kind": node.kind,
                "degree": int(node.degree),
                "voxel": node.voxels[0].tolist(),
                "world": node.place.tolist(),
            }
            for node in graph.nodes
        ],
    }


def summary(graph: SkeletonGraph) -> dict[str, Any]:
    """Return the counts, lengths and mean values of the whole graph; names of lengths end in its unit."""
    unit = graph.frame.suffix
    bent = [(branch.length, branch.tortuosity) for branch in graph.branches if branch.tortuosity is not None]
    radius, certainty, levels = (spread and spread._asdict() for spread in map(graph.spread, Quantity))
    return {
        "components": len(graph.components),
        "cycles": graph.cycles,
        "end_points": len(graph.end_points),
        "junctions": len(graph.junctions),
        "branches": len(graph.branches),
        "lone_voxels": sum(node.degree == 0 for node in graph.nodes),
        "voxels": len(skeleton_voxels(graph)),
        "unit": unit,
        f"length_{unit}": float(graph.length),
        f"longest_branch_{unit}": float(graph.branches[0].length) if graph.branches else None,
        "tortuosity_mean": (
            float(np.average([t for _, t in bent], weights=[length for length, _ in bent])) if bent else None
        ),
        "generation_max": max((b.tree.generation for b in graph.branches if b.tree), default=None),
        "strahler_max": max((b.tree.strahler or 0 for b in graph.branches if b.tree), default=None),
        "radius": radius and {**radius, "unit": unit},
        "certainty": certainty,
        "levels": levels,
    }
