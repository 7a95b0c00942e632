"""Applies a filter to a map: what it is applied to, whether that fits into memory, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import COMMAND, LABELS, Filter
from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import in_shell, named, take_a_part
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
    place: str = COMMAND,
) -> Done:
    """Apply a step to a map.

    Args:
        step: The step.
        volume: The map.
        name: What the map is called, for messages.
        progress: Called after every sub-iteration.
        memory: Bytes that this one of several workers may use; None for what the machine allows.
        place: Where the filter is typed: `COMMAND` or `CHAIN`.

    Raises:
        InputError: If the step does not fit the map, or not into memory; the sentence begins with the map's name.
    """
    settings = step.settings or Settings()
    try:
        prepared = step.prepare(volume)
        tiled = step.operation if step.takes_tiles else None
        check_memory(prepared, settings, memory, tiled=tiled)
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
        warnings=(*step.ineffective(), *step.concerns(volume, place), *result.warnings),
    )


def check_memory(volume: Volume, settings: Settings, memory: int | None, *, tiled: str | None = None) -> None:
    """Refuse what cannot fit, before the system kills the process without a word.

    Args:
        volume: The map.
        settings: How it is filtered.
        memory: Bytes that this one of several workers may use; None for what the machine allows.
        tiled: The command that does the same tile by tile, if one does.

    Raises:
        InputError: If it does not fit.
    """
    image = prod(volume.array.shape[-volume.spatial_dims :])

    def taken(settings: Settings) -> int:
        # The input, the result and the result as it is written; while one image runs, its working copies.
        return 3 * volume.array.nbytes + image * settings.bytes_per_voxel(volume.array.itemsize)

    needed, allowed = taken(settings), memory or machine.memory()
    if settings.device in ("auto", "cpu") and allowed is not None and needed > allowed:
        ways = [f"use fewer {named('workers')}"] if memory else []
        fewer = [
            n
            for n in (32, 16, 8)
            if settings.levels_in_force and taken(replace(settings, levels=n)) <= allowed
        ]
        if fewer:
            ways.append(f"add {named('levels', fewer[0])}")
        if tiled is not None:
            way = f"write a .zarr tile by tile with softmorph {tiled}"
            if in_shell():
                way = f"write a .zarr tile by tile with softmorph {tiled} and --memory {machine.for_tiles()}"
            ways.append(way)
        raise InputError(
            f"this map needs about {needed / 2**30:.1f} GiB, and {allowed / 2**30:.1f} GiB may be used: "
            f"{take_a_part()}{''.join(f', or {way}' for way in ways)}."
        )
