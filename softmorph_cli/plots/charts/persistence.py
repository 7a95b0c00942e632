"""A figure of a persistence diagram beside its Betti curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from softmorph_cli.plots.canvas import FONT
from softmorph_cli.plots.charts.figure import COLORS, LETTER, MARKS, PALE, TEXT, TitledFigure, points
from softmorph_cli.topology import persistence

HEIGHT: Final = 620
# Left and lower edge, width and height of the two axes.
DIAGRAM: Final = (80, 75, 440, 440)
CURVES: Final = (620, 75, 545, 440)
# Betti curves are drawn at so many equal steps of the threshold.
STEPS: Final = 500
_SHADE: Final = "#f2f2f2"
# Bars longer than this are drawn as marks, shorter ones, of which there may be thousands, as dots.
_LONG: Final = 0.1
# Up to this number of bars, each number has its own tick.
_FEW: Final = 10


def draw_persistence(
    bars: persistence.Bars, names: Sequence[str], threshold: float, *, title: str, subtitle: str = ""
) -> TitledFigure:
    """Return a figure: each bar as a point of its birth and death, and the number of bars alive at each threshold.

    `names` are the names of the features of each dimension, such as "components". Bars in the shaded corner of the
    diagram are alive at the marked `threshold`.
    """
    figure = TitledFigure(HEIGHT, title, subtitle)
    birth, death = "birth: the highest threshold where it exists", "death: the threshold where it is gone"
    diagram = figure.add_axes(*DIAGRAM, x=birth, y=death)
    curves = figure.add_axes(*CURVES, x="threshold", y="number of bars")
    diagram.fill([threshold, 1, 1, threshold], [0, 0, threshold, threshold], color=_SHADE, zorder=0)
    diagram.plot([0, 1], [0, 1], color=PALE, linewidth=0.8)
    diagram.set_xlim(-0.02, 1.02)
    diagram.set_ylim(-0.02, 1.02)
    curves.axvline(threshold, color=PALE, linewidth=0.8, linestyle=(0, (4, 2)))
    curves.set_xlim(0, 1)
    thresholds = [k / STEPS for k in range(STEPS + 1)]
    counts = bars.curves(thresholds)
    for name, found, count, color, mark in zip(names, bars.diagrams, counts, COLORS, MARKS, strict=False):
        long = found.length > _LONG
        for part, size in ((~long, 3), (long, 28)):
            diagram.scatter(
                found.birth[part],
                found.death[part],
                s=size,
                marker=mark,
                facecolors="none" if size > 3 else color,
                edgecolors=color,
                linewidths=1.3 if size > 3 else 0,
                clip_on=False,
                zorder=3,
            )
        curves.step(thresholds, count, where="post", color=color, linewidth=1.6)
        # For the legend alone.
        curves.plot([], [], color=color, marker=mark, markerfacecolor="none", linewidth=1.6, label=name)
    diagram.text(
        1,
        1.02,
        f"large: persistence above {_LONG:g}",
        transform=diagram.transAxes,
        ha="right",
        va="bottom",
        color=TEXT,
        family=FONT,
        size=points(LETTER + 1),
    )
    _set_count_ticks(curves, max(int(count.max()) for count in counts))
    # Above the axes, where no curve passes.
    curves.legend(
        frameon=False,
        prop={"family": FONT, "size": points(LETTER + 1)},
        labelcolor=TEXT,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(names),
        borderaxespad=0.2,
    )
    return figure


def _set_count_ticks(axes: Any, most: int) -> None:
    """Set the scale and ticks of an axis of counts up to `most`, which may be none or many thousands."""
    if most > _FEW:
        axes.set_yscale("symlog", linthresh=2, linscale=0.5)
        steps = (step * 10**power for power in range(9) for step in (1, 2, 5))
        ticks = [0, *(step for step in steps if step <= 1.3 * most)]
    else:
        ticks = list(range(max(most, 1) + 1))
    ticks = [tick for tick in ticks if most < 500 or tick in (0, 1) or str(tick).strip("0") == "1"]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(-0.1, max(1.3 * most, 2) if most > _FEW else max(most, 1) + 0.5)
