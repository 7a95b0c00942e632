"""Box charts with a row for each case: range, quartiles and median, laid out as positions of boxes and ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.html.histogram import SKEWED, Tick, edges_of, ticks_of
from softmorph_cli.plots.html.tables import number

# In units of the drawing, which are about a pixel.
WIDTH: Final = 580
ROW: Final = 20
TOP, RIGHT, BOTTOM, LEFT = 8, 16, 44, 170
# Letters of a name that fit on the left; the middle of a longer one is left out.
LETTERS: Final = 24


@dataclass(frozen=True)
class Box:
    """The row of one case.

    Attributes:
        name: Name of the case, shortened to fit.
        y: Middle of the row.
        places: The x of minimum, lower quartile, median, upper quartile and maximum.
        words: The same numbers as text.
    """

    name: str
    y: float
    places: tuple[float, ...]
    words: str


@dataclass(frozen=True)
class BoxChart:
    """A box chart of WIDTH units; x runs to the right, y downward.

    Attributes:
        name: Heading of the chart.
        axis: Label of the horizontal axis, with the unit.
        note: Explanation of the boxes.
        height: Height of the chart.
        boxes: The rows.
        across: Ticks of the horizontal axis.
    """

    name: str
    axis: str
    note: str
    height: int
    boxes: tuple[Box, ...]
    across: tuple[Tick, ...]


def box_chart(
    values: Mapping[str, npt.NDArray[Any]], *, name: str, unit: str, note: str, labels: Mapping[str, str]
) -> BoxChart:
    """Return a box chart of the values of each case, by the name of the case; none is without values.

    `name` is capitalised, such as "Branch length"; `note` is a sentence that says what each value belongs to;
    `labels` are the names of the cases as they are written beside their rows.
    """
    every = np.concatenate([np.asarray(one, np.float64) for one in values.values()])
    logarithmic = bool(every.min() > 0 and every.max() > SKEWED * np.median(every))
    edges = edges_of(every, logarithmic=logarithmic)
    low, high = (np.log10(edges) if logarithmic else edges)[[0, -1]]

    def across(x: Any) -> list[float]:
        scaled = np.log10(x) if logarithmic else np.asarray(x, np.float64)
        return [round(float(one), 2) for one in LEFT + (scaled - low) / (high - low) * (WIDTH - RIGHT - LEFT)]

    suffix = f" {unit}" if unit else ""
    boxes = []
    for row, (case, own) in enumerate(values.items()):
        parts = np.percentile(own, (0, 25, 50, 75, 100))
        least, lower, middle, upper, most = map(number, (float(f"{part:.4g}") for part in parts))
        words = f"{case}: median {middle}{suffix}, quartiles {lower} to {upper}, range {least} to {most}"
        boxes.append(Box(_short(labels[case]), TOP + ROW * (row + 0.5), tuple(across(parts)), words))
    marks = ticks_of(edges, logarithmic=logarithmic)
    return BoxChart(
        name=name,
        axis=f"{name.lower()} ({unit})" if unit else name.lower(),
        note=f"{note} A box holds the middle half, its line is the median; the line through it is the range."
        f"{' The axis is logarithmic.' if logarithmic else ''}",
        height=TOP + ROW * len(boxes) + BOTTOM,
        boxes=tuple(boxes),
        across=tuple(
            Tick(x, number(float(f"{mark:.6g}")))
            for x, mark in zip(across(marks), marks.tolist(), strict=True)
        ),
    )


def _short(name: str) -> str:
    if len(name) <= LETTERS:
        return name
    return f"{name[: LETTERS // 2]}…{name[1 - LETTERS // 2 :]}"
