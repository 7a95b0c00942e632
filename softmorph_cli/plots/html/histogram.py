"""Histograms with round bin edges, laid out as small charts: positions of bars, ticks and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.html.tables import number

# In units of the drawing, which are about a pixel.
WIDTH: Final = 380
HEIGHT: Final = 208
TOP, RIGHT, BOTTOM = 26, 16, 46
LETTER: Final = 7  # width of a digit
MOST_BINS: Final = 40
# The ratio of maximum to median beyond which the axis is logarithmic: most values would be in the first bin.
SKEWED: Final = 12
STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True)
class Bin:
    """The bar of one bin of a histogram.

    Attributes:
        x: Left edge of the bar.
        y: Upper edge of the bar.
        width: Width of the bar.
        height: Height of the bar.
        words: The bin and its count as text.
    """

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Tick:
    """A tick of an axis.

    Attributes:
        place: Position along the axis.
        words: Label of the tick.
    """

    place: float
    words: str


@dataclass(frozen=True)
class Chart:
    """A histogram laid out as a chart of WIDTH x HEIGHT; x runs to the right, y downward.

    Attributes:
        name: Heading of the chart.
        axis: Label of the horizontal axis, with the unit.
        counted: Label of the vertical axis: the counted objects, plural, such as "branches".
        note: Explanation of the counts and the median.
        edges: Edges of the bins, one more than `counts`.
        counts: Number of values in each bin; the last bin includes its upper edge.
        left: The x at which the horizontal axis begins.
        bars: Bars of the bins that are not empty.
        across: Ticks of the horizontal axis.
        up: Ticks of the vertical axis.
    """

    name: str
    axis: str
    counted: str
    note: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    left: float
    bars: tuple[Bin, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]

    @property
    def words(self) -> str:
        """A text alternative of the chart, for readers who do not see it."""
        top = int(np.argmax(self.counts))
        return (
            f"Histogram of {self.axis}, {sum(self.counts):,} {self.counted} from {number(self.edges[0])} to "
            f"{number(self.edges[-1])}; most, {self.counts[top]:,}, between {number(self.edges[top])} and "
            f"{number(self.edges[top + 1])}."
        )


def histogram(values: npt.NDArray[Any], *, name: str, unit: str, counted: str, note: str) -> Chart:
    """Return a chart with the histogram of one or more finite values.

    `name` is capitalised, such as "Branch length"; `counted` is plural, such as "branches"; `note` is a sentence that
    explains the counts, to which the median is appended.
    """
    values = np.asarray(values, np.float64)
    logarithmic = bool(values.min() > 0 and values.max() > SKEWED * np.median(values))
    edges = edges_of(values, logarithmic=logarithmic)
    counts = np.histogram(values, edges)[0]

    step = max(1.0, round_up(float(counts.max()) / 4))
    up_values = np.arange(0, math.ceil(counts.max() / step) + 1) * step
    left = 10 + LETTER * len(f"{up_values[-1]:,.0f}")

    def scaled(x: Any) -> npt.NDArray[np.float64]:
        return np.log10(x) if logarithmic else np.asarray(x, np.float64)

    low, high = scaled(edges[[0, -1]])
    xs = left + (scaled(edges) - low) / (high - low) * (WIDTH - RIGHT - left)
    bottom = HEIGHT - BOTTOM

    def height(count: Any) -> Any:
        return count / up_values[-1] * (bottom - TOP)

    suffix = f" {unit}" if unit else ""
    bars = tuple(
        # At least one unit high, so that one value among thousands is visible.
        Bin(
            x=round(float(xs[k]), 2),
            y=round(bottom - max(1.0, float(height(count))), 2),
            width=round(max(0.5, float(xs[k + 1] - xs[k]) - 1), 2),
            height=round(max(1.0, float(height(count))), 2),
            words=f"{number(edges[k])} to {number(edges[k + 1])}{suffix}: {count:,} of {values.size:,} {counted}",
        )
        for k, count in enumerate(counts.tolist())
        if count
    )
    marks = ticks_of(edges, logarithmic=logarithmic)
    places = left + (scaled(marks) - low) / (high - low) * (WIDTH - RIGHT - left)
    scale = " The axis is logarithmic." if logarithmic else ""
    return Chart(
        name=name,
        axis=f"{name.lower()} ({unit})" if unit else name.lower(),
        counted=counted,
        note=f"{note} Median {number(float(f'{np.median(values):.4g}'))}{suffix}.{scale}",
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        left=left,
        bars=bars,
        across=tuple(
            Tick(round(x, 2), number(float(f"{mark:.6g}")))
            for x, mark in zip(places.tolist(), marks.tolist(), strict=True)
        ),
        up=tuple(Tick(round(bottom - float(height(mark)), 2), f"{mark:,.0f}") for mark in up_values.tolist()),
    )


def round_up(value: float) -> float:
    """Return the least of 1, 2 or 5 times a power of ten that is not below `value` (> 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    factor = next(f for f in STEPS if f * power >= value * (1 - 1e-9))
    return float(f"{factor * power:.6g}")


def edges_of(values: npt.NDArray[np.float64], *, logarithmic: bool) -> npt.NDArray[np.float64]:
    """Return round edges of bins that enclose all values."""
    return _log_edges(values) if logarithmic else _edges(values)


def ticks_of(edges: npt.NDArray[np.float64], *, logarithmic: bool) -> npt.NDArray[np.float64]:
    """Return the round values between the first and the last edge at which an axis has ticks."""
    return _log_ticks(edges) if logarithmic else _ticks(edges)


def _bins(count: int) -> int:
    # Rice's rule.
    return min(MOST_BINS, max(5, math.ceil(2 * math.cbrt(count))))


def _edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return edges at multiples of a round width that enclose all values."""
    low, high = float(values.min()), float(values.max())
    # Values that differ by rounding errors alone count as equal.
    reach = high - low if high - low > 1e-6 * abs(high) else 0.5 * abs(high) or 1.0
    width = round_up(reach / _bins(values.size))
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    return _around(np.arange(min(first, last - 1), last + 1) * width, values)


def _log_edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return edges at powers of ten whose exponents are multiples of a round width."""
    low, high = math.log10(values.min()), math.log10(values.max())
    parts = max(1, round(1 / round_up((high - low) / _bins(values.size))))
    powers = np.arange(math.floor(low * parts), math.ceil(high * parts) + 1) / parts
    return _around(np.power(10.0, powers), values)


def _around(edges: npt.NDArray[Any], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Rounding errors may leave the extreme values just outside.
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    return edges


def _ticks(edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = float(edges[0]), float(edges[-1])
    step = round_up((high - low) / 6)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return np.array([k * step for k in range(first, last + 1)])


def _log_ticks(edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = edges[0] * (1 - 1e-9), edges[-1] * (1 + 1e-9)
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [1, 2, 5] if high / low < 1e3 else [1]
    marks = np.outer(decades, steps).ravel()
    inside: npt.NDArray[np.float64] = marks[(marks >= low) & (marks <= high)]
    return inside
