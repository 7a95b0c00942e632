"""Tables of an HTML page: columns of text, and of numbers with aligned decimals."""

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
    """One column of a table.

    Attributes:
        head: Heading of the column, with the unit.
        cells: Formatted values of the column.
        sort: How rows can be sorted by the column: as numbers, as text, or ("") not at all.
        filter: Control that filters rows: a choice among the column's texts, a box for a number, or ("") none.
    """

    head: str
    cells: Sequence[str]
    sort: Literal["number", "text", ""] = "number"
    filter: Literal["choice", "box", ""] = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table of an HTML page, whose first column identifies the row.

    Attributes:
        name: Name of the objects in the rows, plural, such as "branches".
        caption: Caption of the table.
        columns: Columns of equal length.
        sorted_by: Index of the column by which the rows are sorted in descending order; None for another order.
        legend: Terms in the table with their meanings.
        first: Word for the rows that come first, such as "longest".
    """

    name: str
    caption: str
    columns: Sequence[Column]
    sorted_by: int | None
    legend: Mapping[str, str] = field(default_factory=dict)
    first: str = "longest"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows of the table, as tuples of cells."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def filters(self) -> list[tuple[int, Column, list[str]]]:
        """The columns with a filter: the index, the column and its distinct texts."""
        return [
            (k, column, list(dict.fromkeys(column.cells)))
            for k, column in enumerate(self.columns)
            if column.filter
        ]


def number(value: float) -> str:
    """Return a number as text with five significant figures and thousands separators, as in the terminal's tables."""
    return f"{value:,.0f}" if abs(value) >= 1e5 or value == int(value) else f"{value:,.5g}"


def figures(values: Sequence[float | None], decimals: int | None = None) -> list[str]:
    """Return numbers as text with equal numbers of decimals, by default so many that the median has four figures.

    None is formatted as a dash.
    """
    if decimals is None:
        known = [abs(v) for v in values if v]
        decimals = decimals_of(float(np.median(known)), 4) if known else 0
    return [MISSING if v is None else f"{v:z,.{decimals}f}" for v in values]


def decimals_of(value: float, significant: int) -> int:
    """Return the number of decimals, at most 9, that show `significant` figures of a number above 0."""
    return min(9, max(0, significant - 1 - math.floor(math.log10(value))))


def places(points: npt.NDArray[np.float64], decimals: int) -> list[str]:
    """Return coordinates, shape (N, 2 or 3), as texts such as "x, y, z"."""
    return [", ".join(f"{c:z.{decimals}f}" for c in point) for point in points.tolist()]
