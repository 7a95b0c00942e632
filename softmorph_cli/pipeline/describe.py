"""What is told of steps: in the JSON, in a file's provenance, under a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from softmorph_cli import __version__
from softmorph_cli.filters.filter import Filter
from softmorph_cli.pipeline.perform import Done
from softmorph_cli.volume import Volume

_DEFAULT_TYPES: Final = {".png": "uint16"}
# What a picture of a result depends on beside its method.
_DRAWN: Final = ("levels", "lowest", "prune_contrast", "smooth_levels")


def step(step: Filter, made: Done, seconds: float) -> dict[str, Any]:
    """Return what the JSON says of a step."""
    result, chosen = made.result, step.in_force
    if "finish" in chosen and result.finished is not None:
        # Stopped by the cap there is no finishing, whatever was asked for.
        chosen["finish"] = result.finished
    unit = (step.radius_unit or made.prepared.unit or "voxels") if result.radius else None
    return {
        "operation": step.operation,
        "method": step.method_in_force,
        "parameters": chosen,
        "iterations": result.iterations,
        "stop_reason": result.stop_reason,
        "radius_reached": list(result.radius) if result.radius else None,
        "radius_unit": unit,
        "seconds": seconds,
    }


def which(volume: Volume, time: int | None) -> str:
    """Return which of several images was read, as it follows a file's name in a title: ", vein, time 1".

    Args:
        volume: The map as it was read.
        time: Which of its times was asked for, or None.
    """
    words = (volume.source.channel if volume.source else None, None if time is None else f"time {time}")
    return "".join(f", {word}" for word in words if word)


def provenance(
    command: str, reports: Sequence[Mapping[str, Any]], read_with: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a file says of how it was made; of a chain each step's operation, method and parameters."""
    told = [
        {
            "operation": report["operation"],
            **({"method": report["method"]} if report["method"] else {}),
            **report["parameters"],
        }
        for report in reports
    ]
    parameters = {"steps": told}
    if command == told[0]["operation"]:
        # The command says it already.
        parameters = {name: value for name, value in told[0].items() if name != "operation"}
    return {
        "command": f"softmorph {command}",
        "version": __version__,
        "parameters": {**parameters, **read_with},
    }


def over_input(source: Path, target: Path) -> list[str]:
    """Return a note where a result takes the place of the map that was read."""
    same = target.exists() and target.resolve() == source.resolve()  # another name of a file stays
    return [f"{target} is IN as well: the map that is read is replaced by its result."] if same else []


def words(steps: Sequence[Filter]) -> str:
    """Return what stands under a picture."""
    if len(steps) > 1:
        return " \u2192 ".join(one.operation for one in steps)
    only = steps[0]
    method = {"method": only.method_in_force} if only.method_in_force not in (None, "binary") else {}
    settings = {name: value for name, value in only.in_force.items() if name in _DRAWN}
    chosen = {name: value for name, value in only.parameters.items() if value is not None}
    return ", ".join(
        name.replace("_", "-") if value is True else f"{name.replace('_', '-')} {value}"
        for name, value in {**method, **settings, **chosen}.items()
    )


def output(target: Path, volume: Volume, stored: str | None) -> dict[str, Any]:
    """Return the JSON's `output`."""
    default = str(volume.array.dtype) if target.suffix.lower() == ".npy" else default_type(target)
    return {
        "path": str(target),
        "shape": list(volume.array.shape),
        "axes": volume.axes,
        "spacing": list(volume.spacing) if volume.spacing else None,
        "unit": volume.unit,
        "dtype": {"mask": "uint8", "labels": "labels"}.get(stored or "", stored or default),
    }


def default_type(target: Path) -> str:
    """Return the type that probabilities are stored as where none is chosen; .npy keeps that of the map."""
    return _DEFAULT_TYPES.get(target.suffix.lower(), "float32")
