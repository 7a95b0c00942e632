"""Skeletons drawn voxel by voxel, whose graphs are known, and their measured graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers_maps import vessels
from skimage import morphology

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.volume import Volume

ALL = ("radius", "certainty", "levels")


def diamond(image: np.ndarray, y: int, x: int, radius: int) -> None:
    """Draw a ring of 4 * radius voxels."""
    rows, columns = np.indices(image.shape)
    image[abs(rows - y) + abs(columns - x) == radius] = True


def arms(image: np.ndarray, y: int, x: int) -> None:
    """Draw three arms of 8, 6 and 5 voxels around a middle one."""
    image[y : y + 9, x] = True
    for step in range(1, 7):
        image[y - step, x + step] = True
    for step in range(1, 6):
        image[y - step, x - step] = True


def theta(image: np.ndarray, y: int, x: int) -> None:
    """Draw two junctions and three branches between them."""
    image[y, x : x + 11] = True
    for side in (-1, 1):
        # Away from the middle branch first, so that a junction is one voxel.
        for step in range(1, 4):
            image[y + side * step, x - 2 + step] = image[y + side * step, x + 12 - step] = True
        image[y + side * 4, x + 2 : x + 9] = True


def figure_eight(image: np.ndarray, y: int, x: int) -> None:
    """Draw two rings that share a voxel."""
    diamond(image, y - 5, x, 5)
    diamond(image, y + 4, x, 4)


def lollipop(image: np.ndarray, y: int, x: int) -> None:
    """Draw a ring on a stick of 6 voxels."""
    diamond(image, y, x, 4)
    image[y, x + 5 : x + 11] = True


def ring(image: np.ndarray, y: int, x: int) -> None:
    """Draw a ring of 20 voxels."""
    diamond(image, y, x, 5)


# What is drawn, and its components, cycles, end points, junctions and branches.
SHAPES = {
    "arms": (arms, (1, 0, 3, 1, 3)),
    "ring": (ring, (1, 1, 0, 0, 1)),
    "theta": (theta, (1, 2, 0, 2, 3)),
    "eight": (figure_eight, (1, 2, 0, 1, 2)),
    "lollipop": (lollipop, (1, 1, 1, 1, 2)),
}


def plane(name: str) -> np.ndarray:
    """Draw one shape in an image."""
    image = np.zeros((27, 29), bool)
    SHAPES[name][0](image, 12, 11)
    return image


def everything() -> np.ndarray:
    """Draw each shape in a separate plane, and an isolated voxel: 6 components, 6 cycles."""
    image = np.zeros((24, 27, 29), bool)
    for k, name in enumerate(SHAPES):
        image[4 * k + 1] = plane(name)
    image[22, 3, 4] = True
    return image


def oblique(shift: tuple[float, float, float] = (-31.0, 12.5, 40.0)) -> np.ndarray:
    """Return an affine that turns, stretches each axis otherwise, and shifts: index (z, y, x, 1) to mm."""
    a, b = 0.4, -0.7
    turned = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.array(
        [[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turned[:, ::-1] * (0.8, 0.31, 0.3)
    affine[:3, 3] = shift
    return affine


def frame(
    shape: tuple[int, ...],
    *,
    spacing: tuple[float, ...] | None = None,
    unit: str | None = "mm",
    affine: np.ndarray | None = None,
) -> Frame:
    """Return the frame of a volume with this geometry."""
    spacing = (0.5,) * len(shape) if spacing is None else spacing
    return Frame.of(
        Volume(np.zeros(shape, np.float32), "ZYX"[-len(shape) :], spacing, unit, affine),
    )


def graph_of(
    image: np.ndarray, where: Frame | None = None, quantities: tuple[str, ...] = ALL
) -> SkeletonGraph:
    """Trace and measure a drawing; each quantity differs from voxel to voxel by digits that text could lose."""
    ask = {
        name: (lambda voxels, k=k: 0.1 + k + np.sqrt(voxels @ np.arange(2.0, 2 + voxels.shape[1])) / 30)
        for k, name in enumerate(ALL)
        if name in quantities
    }
    return measure(trace(np.argwhere(image)), where or frame(image.shape), image.shape, ask)


def vessel_graph(seed: int, quantities: tuple[str, ...] = ALL) -> SkeletonGraph:
    """Return the graph of a drawn map with forks and cycles."""
    thin: Any = morphology.skeletonize
    skeleton = thin(vessels((40, 44, 48), seed, branches=9) > 0.5)
    return graph_of(skeleton, frame(skeleton.shape, affine=oblique()), quantities)
