"""Small folders of maps, and recipes, for tests of the batch's rooms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.batch.plan import Choice
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.run import Order
from softmorph_cli.pipeline.batch.task import Task
from softmorph_cli.pipeline.chain import filters

SIDE = 12


def recipe(*steps: str, **more: object) -> Recipe:
    return replace(Recipe(tuple(filters(steps or ("erode",), Settings())), Settings()), **more)


def folder(path: Path, *names: str) -> Path:
    """Make a folder of small maps as .npy; other names become empty files."""
    for number, name in enumerate(names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".npy"):
            np.save(file, np.random.default_rng(number).random((SIDE,) * 3, dtype=np.float32))
        else:
            file.touch()
    return path


def order(tmp_path: Path, *steps: str, **more: object) -> Order:
    choice = Choice(tmp_path / "in", tmp_path / "out")
    return Order(choice, recipe(*steps), **more)  # type: ignore[arg-type]


def task(source: Path, target: Path, made: Recipe | None = None) -> Task:
    return Task(source.name, source, target, made or recipe())
