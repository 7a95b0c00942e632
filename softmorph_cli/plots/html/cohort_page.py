"""The page of a cohort: one self-contained HTML file for `softmorph inspect` of several files and for batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli import __version__
from softmorph_cli.plots.html import boxes as rows_of_boxes
from softmorph_cli.plots.html import histogram as charts
from softmorph_cli.plots.html.boxes import BoxChart, box_chart
from softmorph_cli.plots.html.histogram import Chart, histogram
from softmorph_cli.plots.html.rendering import Card, Picture, embedded, rendered
from softmorph_cli.plots.html.tables import SHOWN, Column, HtmlTable, decimals_of, figures, number
from softmorph_cli.system.units import MILLIMETRES, sign

Values = npt.NDArray[np.float64]

# Columns of the table of cases: the column of `inspect --summary` or of a batch, and its heading. {u} is the suffix of
# lengths. A column that no case has is left out.
_COUNTS: Final = {
    "components": "Components",
    "cycles": "Cycles",
    "end_points": "End points",
    "junctions": "Junctions",
    "branches": "Branches",
}
_SIZES: Final = {
    **{f"volume_{unit}3": f"{unit}^3" for unit in MILLIMETRES},
    **{f"area_{unit}2": f"{unit}^2" for unit in MILLIMETRES},
    "voxels": "voxels",
}
_FIGURES: Final = {
    "length_{u}": "Length ({unit})",
    "longest_branch_{u}": "Longest branch ({unit})",
    "radius_mean_{u}": "Radius, mean ({unit})",
    "radius_min_{u}": "Radius, min ({unit})",
    "radius_max_{u}": "Radius, max ({unit})",
    "tortuosity_mean": "Tortuosity, mean",
    "certainty_mean": "Certainty, mean",
    **{
        f"expected_{kind}_{when}": f"Expected {kind.partition('_')[0]} {when} ({sign(unit)})"
        for kind, unit in _SIZES.items()
        for when in ("before", "after")
    },
}
_OTHER_COUNTS: Final = {
    "strahler_max": "Strahler order, largest",
    "voxels_above_half_before": "Voxels above 0.5 before",
    "voxels_above_half_after": "Voxels above 0.5 after",
    "components_above_half_before": "Components above 0.5 before",
    "components_above_half_after": "Components above 0.5 after",
    "warnings": "Warnings",
}
LEGEND: Final = {
    "length": "of all branches together",
    "radius": "distance from the centreline to the surface",
    "tortuosity": "length over the straight distance, weighted by length",
    "certainty": "the map's value along the branches",
}
# The cases that a warning names.
NAMED: Final = 5
# Beyond this number of cases a chart with a row for each would be too tall to read.
MOST_ROWS: Final = 200


@dataclass(frozen=True)
class Case:
    """One row of a cohort: a file, or one class of a file.

    Attributes:
        name: Name of the row, such as the file's path.
        row: Numbers by name: the columns of `inspect --summary`, and those of a batch.
        lengths: Length of each branch, in the unit of the cohort; empty if unknown.
        radii: Mean radius of each branch, in the unit of the cohort; empty if unknown.
        pictures: Small PNG files, "light" and "dark".
        warnings: Remarks on doubtful results.
        warned: What the remarks are about, if not the row: the file, of remarks on all of its classes.
    """

    name: str
    row: Mapping[str, Any]
    lengths: Values = field(default_factory=lambda: np.empty(0))
    radii: Values = field(default_factory=lambda: np.empty(0))
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    warned: str = ""


@dataclass(frozen=True)
class Seen:
    """A picture of a case with its name, for each look.

    Attributes:
        name: Name of the case.
        words: Text alternative of the picture.
        pictures: The picture, or one for each look.
    """

    name: str
    words: str
    pictures: Sequence[Picture]


def cohort_page(
    cases: Sequence[Case],
    failures: Sequence[tuple[str, str]],
    *,
    title: str,
    command: str,
    suffix: str,
    facts: Mapping[str, str],
) -> str:
    """Return the page of a cohort as an HTML document that works offline, with scripts or without.

    Equal arguments give equal text; the page contains no date.

    Args:
        cases: The cases in the order of their rows.
        failures: The name of each file that failed, and why.
        title: The heading of the page.
        command: The command that wrote the page, such as "softmorph inspect".
        suffix: The unit of all lengths, with which names of columns end: "mm", ..., "voxels" or "pixels".
        facts: Facts at the top, by name.
    """
    failed = [why if name in why else f"{name}: {why}" for name, why in failures]
    classes = list(dict.fromkeys(str(case.row["class"]) for case in cases if case.row.get("class")))
    every = {"cases": f"{len(_files(cases)):,}", "failed": f"{len(failures):,}"}
    if classes:
        more = f" and {len(classes) - NAMED:,} more" if len(classes) > NAMED else ""
        every["classes"] = f"{', '.join(classes[:NAMED])}{more}"
    every |= facts
    return rendered(
        "cohort.html",
        title=title,
        command=command,
        facts=[*every.items(), ("softmorph version", __version__)],
        remarks=[("failed", failed), ("warnings", _warned(cases))],
        cards=_cards(cases, suffix),
        histograms=_histograms(cases, suffix),
        boxes=_boxes(cases, suffix),
        seen=[
            Seen(case.name, f"{case.name}: {_alt(case)}", embedded(case.pictures))
            for case in cases
            if case.pictures
        ],
        charts=charts,
        rows=rows_of_boxes,
        tables=[_table(cases, suffix)],
        shown=SHOWN,
    )


def _files(cases: Sequence[Case]) -> list[str]:
    """Return the files of the rows; each counts once, whatever classes it has."""
    return list(dict.fromkeys(str(case.row.get("file") or case.name) for case in cases))


def _counted(cases: Sequence[Case]) -> tuple[str, str]:
    """Return what a row of the table is, one of them and all of them in words."""
    each = len(_files(cases)) == len(cases)
    return ("case", "cases") if each else ("class", "classes of cases")


def _labels(cases: Sequence[Case]) -> dict[str, str]:
    """Return the name of each row without the folder and the ending that all of them have."""
    files = [str(case.row.get("file") or case.name) for case in cases]
    together = zip(*(file.split("/")[:-1] for file in files), strict=False)
    same = takewhile(lambda names: len(set(names)) == 1, together)
    folder = "".join(f"{names[0]}/" for names in same)
    endings = {"".join(PurePath(file).suffixes) for file in files}
    ending = endings.pop() if len(endings) == 1 else ""
    labels = {}
    for case, file in zip(cases, files, strict=True):
        rest = case.name.removeprefix(file)
        labels[case.name] = f"{file.removeprefix(folder).removesuffix(ending)}{rest}"
    return labels


def _warned(cases: Sequence[Case]) -> list[str]:
    """Return each warning once, with the cases that have it."""
    whose: dict[str, list[str]] = {}
    for case in cases:
        for words in dict.fromkeys(case.warnings):
            whose.setdefault(words, []).append(case.warned or case.name)
    lines = []
    for words, names in whose.items():
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        lines.append(f"{', '.join(names[:NAMED])}{more}: {words}")
    return lines


def _alt(case: Case) -> str:
    counts = [
        f"{case.row[name]:,} {name.replace('_', ' ')}"
        for name in ("branches", "components")
        if name in case.row
    ]
    return "the map" + (f" with its centreline, {' and '.join(counts)}" if counts else "")


def _known(cases: Sequence[Case], name: str) -> list[float]:
    return [float(case.row[name]) for case in cases if case.row.get(name) is not None]


def _cards(cases: Sequence[Case], suffix: str) -> list[Card]:
    """Return the mean of some numbers over the cases, with their range."""
    cards = [Card("Cases", f"{len(_files(cases)):,}")]
    if len(_files(cases)) < len(cases):
        cards = [replace(cards[0], words=f"{len(cases):,} rows, one for each class")]
    for name, heading, unit in (
        ("branches", "Branches, mean", ""),
        ("components", "Components, mean", ""),
        (f"length_{suffix}", "Length, mean", sign(suffix)),
        (f"radius_mean_{suffix}", "Radius, mean", sign(suffix)),
        ("certainty_mean", "Certainty, mean", ""),
    ):
        values = _known(cases, name)
        if values:
            words = f"from {number(float(f'{min(values):.4g}'))} to {number(float(f'{max(values):.4g}'))}"
            cards.append(Card(heading, number(float(f"{np.mean(values):.4g}")), unit, words))
    return cards


def _histograms(cases: Sequence[Case], suffix: str) -> list[Chart]:
    unit, drawn = sign(suffix), []
    one, several = _counted(cases)
    for name, heading in (
        (f"length_{suffix}", f"Length of a {one}"),
        (f"radius_mean_{suffix}", f"Mean radius of a {one}"),
    ):
        values = _known(cases, name)
        if values:
            note = f"Counted are {several}, each once."
            drawn.append(histogram(np.array(values), name=heading, unit=unit, counted=several, note=note))
    for pooled, heading in (
        ([case.lengths for case in cases], "Branch length"),
        ([case.radii for case in cases], "Branch radius"),
    ):
        together = np.concatenate([np.empty(0), *pooled])
        if together.size:
            note = "Counted are the branches of all cases, each once."
            drawn.append(histogram(together, name=heading, unit=unit, counted="branches", note=note))
    return drawn


def _boxes(cases: Sequence[Case], suffix: str) -> list[BoxChart]:
    """Return a chart of lengths and one of radii with a row for each case that has branches."""
    drawn = []
    labels = _labels(cases)
    for values, heading, note in (
        (
            {case.name: case.lengths for case in cases if case.lengths.size},
            "Branch length",
            "Of each branch its length.",
        ),
        (
            {case.name: case.radii for case in cases if case.radii.size},
            "Branch radius",
            "Of each branch its mean radius.",
        ),
    ):
        if 0 < len(values) <= MOST_ROWS:
            drawn.append(box_chart(values, name=heading, unit=sign(suffix), note=note, labels=labels))
    return drawn


def _table(cases: Sequence[Case], suffix: str) -> HtmlTable:
    columns = [Column("Case", [case.name for case in cases], "text")]
    for names, decimals in ((_COUNTS, 0), (_FIGURES, None), (_OTHER_COUNTS, 0)):
        for pattern, heading in names.items():
            name = pattern.format(u=suffix)
            values = [case.row.get(name) for case in cases]
            if name == "warnings":
                values = [len(case.warnings) for case in cases]
            if any(value is not None for value in values):
                cells = figures(values, decimals if decimals is not None else _decimals(values))
                columns.append(Column(heading.format(unit=sign(suffix)), cells))
    measured = any("branches" in case.row for case in cases)
    row = "case" if len(_files(cases)) == len(cases) else "class of every case"
    caption = f"Every {row}; a click on a heading sorts"
    return HtmlTable("cases", caption, columns, None, LEGEND if measured else {}, first="first")


def _decimals(values: Sequence[Any]) -> int:
    """Return the decimals at which the median has four figures."""
    known = [abs(float(value)) for value in values if value]
    return decimals_of(float(np.median(known)), 4) if known else 0
