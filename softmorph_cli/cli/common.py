"""Options that many commands have; each takes the panel of --help that it stands in."""

from __future__ import annotations

from typing import Any

import typer

from softmorph_cli.io.options import WriteOptions
from softmorph_cli.system.parameters import declared

_WRITING = declared(WriteOptions)


def threads(panel: str | None = None) -> Any:
    """Return --threads."""
    return typer.Option(
        metavar="N",
        help="CPU threads. (default: what affinity, cgroup and SLURM allow)",
        rich_help_panel=panel,
        show_default=False,
    )


def output_type(panel: str | None = None) -> Any:
    """Return --output-type."""
    return typer.Option(
        metavar=_WRITING["output_type"].about.metavar,
        help=_WRITING["output_type"].about.help,
        rich_help_panel=panel,
        show_default=False,
    )


def force(panel: str | None = None) -> Any:
    """Return --force."""
    return typer.Option("--force", "-f", help=_WRITING["force"].about.help, rich_help_panel=panel)


def quiet(panel: str | None = None, but: str = "warnings and errors") -> Any:
    """Return --quiet, with what is said all the same."""
    return typer.Option("--quiet", "-q", help=f"Print nothing but {but}.", rich_help_panel=panel)


def verbose(panel: str | None = None) -> Any:
    """Return --verbose."""
    return typer.Option("--verbose", "-v", help="Show the traceback of an error.", rich_help_panel=panel)
