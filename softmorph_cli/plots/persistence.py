"""A persistence diagram beside its Betti curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from softmorph_cli.plots.canvas import FONT
from softmorph_cli.plots.curves import COLORS, DOTS_PER_INCH, FAINT, INK, LETTER, MARKS, PALE, PAPER
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import printable

WIDTH, HEIGHT = 1200, 620
# Left and lower edge, width and height of the two axes, in pixels.
DIAGRAM: Final = (80, 75, 440, 440)
CURVES: Final = (620, 75, 545, 440)
_SHADE: Final = "#f2f2f2"
# Bars longer than this are drawn as marks, shorter ones, of which there may be thousands, as dots.
_LONG: Final = 0.1
# Up to as many, each count has its own tick.
_FEW: Final = 10


@dataclass(frozen=True)
class Dimension:
    """The bars of one dimension.

    Attributes:
        name: What they are, such as "components".
        birth: Shape (N,), in [0, 1].
        death: Shape (N,), at most `birth`.
        counts: How many live at each of the thresholds.
    """

    name: str
    birth: npt.NDArray[Any]
    death: npt.NDArray[Any]
    counts: npt.NDArray[Any]


def draw_persistence(
    dimensions: Sequence[Dimension],
    thresholds: Sequence[float],
    threshold: float,
    path: Path,
    *,
    title: str,
    subtitle: str = "",
    force: bool = False,
) -> None:
    """Write a PNG: each bar as a point of birth and death, and how many bars live at each threshold.

    Args:
        dimensions: What to draw.
        thresholds: Where the bars are counted, rising.
        threshold: The one that is marked; bars in the shaded corner of the diagram live at it.
        path: The PNG to write.
        title: First line.
        subtitle: Second line.
        force: Whether an existing file may be replaced.

    Raises:
        FileError: If `path` exists and `force` is off, or if it cannot be written.
    """
    with replacing(path, force=force) as temporary:
        title, subtitle = map(printable, (title, subtitle))
        figure = _draw(dimensions, thresholds, threshold, title, subtitle)
        figure.savefig(temporary, format="png", metadata={"Title": title, "Description": subtitle})


def _draw(
    dimensions: Sequence[Dimension], thresholds: Sequence[float], threshold: float, title: str, subtitle: str
) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / DOTS_PER_INCH, HEIGHT / DOTS_PER_INCH), dpi=DOTS_PER_INCH, facecolor=PAPER)
    FigureCanvasAgg(figure)
    words: dict[str, Any] = {"fontfamily": FONT, "color": INK, "parse_math": False}
    diagram, curves = (_axes(figure, place) for place in (DIAGRAM, CURVES))

    diagram.fill([threshold, 1, 1, threshold], [0, 0, threshold, threshold], color=_SHADE, zorder=0)
    diagram.plot([0, 1], [0, 1], color=PALE, linewidth=0.8)
    diagram.set_xlim(-0.02, 1.02)
    diagram.set_ylim(-0.02, 1.02)
    curves.axvline(threshold, color=PALE, linewidth=0.8, linestyle=(0, (4, 2)))
    curves.set_xlim(0, 1)
    for dimension, color, mark in zip(dimensions, COLORS, MARKS, strict=False):
        long = dimension.birth - dimension.death > _LONG
        for part, size in ((~long, 3), (long, 28)):
            diagram.scatter(
                dimension.birth[part],
                dimension.death[part],
                s=size,
                marker=mark,
                facecolors="none" if size > 3 else color,
                edgecolors=color,
                linewidths=1.3 if size > 3 else 0,
                clip_on=False,
                zorder=3,
            )
        curves.step(thresholds, dimension.counts, where="post", color=color, linewidth=1.6)
        # For the legend alone.
        curves.plot(
            [], [], color=color, marker=mark, markerfacecolor="none", linewidth=1.6, label=dimension.name
        )
    most = max((int(d.counts.max()) for d in dimensions if len(d.counts)), default=0)
    # Counts run from none to many thousands.
    if most > _FEW:
        curves.set_yscale("symlog", linthresh=2, linscale=0.5)
        ticks = [
            0,
            *(step * 10**power for power in range(9) for step in (1, 2, 5) if step * 10**power <= 1.3 * most),
        ]
    else:
        ticks = list(range(max(most, 1) + 1))
    ticks = [tick for tick in ticks if most < 500 or tick in (0, 1) or str(tick).strip("0") == "1"]
    curves.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    curves.minorticks_off()
    curves.set_ylim(-0.1, max(1.3 * most, 2) if most > _FEW else max(most, 1) + 0.5)
    # Above the axes: inside there are curves.
    curves.legend(
        frameon=False,
        prop={"family": FONT, "size": _points(LETTER + 1)},
        labelcolor=INK,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(dimensions),
        borderaxespad=0.2,
    )

    said = {"fontsize": _points(LETTER + 2), **words}
    diagram.set_xlabel("birth: the highest threshold where it is there", labelpad=9, **said)
    diagram.set_ylabel("death: the threshold where it is gone", labelpad=7, **said)
    curves.set_xlabel("threshold", labelpad=9, **said)
    curves.set_ylabel("how many there are", labelpad=7, **said)
    for axes in (diagram, curves):
        axes.tick_params(labelsize=_points(LETTER), labelfontfamily=FONT)
    left = 24 / WIDTH
    figure.text(left, 1 - 34 / HEIGHT, title, fontsize=_points(17), fontweight="bold", **words)
    figure.text(left, 1 - 58 / HEIGHT, subtitle, fontsize=_points(12), **{**words, "color": PALE})
    return figure


def _axes(figure: Any, place: tuple[int, int, int, int]) -> Any:
    left, lower, width, height = place
    axes = figure.add_axes((left / WIDTH, lower / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.grid(True, color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(length=3, color=PALE, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _points(pixels: float) -> float:
    return pixels * 72 / DOTS_PER_INCH
