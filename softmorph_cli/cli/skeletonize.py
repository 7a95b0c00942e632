"""softmorph skeletonize."""

from __future__ import annotations

from typing import Annotated

import typer

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Large, Output, Reading, Writing


@command
def skeletonize(
    source: Input,
    target: Output,
    *,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "-n",
            metavar="N",
            help="Exactly this many. (default: until nothing changes, or by less than --tolerance; cldice 10)",
            show_default=False,
        ),
    ] = None,
    hard: Annotated[
        bool,
        typer.Option(
            "--hard", help="Write the exact binary centreline of p > --threshold instead, as uint8 0 and 1."
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Probability above which --hard counts a voxel as foreground. (default: 0.5)",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A paper's settings: softmorph-2d, softmorph-3d or cldice.",
            show_default=False,
        ),
    ] = None,
    resample: Annotated[
        str | None,
        typer.Option(
            metavar="iso",
            help="iso: first interpolate to cubic voxels of the finest spacing; OUT is on that grid.",
            show_default=False,
        ),
    ] = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
    large: Large,
) -> None:
    """Soft skeleton: at each of its levels a centreline, one voxel wide.

    OUT > t has the components, loops and cavities of IN > t for t = 1/(2L), 1/L, 2/L, ... (L is --levels, 16), and
    holds the centrelines of the levels above. For the mask of a single centreline use --hard.
    """
    given = {
        "iterations": iterations,
        "hard": hard,
        "threshold": threshold,
        "preset": preset,
        "resample": resample,
    }
    filtering.run_one("skeletonize", given, source, target, reading, computing, writing, large)
