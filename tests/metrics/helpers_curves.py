"""Graphs drawn as curves, whose nodes are where curves meet, and traced ones."""

from __future__ import annotations

import numpy as np

from softmorph_cli.metrics.curves import Curves
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.trace import trace

Place = tuple[float, ...]


def drawn(*lines: list[Place], lone: tuple[Place, ...] = (), dims: int = 2) -> Curves:
    """Draw curves; ends at the same place are one node. `lone` are isolated voxels."""
    nodes: dict[Place, int] = {}
    ends: list[tuple[int, int]] = []
    for line in lines:
        begin, end = (nodes.setdefault(tuple(map(float, place)), len(nodes)) for place in (line[0], line[-1]))
        ends.append((begin, end))
    for place in lone:
        nodes[tuple(map(float, place))] = len(nodes)
    degrees = np.bincount(np.array(ends, np.intp).ravel(), minlength=len(nodes))
    return Curves(
        np.array(list(nodes)).reshape(-1, dims),
        degrees,
        tuple(np.array(line, float) for line in lines),
        tuple(ends),
    )


def shifted(curves: Curves, by: Place) -> Curves:
    """Return the same graph elsewhere."""
    step = np.array(by, float)
    moved = tuple(line + step for line in curves.lines)
    return Curves(curves.places + step, curves.degrees, moved, curves.ends)


def traced(
    mask: np.ndarray, spacing: tuple[float, ...] | None = None, affine: np.ndarray | None = None
) -> SkeletonGraph:
    """Trace the graph of a skeleton drawn voxel by voxel."""
    dims = mask.ndim
    matrix = np.eye(3)[:, :dims][:, ::-1] * (1.0 if spacing is None else np.array(spacing))
    origin = np.zeros(3)
    if affine is not None:
        matrix, origin = affine[:3, 3 - dims : 3], affine[:3, 3]
    return measure(trace(np.argwhere(mask)), Frame(matrix, origin, "mm"), mask.shape, {})
