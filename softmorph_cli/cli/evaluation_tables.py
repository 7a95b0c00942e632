"""Output of softmorph evaluate: tables, CSV, the definitions of metrics."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from softmorph_cli.cli import answer, report
from softmorph_cli.cli.evaluate_options import EvaluateOutput
from softmorph_cli.system.printable import csv_text as as_csv

if TYPE_CHECKING:
    from softmorph_cli.metrics import evaluation, folders
    from softmorph_cli.metrics.metric import Metric

# Classes beside each other in one table; more make more tables.
_BESIDE: Final = 6
_WIDTH: Final = 100
_BETTER: Final = {"higher": "higher is better", "lower": "lower is better", "one": "1 is best"}
_UNDEFINED: Final = "undefined"


def figure(value: float | None) -> str:
    """Return a value for a table."""
    return _UNDEFINED if value is None else report.number(round(value, 9))


def class_name(label: int, name: str | None) -> str:
    """Return the name of a class in a table."""
    return f"{name} ({label})" if name else f"label {label}"


def plain(classes: Sequence[tuple[int, str | None]]) -> bool:
    """Return whether the only class is that of a mask, which needs no name."""
    return list(classes) == [(1, None)]


def show_pair(
    title: str, rows: Sequence[evaluation.ClassMetrics], metrics: Sequence[Metric], footer: str
) -> None:
    """Print one pair: a line for each metric, a column for each class."""
    if plain([(row.label, row.name) for row in rows]):
        lines = [[name, figure(value)] for name, value in rows[0].values.items()]
        columns: tuple[str, ...] = ("", "")
        if sys.stdout.isatty():
            directions = _directions(metrics)
            columns = ("metric", "value", "")
            lines = [[*line, directions.get(line[0], "")] for line in lines]
        report.table(title, columns, lines, err=False, footer=footer)
        return
    beside = _BESIDE if sys.stdout.isatty() else len(rows)
    for start in range(0, len(rows), beside):
        some = rows[start : start + beside]
        names = list(dict.fromkeys(name for row in some for name in row.values))
        report.table(
            title if start == 0 else f"{title}, continued",
            ("", *(class_name(row.label, row.name) for row in some)),
            [[name, *(figure(row.values.get(name)) for row in some)] for name in names],
            err=False,
            footer=footer if start + beside >= len(rows) else "",
            figures=len(some),
        )


def show_summary(
    title: str,
    summaries: Mapping[str, folders.MetricSummary],
    metrics: Sequence[Metric],
    footer: str,
    *,
    err: bool,
) -> None:
    """Print many pairs of one class: a line for each metric."""
    lines = [
        [
            name,
            figure(one.mean),
            figure(one.median),
            _UNDEFINED if one.low is None else f"{figure(one.low)} to {figure(one.high)}",
            f"{one.count:,}",
        ]
        for name, one in summaries.items()
    ]
    columns: tuple[str, ...] = ("", "mean", "median", "95 % interval\nof the mean", "pairs")
    if (sys.stderr if err else sys.stdout).isatty():
        directions = _directions(metrics)
        columns = ("metric", *columns[1:], " ")
        lines = [[*line, directions.get(line[0], "")] for line in lines]
    report.table(title, columns, lines, err=err, footer=footer, figures=len(columns) - 1)


def csv_text(
    entries: Sequence[tuple[Mapping[str, Any], evaluation.ClassMetrics]], metrics: Sequence[Metric]
) -> str:
    """Return a CSV with a row for each pair and class; undefined values are empty.

    Each entry is the columns before the metrics, and a row. All `metrics` have columns, so that tables of different
    runs can be concatenated; lengths have one for each unit.
    """
    held = {name for _, row in entries for name in row.values}
    names = [
        column
        for metric in metrics
        for name in metric.names
        for column in [one for one in metric.spelled(name) if one in held] or [name]
    ]
    columns = [*(entries[0][0] if entries else ()), "label", "class", *names]
    rows = [
        {
            **begin,
            "label": row.label,
            "class": row.name or "",
            **{name: value for name, value in row.values.items() if value is not None},
        }
        for begin, row in entries
    ]
    return as_csv(rows, columns)


def explanations(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return the definitions for JSON."""
    keys = ("title", "definition", "source", "unit", "better", "cost")
    return [
        {"names": list(metric.names)}
        | {key: getattr(metric, key) for key in keys}
        | {"asked_by": [f"--{name}" for name in metric.asked_by]}
        for metric in metrics
    ]


def explain(metrics: Sequence[Metric]) -> None:
    """Print the definitions."""
    for metric in metrics:
        typer.secho(f"{metric.title}: {', '.join(metric.names)}", bold=True)
        asked = (
            f"; only with {' or '.join(f'--{name}' for name in metric.asked_by)}" if metric.asked_by else ""
        )
        facts = f"unit {metric.unit}, {_BETTER[metric.better]}{asked}"
        for line in (
            metric.definition,
            f"Source: {metric.source}.",
            f"Cost at 128^3: {metric.cost}.",
            f"[{facts}]",
        ):
            typer.echo(textwrap.indent(textwrap.fill(line, _WIDTH), "  "))
        typer.echo("")


def _directions(metrics: Sequence[Metric]) -> dict[str, str]:
    return {spelled: _BETTER[metric.better] for metric in metrics for spelled in metric.spellings}


_DECIDED: Final = {"argmax": "the most probable class", "painted": "the region painted last"}


def footer(parameters: Mapping[str, Any], seconds: float, order: evaluation.Evaluation) -> str:
    """Return the footer of a table: the settings that metrics depend on."""
    near = ""
    if order.names is None or "nsd" in order.names:
        near = f"nsd within {parameters['nsd_tolerance']:.4g} {parameters['nsd_tolerance_unit']}; "
    mine, its = (
        _DECIDED.get(parameters[f"{of}decision"]) or f"> {parameters[f'{of}threshold']:g}"
        for of in ("", "reference_")
    )
    what = f"PRED {mine}, REF {its}"
    if mine == its:
        what = f"p {mine}" if mine.startswith(">") else mine
    return (
        f"{what}; {parameters['connectivity']}-connected, background "
        f"{parameters['background_connectivity']}; soft skeletons by {parameters['soft_skeleton']}; {near}"
        f"{seconds:.1f} s; --explain says what each metric is"
    )


def deliver(
    document: Mapping[str, Any],
    entries: Sequence[tuple[Mapping[str, Any], evaluation.ClassMetrics]],
    order: evaluation.Evaluation,
    output: EvaluateOutput,
) -> None:
    """Write the files that were requested, and print what replaces the table on stdout."""
    answer.give(document, output)
    if output.csv is not None:
        report.deliver(csv_text(entries, _columns(order)), output.csv, force=output.force)


def _columns(order: evaluation.Evaluation) -> tuple[Metric, ...]:
    """Return the metrics that have a column in the table: all metrics, or those that the user named."""
    from softmorph_cli.metrics.registry import METRICS

    return METRICS if order.names is None else order.metrics
