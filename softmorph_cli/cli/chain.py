"""softmorph chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli.cli import filtering, shell_completion
from softmorph_cli.cli.options import Chaining, Input, Output
from softmorph_cli.errors import UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.system.parameters import Parameter

if TYPE_CHECKING:
    from softmorph_cli.filters.filter import Filter

Steps = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STEP...",
        help="Operations in order, as name:key=value,key=value: close:iterations=2,connectivity=26 skeletonize:hard. "
        "Keys are the long options of the command of that name.",
        show_default=False,
        autocompletion=shell_completion.step,
    ),
]
Pipeline = Annotated[
    Path | None,
    Parameter(
        'TOML file with the steps: tables [[step]] with operation = "close", iterations = 2.',
        "FILE.toml",
        first=True,
    ),
]


def chain(
    source: Input,
    target: Output,
    steps: Steps = None,
    *,
    pipeline: Pipeline = None,
    save_steps: Annotated[
        Path | None,
        Parameter(
            "Folder for the result of every step, 01-close.nii.gz, 02-...; created if missing.",
            "DIR",
            first=True,
        ),
    ] = None,
    reading: ReadOptions,
    settings: Settings,
    writing: Chaining,
) -> None:
    """Run several steps in memory: one read, one write, statistics of every step.

    Steps inspect and stats measure the map between two steps: inspect:csv=branches.csv, stats:csv=stats.csv. A step
    repair or simplify takes the options of softmorph topology repair or simplify.
    """
    from softmorph_cli.pipeline.chain import check

    chosen = chosen_steps(steps, pipeline, settings)
    check(chosen)
    filtering.run("chain", chosen, source, target, reading, writing, stages=save_steps)


def chosen_steps(steps: list[str] | None, pipeline: Path | None, settings: Settings) -> list[Filter]:
    """Return the steps that were typed, or those of a file; `settings` are for those that have none of their own."""
    from softmorph_cli.pipeline import chain

    if pipeline is None:
        return chain.filters(steps or [], settings)
    if steps:
        raise UsageError("give the steps, or --pipeline FILE.toml, not both.")
    return chain.pipeline(pipeline, settings)
