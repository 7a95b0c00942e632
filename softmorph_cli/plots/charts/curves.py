"""Curves of time against size on logarithmic axes, labelled at their ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from softmorph_cli.plots.charts.figure import (
    COLORS,
    FAINT,
    LETTER,
    MARKS,
    PALE,
    TEXT,
    WIDTH,
    TitledFigure,
    font,
)

LEAST_HEIGHT: Final = 640
RATE_ROOM: Final = 105
LABEL_ROOM: Final = 0.29  # of the picture's width


@dataclass(frozen=True)
class TimeCurve:
    """A curve of run times over map sizes.

    Attributes:
        name: Label of the curve.
        family: Name of a group of curves that share a colour; curves of the group "" are drawn pale and dashed.
        points: Pairs of the number of voxels and the time in seconds, by rising size.
    """

    name: str
    family: str
    points: tuple[tuple[float, float], ...]


def draw_curves(
    curves: Sequence[TimeCurve], sizes: Sequence[tuple[float, str]], *, title: str, subtitle: str = ""
) -> TitledFigure:
    """Return a figure of curves, labelled at their right ends, over faint lines of constant voxels per second.

    `sizes` are the number of voxels and the name of each measured size, rising.
    """
    line = 1.5 * LETTER
    height = max(LEAST_HEIGHT, 190 + int(line * len(curves)))
    figure = TitledFigure(height, title, subtitle)
    place = (90, 75, WIDTH * (0.915 - LABEL_ROOM), height - 160)
    axes = figure.add_axes(*place, x="size of the map (voxels)", y="time of one run")
    axes.set_xscale("log")
    axes.set_yscale("log")
    voxels = [size for size, _ in sizes]
    # Room for the labels of the rates left of the smallest map, and for marks right of the largest.
    before, after = RATE_ROOM, 25
    width = float(axes.get_window_extent().width)
    decade = max(math.log10(voxels[-1] / voxels[0]), 0.3) / (width - before - after)
    axes.set_xlim(voxels[0] / 10 ** (before * decade), voxels[-1] * 10 ** (after * decade))
    seconds = [value for curve in curves for _, value in curve.points]
    bottom, top = min(seconds) / 1.6, max(seconds) * 1.6
    axes.set_ylim(bottom, top)

    axes.set_xticks(voxels, [name for _, name in sizes])
    decades = range(math.ceil(math.log10(bottom)), math.floor(math.log10(top)) + 1)
    # Ticks at decades alone are too few over less than two decades.
    steps = (1, 2, 5) if len(decades) < 3 else (1,)
    ticks = [s * 10.0**d for d in range(decades.start - 1, decades.stop + 1) for s in steps]
    ticks = [tick for tick in ticks if bottom <= tick <= top]
    axes.set_yticks(ticks, [duration(tick) for tick in ticks])
    axes.minorticks_off()
    _draw_rates(axes)
    styles = _styles(curves)
    for curve, style in zip(curves, styles, strict=True):
        axes.plot(*zip(*curve.points, strict=True), **style)
    _label(axes, curves, styles, line)
    return figure


def _styles(curves: Sequence[TimeCurve]) -> list[dict[str, Any]]:
    """Return a line style for each curve: families may share colours, but no two curves colour and mark."""
    families = dict.fromkeys(curve.family for curve in curves if curve.family)
    colors = dict(zip(families, itertools.cycle(COLORS), strict=False))
    counts: dict[str, int] = {}
    styles = []
    for curve in curves:
        number = counts[curve.family] = counts.get(curve.family, -1) + 1
        style: dict[str, Any] = {"marker": MARKS[number % len(MARKS)], "markersize": 5, "linewidth": 1.6}
        style |= {"color": colors.get(curve.family, PALE)}
        if not curve.family:
            style |= {"linestyle": (0, (4, 2)), "linewidth": 1.1, "markersize": 4}
        styles.append(style)
    return styles


def _draw_rates(axes: Any) -> None:
    """Draw the lines of constant rate (slope 1), each labelled with its voxels per second where it enters the axes."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    box = axes.get_window_extent()
    slope = (box.height / math.log(top / bottom)) / (box.width / math.log(right / left))
    for power in range(-4, 8):
        rate = 10.0**power
        if not bottom < right / rate / 1e6 or not left / rate / 1e6 < top:
            continue
        ends = [left / rate / 1e6, right / rate / 1e6]
        axes.plot([left, right], ends, color=FAINT, linewidth=1.2, linestyle=":", zorder=0.5)
        begin = max(left, bottom * rate * 1e6)
        room = box.width * math.log(right / begin) / math.log(right / left)
        if room < RATE_ROOM or begin / rate / 1e6 > top / 2:
            continue
        axes.annotate(
            f"{rate:,g} MVoxel/s",
            (begin, begin / rate / 1e6),
            xytext=(6, 6 * slope + 3),
            textcoords="offset pixels",
            rotation=math.degrees(math.atan(slope)),
            rotation_mode="anchor",
            color="#a0a0a0",
            zorder=0.6,
            **font(LETTER - 1),
        )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _label(axes: Any, curves: Sequence[TimeCurve], styles: Sequence[dict[str, Any]], line: float) -> None:
    """Write the names at the curves' right ends, moved apart so that they do not overlap."""
    box = axes.get_window_extent()
    ends = [axes.transData.transform(curve.points[-1]) for curve in curves]
    order = sorted(range(len(curves)), key=lambda k: float(ends[k][1]))
    places = spread([float(ends[k][1]) for k in order], line, float(box.y0), float(box.y1))
    for k, y in zip(order, places, strict=True):
        to_axes = axes.transAxes.inverted()
        leader = [to_axes.transform(p) for p in (ends[k], (box.x1, ends[k][1]), (box.x1 + 24, y))]
        axes.plot(
            *zip(*leader, strict=True),
            color=styles[k]["color"],
            linewidth=0.6,
            marker=styles[k]["marker"],
            markersize=styles[k]["markersize"],
            markevery=[2],
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            *to_axes.transform((box.x1 + 32, y)),
            curves[k].name,
            transform=axes.transAxes,
            verticalalignment="center",
            color=TEXT if curves[k].family else PALE,
            **font(LETTER),
        )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return rising positions at least `gap` apart that are nearest to the wanted positions by least squares.

    The wanted positions are rising. The returned positions lie between `low` and `high`, unless they do not all fit.
    """
    from scipy.optimize import isotonic_regression

    # With k gaps subtracted from the k-th position, the positions have only to be sorted.
    rising = isotonic_regression([position - k * gap for k, position in enumerate(wanted)]).x.tolist()
    highest = max(low, high - (len(wanted) - 1) * gap)
    return [min(max(position, low), highest) + k * gap for k, position in enumerate(rising)]


def duration(seconds: float) -> str:
    """Return a time with three significant figures and a unit, such as "3.21 ms"."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 0.9995 or unit == "µs":
            break
    return f"{seconds * factor:.3g} {unit}" if seconds * factor < 999.5 else f"{seconds * factor:,.0f} {unit}"
