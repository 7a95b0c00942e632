"""Small drawn subjects, and a prior that a few seconds of training give."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from softmorph_cli.completion import hearts
from softmorph_cli.completion.box import Grid
from softmorph_cli.completion.prior import FitSettings, Prior
from softmorph_cli.completion.training import Subject, TrainingOptions, train
from softmorph_cli.volume import Volume

SHAPES = ((8, 16, 16), (6, 20, 16), (10, 14, 18))
SIDE = 80.0
QUICK = TrainingOptions(steps=600, seed=3, layers=4, device="cpu", points=64)


def upright(spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return an affine whose array axes are z, y and x of the world."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    return affine


def volume_of(labels: npt.NDArray[np.uint8]) -> Volume:
    """Return the three classes of a drawn heart that fills a cube of 80 mm, which begins somewhere in the world."""
    spacing = tuple(SIDE / size for size in labels.shape)
    affine = upright(spacing)
    affine[:3, 3] = (7.0, -3.0, 11.0)
    channels = np.stack([labels == k for k in (1, 2, 3)]).astype(np.float32)
    return Volume(channels, "CZYX", spacing, "mm", affine, hearts.CLASSES)


def drawn(count: int, seed: int, shapes: tuple[tuple[int, int, int], ...] = SHAPES) -> list[Subject]:
    """Return drawn hearts as subjects, on grids of several sizes in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        image, labels = hearts.sample(hearts.draw_heart(rng), shapes[k % len(shapes)])
        found.append(Subject.of(f"heart {k}", volume_of(labels), image))
    return found


def disc(seed: int, size: int = 16) -> Subject:
    """Return a soft disc in 2D, without an image."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size)) - rng.uniform(0.4, 0.6, (2, 1, 1)) * size
    soft = 1 / (1 + np.exp(np.hypot(y, x) - rng.uniform(0.2, 0.35) * size))
    return Subject.of(f"disc {seed}", Volume(soft.astype(np.float32), "YX", (2.0, 2.0), "mm"))


@cache
def prior() -> Prior:
    """Return a prior of 16 small hearts, trained once for all tests of a process."""
    found = train(drawn(16, 0), QUICK)
    return replace(found, completion=FitSettings(60, 512, 3e-2), segmentation=FitSettings(50, 512, 2e-2))


def grid_of(shape: tuple[int, ...], spacing: tuple[float, ...], oriented: bool = True) -> Grid:
    """Return a grid along the axes of the world, whose first voxel lies at 0."""
    return Grid(shape, upright(spacing if len(spacing) == 3 else (1.0, *spacing)), oriented, "mm")
