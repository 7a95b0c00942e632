"""Inspections of drawn arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from softmorph_cli import Volume
from softmorph_cli.skeleton.analyse import Choices, Inspection, inspect
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.skeleton.image_kind import SKELETON

ISOTROPIC = (1.0, 1.0, 1.0)


def volume_of(image: np.ndarray, spacing: tuple[float, ...] | None = None, **more: Any) -> Volume:
    dims = image.ndim
    sizes = ISOTROPIC[:dims] if spacing is None else spacing
    return Volume(image.astype(np.float32), "ZYX"[-dims:], sizes, "mm", **more)


def of_skeleton(image: np.ndarray, reference: Volume | None = None, **choices: Any) -> Inspection:
    return inspect(volume_of(image), Choices(SKELETON, **choices), reference=reference)


def counts(found: Inspection) -> tuple[int, ...]:
    return counts_of(found.graph)


def counts_of(graph: SkeletonGraph) -> tuple[int, ...]:
    """Return components, cycles, end points, junctions, branches."""
    return (
        len(graph.components),
        graph.cycles,
        len(graph.end_points),
        len(graph.junctions),
        len(graph.branches),
    )


def along(found: Inspection, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of all branches, and the values of a quantity there."""
    branches = found.graph.branches
    return np.concatenate([b.voxels for b in branches]), np.concatenate([b.along[quantity] for b in branches])


def known(found: Inspection) -> set[str]:
    return set(found.graph.branches[0].along)
