"""softmorph apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Output, Reading, Writing
from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Result, Settings
    from softmorph_cli.volume import Volume


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
) -> None:
    """Run any Boolean rule as a soft filter: a bundled one by name, or your own file."""
    from softmorph_cli.filters.custom import check_rule

    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1 is needed.")
    settings = filtering.settings_of(computing, computing.method or "multilinear")
    check_rule(rule)  # a wrong name or a malformed file is reported before the map is read

    def filter_volume(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.custom import apply as apply_to

        return apply_to(rule, volume.array, settings, iterations=iterations, spatial_dims=volume.spatial_dims)

    filtering.run(
        "apply",
        source,
        target,
        filter_volume,
        settings=settings,
        parameters={"rule": rule, "iterations": iterations},
        until_stable=iterations is None,
        reading=reading,
        writing=writing,
    )
