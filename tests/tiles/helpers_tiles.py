"""Runs a filter in tiles and as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from softmorph_cli.filters.custom import apply
from softmorph_cli.filters.morphology import operate
from softmorph_cli.filters.settings import Result
from softmorph_cli.filters.skeleton import thinning
from softmorph_cli.tiles import ArraySource, ArrayTarget, Plan, Spec, filter_tiles
from softmorph_cli.tiles.spec import task


@dataclass
class Tiled:
    """What came of a run in tiles."""

    image: np.ndarray
    error: np.ndarray
    result: Result
    progress: list[Any] = field(default_factory=list)


def whole(spec: Spec, image: np.ndarray) -> Result:
    """Return the public filters' result."""
    if spec.operation == "skeletonize":
        return thinning(
            image, spec.settings, iterations=spec.iterations, hard=spec.hard, threshold=spec.threshold
        )
    if spec.operation == "apply":
        assert spec.rule is not None
        return apply(spec.rule, image, spec.settings, iterations=spec.iterations)
    return operate(spec.operation, image, spec.element, spec.settings)


def cut_by_hand(spec: Spec, shape: tuple[int, ...], tile: tuple[int, ...], length: int | None) -> Plan:
    """Return a plan with these tiles; `length` iterations a pass, or every tile at once."""
    work = task(spec, shape)
    halo = work.halo if length is None else tuple(length * reach for reach in work.reach)
    assert halo is not None
    return Plan(shape, tile, halo, 0, length, 0, 0, 0.0)


def tiled(
    spec: Spec, image: np.ndarray, tile: tuple[int, ...], length: int | None = None, **more: Any
) -> Tiled:
    """Run a filter in tiles of a given size."""
    kind = np.uint8 if spec.hard else image.dtype
    made = Tiled(np.full(image.shape, 77, kind), np.full(image.shape, 77, image.dtype), Result(None))
    made.result = filter_tiles(
        ArraySource(image),
        ArrayTarget(made.image),
        spec,
        plan=cut_by_hand(spec, image.shape, tile, length),
        progress=made.progress.append,
        error_target=ArrayTarget(made.error),
        **more,
    )
    return made
