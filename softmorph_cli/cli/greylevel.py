"""softmorph fill, despeckle, threshold, resample."""

from __future__ import annotations

from typing import Annotated

import typer

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Output, Reading, Writing

MinSize = typer.Option(
    "--min-size",
    metavar="SIZE",
    help="A volume with its unit, such as 50um3 or 0.2mm3; in 2D an area, such as 20um2; or 30vox.",
    show_default=False,
)


@command
def fill(source: Input, target: Output, *, reading: Reading, writing: Writing) -> None:
    """Fill holes, exactly at every threshold: what is darker than every way to the border rises.

    In 2D these are the holes of rings, in 3D the cavities; the background is 4- or 6-connected.
    """
    filtering.run_one("fill", {}, source, target, reading, Computing(), writing)


@command
def despeckle(
    source: Input,
    target: Output,
    *,
    min_size: Annotated[str, MinSize],
    reading: Reading,
    writing: Writing,
) -> None:
    """Take specks away, exactly at every threshold: 8- or 26-connected components smaller than a size."""
    filtering.run_one("despeckle", {"min_size": min_size}, source, target, reading, Computing(), writing)


@command
def threshold(
    source: Input,
    target: Output,
    *,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="P", help="A voxel above it is foreground.")
    ] = 0.5,
    largest: Annotated[
        int | None,
        typer.Option(
            "--largest",
            metavar="N",
            help="Keep the N largest components. (default: all)",
            show_default=False,
        ),
    ] = None,
    min_size: Annotated[str | None, MinSize] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Write each component's number, the largest first, not 0 and 1.")
    ] = False,
    reading: Reading,
    writing: Writing,
) -> None:
    """Binarize a map, keep its largest components, number them; 8- or 26-connected."""
    given = {"threshold": threshold, "largest": largest, "min_size": min_size, "labels": labels}
    filtering.run_one("threshold", given, source, target, reading, Computing(), writing)


@command
def resample(
    source: Input,
    target: Output,
    *,
    spacing: Annotated[
        str,
        typer.Option(
            "--spacing",
            metavar="iso|LENGTH[,...]",
            help="iso: cubic voxels of the finest spacing; a length such as 0.5mm; or one for each axis, z first.",
        ),
    ] = "iso",
    reading: Reading,
    writing: Writing,
) -> None:
    """Interpolate a map to another voxel size, sheared voxels to rectangular ones; coarser voxels are means."""
    filtering.run_one("resample", {"spacing": spacing}, source, target, reading, Computing(), writing)
