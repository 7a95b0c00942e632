"""Applies a filter to a map: what it is applied to, whether that fits into memory, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from softmorph_cli import machine
from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import LABELS, Filter
from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.volume import Volume


@dataclass(frozen=True)
class Done:
    """What a step made of a map.

    Attributes:
        volume: The result.
        prepared: The map it was applied to, after `prepare`.
        result: How it went.
        labels: The labels, where the step gives some; the volume then holds what is labelled, as 0 and 1.
        warnings: One sentence each.
    """

    volume: Volume
    prepared: Volume
    result: Result
    labels: Any = None
    warnings: tuple[str, ...] = ()


def perform(
    step: Filter,
    volume: Volume,
    *,
    name: str,
    progress: Callable[[Progress], None] | None = None,
    memory: int | None = None,
) -> Done:
    """Apply a step to a map.

    Args:
        step: The step.
        volume: The map.
        name: What the map is called, for messages.
        progress: Called after every sub-iteration.
        memory: Bytes that this one of several workers may use; None for what the machine allows.

    Raises:
        InputError: If the step does not fit the map, or not into memory; the sentence begins with the map's name.
    """
    settings = step.settings or Settings()
    try:
        prepared = step.prepare(volume)
        check_memory(prepared, settings, memory)
        result = step.run(prepared, progress)
    except InputError as error:
        # What a filter finds wrong with the numbers is wrong with this file.
        raise InputError(f"{name}: {error}") from error
    image = result.image
    labels = image if step.gives == LABELS else None
    if labels is not None:
        image = labels > 0
    return Done(
        volume=prepared.with_array(image.astype(prepared.array.dtype, copy=False)),
        prepared=prepared,
        result=result,
        labels=labels,
        warnings=(*step.ineffective(), *step.concerns(volume), *result.warnings),
    )


def check_memory(volume: Volume, settings: Settings, memory: int | None) -> None:
    """Refuse what cannot fit, before the system kills the process without a word.

    Args:
        volume: The map.
        settings: How it is filtered.
        memory: Bytes that this one of several workers may use; None for what the machine allows.

    Raises:
        InputError: If it does not fit.
    """
    image = prod(volume.array.shape[-volume.spatial_dims :])
    # The input, the result and the result as it is written; while one image runs, its working copies.
    needed = 3 * volume.array.nbytes + image * settings.bytes_per_voxel(volume.array.itemsize)
    allowed = memory or machine.memory()
    if settings.device in ("auto", "cpu") and allowed is not None and needed > allowed:
        raise InputError(
            f"this map needs about {needed / 2**30:.1f} GiB, and {allowed / 2**30:.1f} GiB may be used: "
            f"{'use fewer --workers, ' if memory else ''}cut out a part with --region, use fewer --levels (8, 16 or "
            "32), or write a .zarr with --memory 4GB."
        )
