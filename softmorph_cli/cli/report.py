"""Output that commands share: tables, numbers, text on stdout or in files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli.errors import UsageError
from softmorph_cli.system.printable import printable
from softmorph_cli.system.units import COUNTED, sign

if TYPE_CHECKING:
    from softmorph_cli.metrics.statistics import Statistics
    from softmorph_cli.tiled import TilePlan, TileProgress

STDOUT = Path("-")
_LONGEST_WORDS = 2000
_LEAST_WIDTH = 5  # of a column that may be folded

STOPPED = {
    "iterations": "as many as asked for",
    "stable": "nothing changed any more",
    "tolerance": "still changing, by less than --tolerance",
    "max_iterations": "stopped at the cap",
}


def check_stdout(wanted: Mapping[str, Path | bool | None]) -> None:
    """Refuse two results on stdout.

    `wanted` has options by name, such as {"--json": True, "--csv": Path("-")}.
    """
    printing = [name for name, value in wanted.items() if value is True or value == STDOUT]
    if len(printing) > 1:
        spelt = [f"{name} -" if isinstance(wanted[name], Path) else name for name in printing]
        raise UsageError(
            f"{' and '.join(spelt)} would both print on stdout; give one of them, or a file in place of -."
        )


def deliver(text: str, path: Path, *, force: bool) -> None:
    """Write a text to PATH in one step, or print it where PATH is "-"; the bytes are the same, in UTF-8.

    File names that are not UTF-8 keep their bytes. On a terminal, control characters become question marks.
    """
    from softmorph_cli.system.files import writing_text

    content = text if text.endswith("\n") or not text else text + "\n"
    if path == STDOUT and sys.stdout.isatty():
        content = printable(content, keep="\n\t")
    if path == STDOUT:
        typer.echo(content.encode("utf-8", "surrogateescape"), nl=False)
        return
    with writing_text(path, force=force) as stream:
        stream.write(content)


def made_by(provenance: Mapping[str, Any]) -> str:
    """Return "made by softmorph skeletonize 0.1.0 (method levels, levels 64)", or "" where nothing is known."""
    if not provenance:
        return ""
    parameters = provenance.get("parameters")
    chosen = parameters if isinstance(parameters, Mapping) else {}
    words = [
        str(name) if value is True else f"{name} {value}"
        for name, value in chosen.items()
        if value is not None and value is not False
    ]
    what = f"{provenance.get('command', 'softmorph')} {provenance.get('version', '')}".rstrip()
    said = f"made by {what} ({', '.join(words)})" if words else f"made by {what}"
    return said[:_LONGEST_WORDS]


def echo(text: str, *, err: bool = False, bold: bool = False) -> None:
    """Print lines of text, which may contain text from files."""
    typer.echo(typer.style(printable(text, keep="\n"), bold=bold), err=err)


def number(value: float) -> str:
    """Return a number with five significant figures and thousands separators."""
    return f"{value:,.0f}" if abs(value) >= 1e5 or value == int(value) else f"{value:,.5g}"


def quantiles(statistics: Statistics) -> str:
    """Return the 5, 50 and 95 % quantiles of the volume if voxels are comonotone."""
    found = statistics.volume_quantiles
    return " / ".join(map(number, (found.q05, found.q50, found.q95)))


def expected_of(volume_unit: str) -> str:
    """Return "expected volume (mm³)", or what else is expected, with its unit."""
    if volume_unit in COUNTED.values():
        return f"expected foreground ({volume_unit})"
    return f"expected {'area' if volume_unit.endswith('^2') else 'volume'} ({sign(volume_unit)})"


def rows(statistics: Sequence[Statistics]) -> list[list[str]]:
    """Return the lines of the table: a name, then one column for each of the statistics."""
    first = statistics[0]
    components = f"components above 0.5 ({first.connectivity}-connected)"
    return [
        [expected_of(first.volume_unit), *(number(s.expected_volume) for s in statistics)],
        ["standard deviation, voxels independent", *(number(s.volume_std_independent) for s in statistics)],
        ["standard deviation, voxels comonotone", *(number(s.volume_std_comonotone) for s in statistics)],
        ["5 / 50 / 95 % quantile, voxels comonotone", *map(quantiles, statistics)],
        ["voxels above 0.5", *(f"{s.voxels_above_half:,}" for s in statistics)],
        [components, *(f"{s.components_above_half:,}" for s in statistics)],
        ["largest value", *(f"{s.max:.4g}" for s in statistics)],
    ]


def planned(plan: TilePlan) -> list[list[str]]:
    """Return the table of a plan: tiles, memory, disk and time."""
    once = (
        "all iterations at once" if plan.pass_length is None else f"{plan.pass_length} iterations at a time"
    )
    several = plan.workers > 1
    return [
        ["map (voxels)", " × ".join(map(str, plan.shape))],
        ["tiles", f"{plan.tiles:,} of {' × '.join(map(str, plan.tile))}, {once}"],
        ["read around each (voxels)", " × ".join(map(str, plan.halo))],
        *([["tiles at once", workers(plan.workers, plan.threads)]] if several else []),
        [f"memory{' of each process' if several else ''}, at most", size(plan.peak_bytes)],
        ["disk between passes, at a guess", size(plan.scratch_bytes)],
        ["time, at a guess", f"{plan.seconds:,.0f} s"],
    ]


def workers(count: int, threads: int) -> str:
    """Return "4 processes of 2 threads"."""
    return f"{count} processes of {threads} thread{'s' if threads > 1 else ''}"


def size(count: float) -> str:
    """Return a number of bytes in GB or MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def tile(progress: TileProgress) -> str:
    """Return the progress of a tiled run as text."""
    if progress.stage == "pyramid":
        return f"{progress.operation}: coarser resolutions, chunk {progress.done} of {progress.total}"
    at = f"{progress.operation}: tile {progress.done} of {progress.total}"
    if progress.stage != "pass":
        return at + (", writing" if progress.stage == "write" else "")
    part = f", {progress.part}" if progress.part else ""
    return f"{at}{part}, pass {progress.passes}, {progress.live} tiles still changing"


