"""The way of every filtering command: check, read, filter, measure, write, tell."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import report
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.options import Computing, Reading, Writing
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Result, Settings
    from softmorph_cli.measure.statistics import Statistics
    from softmorph_cli.volume import Volume

Filter = Callable[["Volume", "Settings"], "Result"]


def settings_of(computing: Computing, method: str) -> Settings:
    """Return the settings that the options ask for.

    Raises:
        UsageError: If one is out of range.
    """
    from softmorph_cli.filters.settings import Settings

    return Settings(**{**asdict(computing), "method": method})


def read_volume(path: Path, reading: Reading) -> Volume:
    """Read IN as the options say."""
    from softmorph_cli.io import read

    chosen = asdict(reading)
    for name in ("channel", "channel_axis"):
        value = chosen[name]
        chosen[name] = int(value) if value is not None and value.lstrip("-").isdigit() else value
    return read(path, **chosen)


def run(
    operation: str,
    source: Path,
    target: Path,
    filter_volume: Filter,
    *,
    settings: Settings,
    parameters: Mapping[str, Any],
    reading: Reading,
    writing: Writing,
    mask: bool = False,
    prepare: Callable[[Volume], Volume] = lambda volume: volume,
    concerns: Callable[[Volume], list[str]] = lambda volume: [],
    remarks: Callable[[Statistics, Statistics], list[str]] = lambda before, after: [],
) -> None:
    """Run one filter on one file.

    Args:
        operation: The command's name.
        source: IN.
        target: OUT.
        filter_volume: The filter.
        settings: How it runs.
        parameters: What the JSON and the provenance say about it.
        reading: Options.
        writing: Options.
        mask: Whether the result is binary and is to be stored as 0 and 1.
        prepare: Changes the map before it is filtered (resampling).
        concerns: Gives warnings about the map that was read.
        remarks: Gives notes on the statistics before and after.

    Raises:
        SoftmorphError: If anything is refused or fails; no output is then half-written.
    """
    output_type = _output_type(writing, mask)
    _check_outputs(source, target, writing, settings, output_type)
    from softmorph_cli.io import check_target, write
    from softmorph_cli.measure.statistics import change, summarize

    started = time.perf_counter()
    original = read_volume(source, reading)
    check_target(target, output_type=output_type, force=writing.force, axes=original.axes)
    read_seconds = time.perf_counter() - started
    warnings = concerns(original)
    if not writing.quiet:
        for message in original.notes:
            note(message)

    started = time.perf_counter()
    volume = prepare(original)
    with reporting(quiet=writing.quiet) as progress:
        result = filter_volume(volume, replace(settings, progress=progress))
    filter_seconds = time.perf_counter() - started
    filtered = volume.with_array(result.image.astype(volume.array.dtype, copy=False))
    warnings += result.warnings
    before, after = (
        summarize(v.array, spacing=v.spacing, unit=v.unit, spatial_dims=v.spatial_dims)
        for v in (volume, filtered)
    )

    started = time.perf_counter()
    parameters = {name: value for name, value in parameters.items() if value is not None}
    method = "binary" if mask else settings.method
    provenance = {
        "command": f"softmorph {operation}",
        "version": __version__,
        "parameters": {"method": method, **parameters},
    }
    warnings += write(filtered, target, output_type=output_type, force=writing.force, provenance=provenance)
    if writing.standard_error is not None:
        error = volume.with_array(result.standard_error)
        warnings += write(error, writing.standard_error, force=writing.force, provenance=provenance)
    if writing.preview is not None:
        from softmorph_cli.pictures.preview import preview

        words = ", ".join(f"{name} {value}" for name, value in {"method": method, **parameters}.items())
        title = f"softmorph {operation} {source.name}"
        preview(volume, filtered, writing.preview, title=title, subtitle=words, force=writing.force)
    write_seconds = time.perf_counter() - started

    seconds = {"read": read_seconds, "filter": filter_seconds, "write": write_seconds}
    document = {
        **report.head(),
        "input": report.describe(original),
        "output": {
            "path": str(target),
            "shape": list(filtered.array.shape),
            "axes": filtered.axes,
            "spacing": list(filtered.spacing) if filtered.spacing else None,
            "unit": filtered.unit,
            "type": output_type or "default",
        },
        "steps": [
            {
                "operation": operation,
                "method": method,
                "parameters": parameters,
                "iterations": result.iterations,
                "stop_reason": result.stop_reason,
                "radius_reached": list(result.radius) if result.radius else None,
                "seconds": filter_seconds,
            }
        ],
        "before": before.as_dict(),
        "after": after.as_dict(),
        "change": change(volume.array, filtered.array),
        "device": settings.device,
        "seconds": seconds,
        "warnings": warnings,
    }
    if writing.stats is not None:
        report.save(document, writing.stats, force=writing.force)
    for message in warnings:
        warn(message)
    if not writing.quiet:
        for message in remarks(before, after):
            note(message)
        _tell(operation, target, method, result, [before, after], seconds, volume)
    if writing.json:
        typer.echo(report.as_json(document))


def _output_type(writing: Writing, mask: bool) -> str | None:
    allowed = (None, "float32", "float16", "uint8", "uint16")
    if writing.output_type not in allowed:
        raise UsageError(f"--output-type {writing.output_type}: use float32, float16, uint8 or uint16.")
    if mask:
        if writing.output_type not in (None, "uint8"):
            raise UsageError(f"a hard skeleton is written as uint8 0 and 1, not {writing.output_type}.")
        return "mask"
    return writing.output_type


def _check_outputs(
    source: Path, target: Path, writing: Writing, settings: Settings, output_type: str | None
) -> None:
    from softmorph_cli.files import check_writable
    from softmorph_cli.filters.method import find
    from softmorph_cli.io import check_target

    check_target(target, output_type=output_type, force=writing.force)
    if writing.standard_error is not None:
        if find(settings.method).name != "sampled":
            raise UsageError("--standard-error goes with --method sampled: other methods have none.")
        check_target(writing.standard_error, force=writing.force)
    if writing.preview is not None and writing.preview.suffix.lower() != ".png":
        raise UsageError(f"--preview {writing.preview}: a preview is a PNG; end its name with .png.")
    others = [path for path in (writing.stats, writing.preview, writing.standard_error) if path is not None]
    for path in others:
        check_writable(path, force=writing.force)
    outputs = [path.resolve() for path in (target, *others)]
    if len(set(outputs)) < len(outputs) or source.resolve() in outputs[1:]:
        raise UsageError(
            "two of the files named are the same: give IN, OUT and every other output its own path."
        )


def _tell(
    operation: str,
    target: Path,
    method: str,
    result: Result,
    statistics: list[Statistics],
    seconds: Mapping[str, float],
    volume: Volume,
) -> None:
    lines = report.rows(statistics)
    count = f"{result.iterations} iteration{'s' if result.iterations != 1 else ''}"
    told = [f"{method}, {count} ({report.STOPPED[result.stop_reason]})"]
    if result.radius is not None:
        reached = " × ".join(f"{r:g}" for r in result.radius)
        told.append(
            f"radius reached {reached} {volume.unit or 'voxels'} ({' × '.join(volume.spatial_axes.lower())})"
        )
    told.append(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
    report.table(f"{operation} → {target}", ("", "before", "after"), lines, err=True, footer="; ".join(told))
    sys.stderr.flush()
