"""Time against size on logarithmic axes, to be read without a legend."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softmorph_cli.plots.canvas import FONT
from softmorph_cli.plots.theme import LIGHT
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import printable

PAPER, INK, PALE, FAINT = LIGHT.paper, LIGHT.ink, LIGHT.pale_ink, "#d9d9d9"
# Okabe and Ito's, without the yellow that a white page swallows: told apart by all kinds of colour vision.
COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
# A colour may serve two curves, a colour and a mark together only one.
MARKS: Final = ("o", "s", "^", "D", "v")
DOTS_PER_INCH: Final = 100
LETTER: Final = 11  # pixels; a line of labels takes half as much again
WIDTH: Final = 1200
LEAST_HEIGHT: Final = 640
RATE_ROOM: Final = 105
LABEL_ROOM: Final = 0.29  # of the picture's width


@dataclass(frozen=True)
class TimeCurve:
    """The times of one work.

    Attributes:
        name: Its label.
        family: Curves of one family share a colour; "" draws it as background to the others.
        points: Voxels and seconds, by rising size.
    """

    name: str
    family: str
    points: tuple[tuple[float, float], ...]


def draw_curves(
    curves: Sequence[TimeCurve],
    sizes: Sequence[tuple[float, str]],
    path: Path,
    *,
    title: str,
    subtitle: str = "",
    force: bool = False,
) -> None:
    """Write a PNG of the curves with their names at their right ends.

    Faint lines of slope 1 stand for a constant number of voxels a second: a curve that runs along them takes
    twice the time for twice the voxels.

    Args:
        curves: What to draw.
        sizes: Voxels and name of each size measured, rising.
        path: The PNG to write.
        title: First line.
        subtitle: Second line.
        force: Whether an existing file may be replaced.

    Raises:
        FileError: If `path` exists and `force` is off, or if it cannot be written.
    """
    with replacing(path, force=force) as temporary:
        title, subtitle = map(printable, (title, subtitle))
        figure = _draw(curves, sizes, title, subtitle)
        figure.savefig(temporary, format="png", metadata={"Title": title, "Description": subtitle})


def _draw(curves: Sequence[TimeCurve], sizes: Sequence[tuple[float, str]], title: str, subtitle: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    line = 1.5 * LETTER
    height = max(LEAST_HEIGHT, 190 + line * len(curves))
    figure = Figure((WIDTH / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0.075, 75 / height, 0.915 - LABEL_ROOM, 1 - 160 / height))
    axes.set_xscale("log")
    axes.set_yscale("log")
    voxels = [size for size, _ in sizes]
    # Left of the smallest map there is room for the names of the rates, right of the largest for its marks.
    before, after = RATE_ROOM, 25
    width = float(axes.get_window_extent().width)
    decade = max(math.log10(voxels[-1] / voxels[0]), 0.3) / (width - before - after)
    axes.set_xlim(voxels[0] / 10 ** (before * decade), voxels[-1] * 10 ** (after * decade))
    seconds = [value for curve in curves for _, value in curve.points]
    bottom, top = min(seconds) / 1.6, max(seconds) * 1.6
    axes.set_ylim(bottom, top)

    words: dict[str, Any] = {"fontfamily": FONT, "color": INK, "parse_math": False}
    axes.xaxis.set_major_locator(FixedLocator(voxels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([name for _, name in sizes], fontsize=_points(LETTER), fontfamily=FONT)
    decades = range(math.ceil(math.log10(bottom)), math.floor(math.log10(top)) + 1)
    # Fewer than two decades leave too few ticks to read a value between them.
    steps = (1, 2, 5) if len(decades) < 3 else (1,)
    ticks = [s * 10.0**d for d in range(decades.start - 1, decades.stop + 1) for s in steps]
    ticks = [tick for tick in ticks if bottom <= tick <= top]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([duration(tick) for tick in ticks], fontsize=_points(LETTER), fontfamily=FONT)
    axes.set_xlabel("size of the map (voxels)", fontsize=_points(LETTER + 2), labelpad=9, **words)
    axes.set_ylabel("time of one run", fontsize=_points(LETTER + 2), labelpad=7, **words)
    axes.grid(True, color=FAINT, linewidth=0.5)
    axes.tick_params(length=3, color=PALE, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)

    _draw_rates(axes)
    styles = _styles(curves)
    for curve, style in zip(curves, styles, strict=True):
        axes.plot(*zip(*curve.points, strict=True), **style)
    _label(axes, curves, styles, line)
    left = 24 / WIDTH
    figure.text(left, 1 - 34 / height, title, fontsize=_points(17), fontweight="bold", **words)
    figure.text(left, 1 - 58 / height, subtitle, fontsize=_points(12), **{**words, "color": PALE})
    return figure


def _points(pixels: float) -> float:
    return pixels * 72 / DOTS_PER_INCH


def _styles(curves: Sequence[TimeCurve]) -> list[dict[str, Any]]:
    colors = dict(
        zip(dict.fromkeys(c.family for c in curves if c.family), itertools.cycle(COLORS), strict=False)
    )
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
    """Draw the lines of slope 1 and write each one's rate where it enters the picture."""
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
            fontsize=_points(LETTER - 1),
            fontfamily=FONT,
            color="#a0a0a0",
            zorder=0.6,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _label(axes: Any, curves: Sequence[TimeCurve], styles: Sequence[dict[str, Any]], line: float) -> None:
    """Write the names at the curves' right ends, pushed apart as little as reading needs."""
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
            fontsize=_points(LETTER),
            fontfamily=FONT,
            color=INK if curves[k].family else PALE,
            parse_math=False,
        )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return rising places at least `gap` apart, as near to the wanted ones as can be in the sum of squares.

    Args:
        wanted: Rising.
        gap: Least distance of neighbours.
        low: No place is below it.
        high: No place is above it, unless they do not all fit.
    """
    # With k gaps taken off, the k-th place may equal its neighbour: neighbours that clash share their mean.
    blocks: list[tuple[float, int]] = []
    for k, place in enumerate(wanted):
        total, count = place - k * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            total, count = total + blocks[-1][0], count + blocks[-1][1]
            blocks.pop()
        blocks.append((total, count))
    level = [total / count for total, count in blocks for _ in range(count)]
    highest = max(low, high - (len(wanted) - 1) * gap)
    return [min(max(one, low), highest) + k * gap for k, one in enumerate(level)]


def duration(seconds: float) -> str:
    """Return a time as people read it: three figures and the unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 0.9995 or unit == "µs":
            break
    return f"{seconds * factor:.3g} {unit}" if seconds * factor < 999.5 else f"{seconds * factor:,.0f} {unit}"
