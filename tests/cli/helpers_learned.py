"""Drawn hearts in files, and how a small prior of them is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers_cli import refused, run, save

from softmorph_cli.completion import hearts

SHAPE = (8, 16, 16)
SPACING = (16.0, 3.0, 3.0)
QUICK = ("--steps", 250, "--width", 32, "--layers", 3, "--validate", 0.2)
# A training of a quarter of a second.
TINY = ("--steps", 40, "--width", 4, "--layers", 1, "--validate", 0)


def write_hearts(count: int, seed: int, *, folder: str = ".", images: bool = True) -> None:
    """Write label maps, and images from -200 to 800, into folders `maps` and `images`."""
    found, labels = hearts.cohort(count, seed, SHAPE)
    for name in ("maps", "images"):
        Path(folder, name).mkdir(parents=True)
    for k in range(count):
        save(Path(folder, "maps", f"case_{k}.nii.gz"), labels[k], SPACING)
        if images:
            numbers = (1000 * found[k] - 200).astype(np.int16)
            save(Path(folder, "images", f"case_{k}_0000.nii.gz"), numbers, SPACING)


def softened(count: int = 8, *, classes: int = 1, shape: tuple[int, ...] = (4, 6, 6)) -> None:
    """Write maps of blocks into the folder `maps`."""
    Path("maps").mkdir()
    for k in range(count):
        array = np.zeros((classes, *shape), np.float32)
        for one in range(classes):
            array[one, ..., 1:-1, 1 + 2 * one : 3 + 2 * one] = 0.5 + k / 20
        save(f"maps/{k}.nii.gz", array[0] if classes == 1 else array.astype(np.float32))


def advised(
    says: str, *command: object, without: tuple[object, ...] = (), more: tuple[object, ...] = ()
) -> None:
    """Run a command that is refused with an advice, and again as advised."""
    refused(*command, says=says)
    run(*(one for one in command if one not in without), *more)
