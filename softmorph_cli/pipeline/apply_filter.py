"""`perform` applies a filter to a map, if memory is enough for this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import COMMAND, LABELS, Filter
from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.io.reading import read_grid
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import in_shell, named, take_a_part
from softmorph_cli.volume import Volume


def perform(
    step: Filter,
    volume: Volume,
    *,
    name: str,
    progress: Callable[[Progress], None] | None = None,
    memory: int | None = None,
    place: str = COMMAND,
) -> tuple[Volume, Volume, Result]:
    """Apply a filter to a map, if memory is enough for this.

    Args:
        step: The filter.
        volume: The map.
        name: The map's name in messages, such as the path of the file.
        progress: A callback that is called after every sub-iteration.
        memory: Bytes of memory that may be used, if this process is one of several workers; None for what the machine
            allows.
        place: Where the user typed the filter, for warnings: as a command (`COMMAND`) or in a chain (`CHAIN`).

    Returns:
        The filtered map (where the filter returns labels: 1 for voxels with a label, else 0); the map that
        `Filter.prepare` returned and the filter was applied to; and the filter's result, whose warnings include
        warnings about the map.

    Raises:
        InputError: If the filter does not fit the map, or the map does not fit into memory; the message begins with
            `name`.
    """
    settings = step.settings or Settings()
    try:
        step = step.opened(read_grid)
        prepared = step.prepare(volume)
        tiled = step.operation if step.takes_tiles else None
        check_memory(prepared, settings, memory, tiled=tiled)
        result = step.run(prepared, progress)
    except InputError as error:
        # A filter does not know which file its image is from.
        raise InputError(f"{name}: {error}") from error
    if result.completed is not None:
        return result.completed.volume, prepared, result
    image = result.image > 0 if step.gives == LABELS else result.image
    warnings = (*step.ineffective(), *step.concerns(volume, place), *result.warnings)
    filtered = prepared.with_array(image.astype(prepared.array.dtype, copy=False))
    return filtered, prepared, replace(result, warnings=warnings)


def check_memory(volume: Volume, settings: Settings, memory: int | None, *, tiled: str | None = None) -> None:
    """Raise an error if a map with its filter needs too much memory, before the system would kill the process.

    Args:
        volume: The map.
        settings: The settings of the filter, which determine the bytes per voxel.
        memory: Bytes of memory that may be used, if this process is one of several workers; None for what the machine
            allows.
        tiled: The softmorph command that applies this filter tile by tile; None if the filter cannot run on tiles.

    Raises:
        InputError: If filtering the map needs more memory than may be used.
    """
    image = prod(volume.array.shape[-volume.spatial_dims :])

    def bytes_needed(settings: Settings) -> int:
        # The input, the result, the result as it is written; and the working copies of one image.
        return 3 * volume.array.nbytes + image * settings.bytes_per_voxel(volume.array.itemsize)

    needed, allowed = bytes_needed(settings), memory or machine.memory()
    if settings.device in ("auto", "cpu") and allowed is not None and needed > allowed:
        ways = [f"use fewer {named('workers')}"] if memory else []
        fewer = [
            n
            for n in (32, 16, 8)
            if settings.levels_in_force and bytes_needed(replace(settings, levels=n)) <= allowed
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
