"""Descriptions of steps and files for the JSON document, the provenance in a file, and the title of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli import __version__
from softmorph_cli.completion.slices import prose
from softmorph_cli.filters.filter import Filter
from softmorph_cli.filters.settings import Result
from softmorph_cli.io.documents import timed
from softmorph_cli.pipeline.result_files import default_type
from softmorph_cli.pipeline.steps.measuring import Measured, Measuring
from softmorph_cli.system.units import COUNTED
from softmorph_cli.volume import Source, Volume

if TYPE_CHECKING:
    from softmorph_cli.tiled import TilePlan

# Settings that are named under a picture of a result, beside the method.
_DRAWN: Final = ("levels", "lowest", "prune_contrast", "smooth_levels")


def step(step: Filter, result: Result, unit: str | None, seconds: float) -> dict[str, Any]:
    """Return the entry of a step in the JSON document.

    Args:
        step: The filter.
        result: The result of the filter.
        unit: The unit of the map's voxel size; None if it is unknown.
        seconds: The run time of the filter.
    """
    chosen = step.in_force
    if "finish" in chosen and result.finished is not None:
        # A skeletonization that the cap has ended is not finished, whatever was asked for.
        chosen["finish"] = result.finished
    if result.completed is not None:
        chosen |= result.completed.resolved
    return {
        "operation": step.operation,
        "method": step.method_in_force,
        "parameters": chosen,
        "iterations": result.iterations,
        "stop_reason": result.stop_reason,
        "radius_reached": list(result.radius) if result.radius else None,
        "radius_unit": _radius_unit(step, unit, len(result.radius)) if result.radius else None,
        "seconds": timed({"filter": seconds}),
        **({} if result.completed is None else {"interpolation": result.completed.document}),
        **(result.document or {}),
    }


def measured(step: Measuring, found: Measured, seconds: float) -> dict[str, Any]:
    """Return the entry of a step that measures in the JSON document."""
    return {
        "operation": step.operation,
        "method": None,
        "parameters": step.in_force,
        "iterations": None,
        "stop_reason": None,
        "radius_reached": None,
        "radius_unit": None,
        "seconds": timed({"measure": seconds}),
        "measured": dict(found.document),
    }


def plan(chosen: TilePlan) -> dict[str, Any]:
    """Return the entry `tiles` of a JSON document: how a map larger than memory is cut."""
    names = {"seconds": "estimated_seconds", "tiles": "count"}
    return {names.get(name, name): value for name, value in asdict(chosen).items()}


def _radius_unit(step: Filter, unit: str | None, dims: int) -> str:
    """Return the unit of the radius that was reached: that of the map, or what a radius in voxels is counted in."""
    return COUNTED[dims] if step.radius_unit is not None or unit is None else unit


def which(volume: Volume, time: int | None) -> str:
    """Return text such as ", vein, time 1" (channel and chosen time index of a map), to append to a name in a title."""
    words = (volume.source.channel if volume.source else None, None if time is None else f"time {time}")
    return "".join(f", {word}" for word in words if word)


def provenance(
    command: str, reports: Sequence[Mapping[str, Any]], read_with: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the provenance of a result: the command, the version, and the parameters of the command or of each step.

    Args:
        command: Name of the command, such as "skeletonize" or "chain".
        reports: The entries of the steps in the JSON document.
        read_with: The options that the input was read with, which are added to the parameters.
    """
    steps = [
        {
            "operation": report["operation"],
            **({"method": report["method"]} if report["method"] else {}),
            **report["parameters"],
        }
        for report in reports
    ]
    parameters = {"steps": steps}
    if command == steps[0]["operation"]:
        # The command is the operation.
        parameters = {name: value for name, value in steps[0].items() if name != "operation"}
    return {
        "command": f"softmorph {command}",
        "version": __version__,
        "parameters": {**parameters, **read_with},
    }


def over_input(source: Path, target: Path, origin: Source | None) -> list[str]:
    """Return a note if the result replaces the map that is read; another hard link of that file remains.

    Args:
        source: The file that is read.
        target: The file that is written.
        origin: What was read; its provenance says whether the map is a result already.
    """
    if not target.exists() or target.resolve() != source.resolve():
        return []
    command = (origin.provenance if origin else {}).get("command")
    again = f" It is a result already, of {command}, and is filtered once more." if command else ""
    return [f"{target} is IN as well: the map that is read is replaced by its result.{again}"]


def words(steps: Sequence[Filter], missing: Sequence[int] = ()) -> str:
    """Return the line under a picture: the method and the parameters, or the names of several steps.

    Args:
        steps: The filters.
        missing: The slices that were missing, of a single filter that filled them.
    """
    if len(steps) > 1:
        return " \u2192 ".join(one.operation for one in steps)
    only = steps[0]
    method = {"method": only.method_in_force} if only.method_in_force not in (None, "binary") else {}
    settings = {name: value for name, value in only.in_force.items() if name in _DRAWN}
    chosen = {name: value for name, value in only.parameters.items() if value is not None}
    if missing:
        chosen["missing"] = prose(missing)
    return ", ".join(
        name.replace("_", "-") if value is True else f"{name.replace('_', '-')} {value}"
        for name, value in {**method, **settings, **chosen}.items()
    )


def output(target: Path, volume: Volume, stored: str | None) -> dict[str, Any]:
    """Return the entry `output` of the JSON document, which describes the result file.

    Args:
        target: The path of the result.
        volume: A map with the shape and geometry of the result.
        stored: The type that the result is stored as, such as "mask" or "uint8"; None for the default of the format.
    """
    default = str(volume.array.dtype) if target.suffix.lower() == ".npy" else default_type(target)
    return {
        "path": str(target),
        "shape": list(volume.array.shape),
        "axes": volume.axes,
        "spacing": list(volume.spacing) if volume.spacing else None,
        "unit": volume.unit,
        "dtype": {"mask": "uint8", "labels": "labels"}.get(stored or "", stored or default),
    }
