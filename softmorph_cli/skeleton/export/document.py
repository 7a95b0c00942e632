"""JSON: the graph as a whole, its components, branches and nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from softmorph_cli.skeleton.export.rows import columns
from softmorph_cli.skeleton.graph import CERTAINTY, LEVELS, RADIUS, SkeletonGraph
from softmorph_cli.skeleton.images import skeleton_voxels


def document(graph: SkeletonGraph) -> dict[str, Any]:
    """Return the graph as plain lists, strings and finite numbers, null where something is unknown.

    Returns:
        `graph` counts and sums up, `components`, `branches` (named as the columns of the table) and `nodes` list.
        Lengths carry their unit in their name, places (x, y, z) are in `graph.unit`; voxels are array indices.
    """
    asked = columns(graph.frame)
    return {
        "graph": _summary(graph),
        "components": [
            {
                "number": component.number,
                "branches": component.branches,
                "end_points": component.end_points,
                "junctions": component.junctions,
                "cycles": component.cycles,
                f"length_{graph.frame.suffix}": float(component.length),
            }
            for component in graph.components
        ],
        "branches": [
            {**{name: ask(branch) for name, ask in asked.items()}, "nodes": list(branch.nodes)}
            for branch in graph.branches
        ],
        "nodes": [
            {
                "number": node.number,
                "component": node.component,
                "kind": node.kind,
                "degree": int(node.degree),
                "voxel": node.voxels[0].tolist(),
                "place": node.place.tolist(),
            }
            for node in graph.nodes
        ],
    }


def _summary(graph: SkeletonGraph) -> dict[str, Any]:
    unit = graph.frame.suffix
    bent = [(branch.length, branch.tortuosity) for branch in graph.branches if branch.tortuosity is not None]
    radius = _spread(graph, RADIUS)
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
        "radius": radius and {**radius, "unit": unit},
        "certainty": _spread(graph, CERTAINTY),
        "levels": _spread(graph, LEVELS),
    }


def _spread(graph: SkeletonGraph, quantity: str) -> dict[str, float] | None:
    spread = graph.spread(quantity)
    if spread is None:
        return None
    return {"mean": float(spread.mean), "min": float(spread.min), "max": float(spread.max)}
