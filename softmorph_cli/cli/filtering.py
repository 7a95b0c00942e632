"""The way of every filtering command: check, read, filter, measure, write, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import report
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.options import Computing, Reading, Writing
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Result, Settings
    from softmorph_cli.measure.statistics import Statistics
    from softmorph_cli.volume import Volume

# Thinning takes voxels off one by one, so it follows the grid, not the world.
UNEVEN = 1.5

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
    until_stable: bool = False,
    radius_unit: str | None = None,
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
        until_stable: Whether the filter stops by itself.
        radius_unit: Unit of the radius reached; None for that of the map.
        prepare: Changes the map before it is filtered (resampling).
        concerns: Gives warnings about the map that was read.
        remarks: Gives notes on the statistics before and after.

    Raises:
        SoftmorphError: If anything is refused or fails; no output is then half-written.
    """
    output_type = _output_type(writing, mask)
    _check_outputs(source, target, reading, writing, settings, output_type)
    from softmorph_cli.io import check_target, write
    from softmorph_cli.measure.statistics import change, summarize

    started = time.perf_counter()
    original = read_volume(source, reading)
    for path, kind in ((target, output_type), (writing.standard_error, None)):
        if path is not None:
            check_target(path, output_type=kind, force=writing.force, axes=original.axes)
    read_seconds = time.perf_counter() - started
    if not writing.quiet:
        for message in original.notes:
            note(message)

    started = time.perf_counter()
    volume = prepare(original)
    _check_memory(volume, settings)
    with reporting(quiet=writing.quiet) as progress:
        try:
            result = filter_volume(volume, replace(settings, progress=progress))
        except InputError as error:
            # What a filter finds wrong with the numbers is wrong with this file.
            raise InputError(f"{source}: {error}") from error
    filter_seconds = time.perf_counter() - started
    filtered = volume.with_array(result.image.astype(volume.array.dtype, copy=False))
    before, after = (
        summarize(v.array, spacing=v.spacing, unit=v.unit, spatial_dims=v.spatial_dims)
        for v in (original, filtered)
    )

    started = time.perf_counter()
    method = "binary" if mask else settings.method
    chosen = {name: value for name, value in parameters.items() if value is not None}
    in_force = chosen if mask else {**chosen, **settings.relevant(until_stable=until_stable)}
    read_with = given(reading)
    provenance = {
        "command": f"softmorph {operation}",
        "version": __version__,
        "parameters": {"method": method, **in_force, **read_with},
    }
    idle = settings.idle(until_stable=until_stable)
    if mask and settings.levels != type(settings).levels:
        idle.append("levels")
    what = "--hard" if mask else f"method {method}"
    warnings = [f"--{name.replace('_', '-')} has no effect with {what}." for name in idle]
    warnings += [*concerns(original), *result.warnings]
    if filtered.spacing != original.spacing:
        warnings.append(
            "the result is on a finer grid: its standard deviation takes interpolated voxels as independent "
            "and is too small, and its voxel counts are of the new grid."
        )
    warnings += write(filtered, target, output_type=output_type, force=writing.force, provenance=provenance)
    if writing.standard_error is not None:
        errors = volume.with_array(result.standard_error)
        warnings += write(errors, writing.standard_error, force=writing.force, provenance=provenance)
    if writing.preview is not None:
        from softmorph_cli.pictures.preview import preview

        shown = {} if mask else {"method": method}
        words = ", ".join(n if value is True else f"{n} {value}" for n, value in {**shown, **chosen}.items())
        title = f"softmorph {operation} {source.name}"
        preview(volume, filtered, writing.preview, title=title, subtitle=words, force=writing.force)
    write_seconds = time.perf_counter() - started

    unit = (radius_unit or volume.unit or "voxels") if result.radius else None
    seconds = {"read": read_seconds, "filter": filter_seconds, "write": write_seconds}
    document = {
        **report.head(),
        "input": report.describe(original) | {"read_with": read_with},
        "output": {
            "path": str(target),
            "shape": list(filtered.array.shape),
            "axes": filtered.axes,
            "spacing": list(filtered.spacing) if filtered.spacing else None,
            "unit": filtered.unit,
            "dtype": _stored_type(target, output_type, filtered),
        },
        "steps": [
            {
                "operation": operation,
                "method": method,
                "parameters": in_force,
                "iterations": result.iterations,
                "stop_reason": result.stop_reason,
                "radius_reached": list(result.radius) if result.radius else None,
                "radius_unit": unit,
                "seconds": filter_seconds,
            }
        ],
        "before": before.as_dict(),
        "after": after.as_dict(),
        "change": change(volume.array, filtered.array),
        "device": result.device,
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
        footer = [_how_it_ran(method, result), *_reached(result, unit, volume)]
        footer.append(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
        columns = ("", "before", "after")
        rows = report.rows([before, after])
        report.table(f"{operation} → {target}", columns, rows, err=True, footer="; ".join(footer))
    if writing.verbose:
        _tell_more(settings, result, in_force)
    if writing.json:
        typer.echo(report.as_json(document))


def _tell_more(settings: Settings, result: Result, in_force: Mapping[str, Any]) -> None:
    from softmorph_cli import cache, machine

    threads = settings.threads or machine.threads()
    note(f"ran on {result.device} with {threads} threads; kernels are kept in {cache.root()}.")
    note(f"in force: {', '.join(f'{name} {value}' for name, value in in_force.items()) or 'defaults'}.")


def _how_it_ran(method: str, result: Result) -> str:
    count = f"{result.iterations} iteration{'s' if result.iterations != 1 else ''}"
    return f"{method}, {count} ({report.STOPPED[result.stop_reason]})"


def _reached(result: Result, unit: str | None, volume: Volume) -> list[str]:
    if result.radius is None:
        return []
    reached = " × ".join(f"{r:g}" for r in result.radius)
    return [f"radius reached {reached} {unit} ({' × '.join(volume.spatial_axes.lower())})"]


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
    source: Path,
    target: Path,
    reading: Reading,
    writing: Writing,
    settings: Settings,
    output_type: str | None,
) -> None:
    from softmorph_cli.filters.method import find
    from softmorph_cli.io import check_target

    check_target(target, output_type=output_type, force=writing.force)
    if writing.standard_error is not None:
        if find(settings.method).name != "sampled":
            raise UsageError("--standard-error goes with --method sampled: other methods have none.")
        check_target(writing.standard_error, force=writing.force)
    others = [path for path in (writing.stats, writing.preview, writing.standard_error) if path is not None]
    check_side_outputs(source, reading.mask, others, writing.preview, force=writing.force, target=target)


def check_side_outputs(
    source: Path,
    mask: Path | None,
    outputs: Sequence[Path],
    preview: Path | None,
    *,
    force: bool,
    target: Path | None = None,
) -> None:
    """Refuse, before anything is computed, outputs that cannot be written or that are in use.

    Args:
        source: IN.
        mask: The mask that is read, if any.
        outputs: What is written beside OUT; `preview` is among them.
        preview: The picture, if one is wanted.
        force: Whether existing files may be replaced.
        target: OUT, if there is one; it alone may take the place of IN.

    Raises:
        FileError: If one cannot or may not be written.
        UsageError: If the preview is no PNG, or a file is named twice.
    """
    from softmorph_cli.files import check_writable

    if preview is not None and preview.suffix.lower() != ".png":
        raise UsageError(f"--preview {preview}: a preview is a PNG; end its name with .png.")
    for path in outputs:
        check_writable(path, force=force)
    used = [path for path in (source, mask) if path is not None]
    for path in outputs if target is None else (target, *outputs):
        taken = [other for other in used if other.resolve() == path.resolve()]
        if taken and not (path == target and taken == [source]):
            raise UsageError(f"{path} is named twice: give every input and output its own path.")
        used.append(path)


def _check_memory(volume: Volume, settings: Settings) -> None:
    """Refuse what cannot fit, before the system kills the process without a word."""
    from math import prod

    from softmorph_cli import machine

    image = prod(volume.array.shape[-volume.spatial_dims :])
    # The input, the result and the result as it is written; while one image runs, its working copies.
    needed = 3 * volume.array.nbytes + image * settings.bytes_per_voxel(volume.array.itemsize)
    allowed = machine.memory()
    if settings.device in ("auto", "cpu") and allowed is not None and needed > allowed:
        raise InputError(
            f"this map needs about {needed / 2**30:.1f} GiB, and {allowed / 2**30:.1f} GiB may be used: "
            "cut out a part with --region, or use fewer --levels (8, 16 or 32)."
        )


def uneven(volume: Volume) -> list[str]:
    """Warn of a map whose voxels are far from cubic, before it is thinned."""
    if volume.spacing is None or max(volume.spacing) <= UNEVEN * min(volume.spacing):
        return []
    sizes = " × ".join(f"{size:g}" for size in volume.spacing)
    return [
        f"voxels are {sizes} {volume.unit or ''}".rstrip()
        + ": thinning counts voxels, not lengths; add --resample iso to make them cubic first."
    ]


def given(reading: Reading) -> dict[str, Any]:
    """Return the reading options that were used, for the JSON."""
    chosen = {n: value for n, value in asdict(reading).items() if value is not None and value is not False}
    return {name: str(value) if isinstance(value, Path) else value for name, value in chosen.items()}


def _stored_type(target: Path, output_type: str | None, volume: Volume) -> str:
    if output_type == "mask":
        return "uint8"
    default = {".png": "uint16", ".npy": str(volume.array.dtype)}
    return output_type or default.get(target.suffix.lower(), "float32")
