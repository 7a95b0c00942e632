"""softmorph apply."""

from __future__ import annotations

from typing import Annotated

import typer

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Large, Output, Reading, Writing


@command
def apply(
    rule: Annotated[
        str,
        typer.Argument(
            metavar="RULE", help="A bundled rule (see softmorph rules) or a TOML file.", show_default=False
        ),
    ],
    source: Input,
    target: Output,
    *,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "-n",
            metavar="N",
            help="How many. (default: as the rule says)",
            show_default=False,
        ),
    ] = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
    large: Large,
) -> None:
    """Run any Boolean rule as a soft filter: a bundled one by name, or your own file.

    If more foreground never gives less (majority), every threshold of OUT is exactly the binary rule on that threshold
    of IN. A thinning whose level sets can be kept nested has method nested. Of any other rule OUT is the mean over 64
    level sets.
    """
    given = {"rule": rule, "iterations": iterations}
    filtering.run_one("apply", given, source, target, reading, computing, writing, large)
