"""Tables for a page: columns of words, and figures that can be compared down a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

MISSING: Final = "\u2013"
# Rows that stand in the page as they are; the rest is data that the page's script shows when asked for.
SHOWN: Final = 500


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        head: Its heading, with the unit.
        cells: As they are shown.
        sort: How it is sorted: by number, by text, or not at all.
        filter: What narrows the rows down: a choice among its texts, a box to type a number into, or nothing.
    """

    head: str
    cells: Sequence[str]
    sort: Literal["number", "text", ""] = "number"
    filter: Literal["choice", "box", ""] = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table whose first column names the row.

    Attributes:
        name: What a row is, plural: "branches".
        caption: A few words.
        columns: All of one length.
        sorted_by: Index of the column that the rows are sorted by, falling.
        legend: What words in the table mean.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    sorted_by: int
    legend: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """All rows."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def filters(self) -> list[tuple[int, Column, list[str]]]:
        """Index, column and choices of each column that has a filter."""
        return [
            (k, column, list(dict.fromkeys(column.cells)))
            for k, column in enumerate(self.columns)
            if column.filter
        ]


def number(value: float) -> str:
    """Return a number as people read it: five figures, thousands apart, as in the terminal's tables."""
    return f"{value:,.0f}" if abs(value) >= 1e5 or value == int(value) else f"{value:,.5g}"


def figures(values: Sequence[float | None], decimals: int | None = None) -> list[str]:
    """Return numbers with the same decimals, so that points stand below each other.

    Args:
        values: None is shown as a dash.
        decimals: How many; without it so many that one in the middle has four figures.
    """
    if decimals is None:
        known = [abs(v) for v in values if v]
        decimals = decimals_of(float(np.median(known)), 4) if known else 0
    return [MISSING if v is None else f"{v:z,.{decimals}f}" for v in values]


def decimals_of(value: float, significant: int) -> int:
    """Return the decimals that show so many figures of a number above 0; at most 9."""
    return min(9, max(0, significant - 1 - math.floor(math.log10(value))))


def places(points: npt.NDArray[np.float64], decimals: int) -> list[str]:
    """Return coordinates, shape (N, 2 or 3), as "x, y, z"."""
    return [", ".join(f"{c:z.{decimals}f}" for c in point) for point in points.tolist()]
