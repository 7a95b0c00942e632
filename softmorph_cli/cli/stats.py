"""softmorph stats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softmorph_cli.cli import filtering, report
from softmorph_cli.cli.command import command, note
from softmorph_cli.cli.options import Input, Reading


@command
def stats(
    source: Input,
    *,
    reading: Reading,
    stats: Annotated[
        Path | None,
        typer.Option("--stats", metavar="PATH.json", help="Write them as JSON too.", show_default=False),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", metavar="PATH.png", help="Draw the map.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace files that exist.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
) -> None:
    """Statistics of a probability map: expected volume, components, certainty. Nothing is filtered."""
    outputs = [path for path in (stats, preview) if path is not None]
    filtering.check_side_outputs(source, reading.mask, outputs, preview, force=force)
    from softmorph_cli.measure.statistics import summarize

    volume = filtering.read_volume(source, reading)
    for message in volume.notes:
        note(message)
    found = summarize(
        volume.array, spacing=volume.spacing, unit=volume.unit, spatial_dims=volume.spatial_dims
    )
    document = {**report.head(), "input": report.describe(volume), "statistics": found.as_dict()}
    if preview is not None:
        from softmorph_cli.pictures.preview import preview as draw

        draw(volume, None, preview, title=f"softmorph stats {source.name}", force=force)
    if stats is not None:
        report.save(document, stats, force=force)
    if json:
        typer.echo(report.as_json(document))
        return
    parts = found.per_channel
    columns = [_part_name(volume.mapped_axes, volume.channels, part.index) for part in parts]
    shown = [found, *parts]
    size = " × ".join(map(str, volume.array.shape))
    lines = [
        *report.rows(shown),
        ["mean", *(f"{s.mean:.4g}" for s in shown)],
        ["smallest value", *(f"{s.min:.4g}" for s in shown)],
        ["entropy (bits)", *(report.number(s.entropy_bits) for s in shown)],
        ["voxels in all", *(f"{sum(s.histogram.counts):,}" for s in shown)],
    ]
    spacing = " × ".join(f"{s:g}" for s in volume.spacing) if volume.spacing else "unknown"
    footer = f"{size} ({volume.axes}), voxel size {spacing} {volume.unit or ''}".rstrip()
    report.table(str(source), ("", "whole map", *columns), lines, err=False, footer=footer)


def _part_name(axes: str, channels: tuple[str, ...] | None, index: tuple[int, ...]) -> str:
    names = []
    for axis, number in zip(axes, index, strict=True):
        named = axis == "C" and channels is not None
        names.append(channels[number] if named and channels else f"{axis}{number}")
    return " ".join(names)
