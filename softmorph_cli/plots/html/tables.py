"""Tables of a page: columns of text and of numbers with aligned decimals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

MISSING: Final = "\u2013"
# Number of rows in the page's HTML; the others are JSON, which the page's script shows on request.
SHOWN: Final = 500


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        head: Its heading, with the unit.
        cells: Formatted values.
        sort: Sort order: by number, by text, or not sortable.
        filter: Filter control: a choice among its texts, a box for a number, or none.
    """

    head: str
    cells: Sequence[str]
    sort: Literal["number", "text", ""] = "number"
    filter: Literal["choice", "box", ""] = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table; the first column identifies the row.

    Attributes:
        name: What the rows are, plural, such as "branches".
        caption: Its caption.
        columns: Columns of equal length.
        sorted_by: Index of the column by which the rows are sorted, falling.
        legend: Terms in the table with their meanings.
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
        """Index, column and distinct texts of each column with a filter."""
        return [
            (k, column, list(dict.fromkeys(column.cells)))
            for k, column in enumerate(self.columns)
            if column.filter
        ]


def number(value: float) -> str:
    """Format a number with five significant figures and thousands separators, as in the terminal's tables."""
    return f"{value:,.0f}" if abs(value) >= 1e5 or value == int(value) else f"{value:,.5g}"


def figures(values: Sequence[float | None], decimals: int | None = None) -> list[str]:
    """Format numbers with equal numbers of decimals, by default so many that the median has four figures.

    None becomes a dash.
    """
    if decimals is None:
        known = [abs(v) for v in values if v]
        decimals = decimals_of(float(np.median(known)), 4) if known else 0
    return [MISSING if v is None else f"{v:z,.{decimals}f}" for v in values]


def decimals_of(value: float, significant: int) -> int:
    """Return the number of decimals, at most 9, that show so many significant figures of a number above 0."""
    return min(9, max(0, significant - 1 - math.floor(math.log10(value))))


def places(points: npt.NDArray[np.float64], decimals: int) -> list[str]:
    """Format coordinates, shape (N, 2 or 3), as "x, y, z"."""
    return [", ".join(f"{c:z.{decimals}f}" for c in point) for point in points.tolist()]