def table(
    title: str,
    columns: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    err: bool,
    footer: str = "",
    figures: int = 0,
) -> None:
    """Print a table: drawn on a terminal, plain lines elsewhere.

    Args:
        title: Stands above it.
        columns: Their names; that of the first may be empty, and a name may have several lines.
        lines: The cells, as many in each line as there are columns.
        err: Whether it goes to stderr.
        footer: Stands below it.
        figures: So many of the last columns hold figures, which are not broken while there is room.
    """
    title, footer = printable(title), printable(footer)
    columns = [printable(name, keep="\n") for name in columns]
    # A cell of several lines is one of several figures.
    broken = "\n" if figures else ""
    lines = [[printable(name), *(printable(one, keep=broken) for one in cells)] for name, *cells in lines]
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        typer.echo(title, err=err)
        for name, *values in lines:
            # Several columns of figures are printed with their names, a list without.
            named = len(columns) > 2 and not columns[0]
            heads = [column.replace("-\n", "").replace("\n", " ") for column in columns[1:]]
            shown = [f"{c} {v}" for c, v in zip(heads, values, strict=True)] if named else values
            typer.echo(f"  {name}: {', '.join(shown)}", err=err)
        if footer:
            typer.echo(f"  {footer}", err=err)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, show_header=any(columns))
    console = Console(stderr=err)
    if figures:
        drawn.padding, drawn.pad_edge = (0, 1, 0, 0), False
    widths = [
        max(len(part) for cell in (name, *cells) for part in cell.splitlines() or [""])
        for name, *cells in zip(columns, *lines, strict=True)
    ]
    whole = len(columns) - figures
    room = console.width - sum(widths[whole:]) - 2 * len(columns) >= _LEAST_WIDTH * whole
    for number, column in enumerate(columns):
        # Folded where it is too wide: a truncated figure would be wrong.
        drawn.add_column(
            column, justify="right" if number else "left", overflow="fold", no_wrap=number >= whole and room
        )
    # As Text, because brackets in file names are markup otherwise.
    for line in lines:
        drawn.add_row(*map(Text, line))
    # Not as title and caption of the table, which are wrapped to its width.
    console.print(Text(title, style="bold"))
    console.print(drawn)
    if footer:
        console.print(Text(footer, style="dim italic"))
