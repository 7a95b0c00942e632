"""Figures with axes below a title and a subtitle, on a white background. All lengths are in pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from softmorph_cli.plots.canvas import FONT, save_figure
from softmorph_cli.plots.theme import BLACK, BLUE, GREEN, LIGHT, ORANGE, PURPLE, SKY, VERMILION
from softmorph_cli.system.printable import printable

TEXT, PALE, FAINT = LIGHT.text, LIGHT.pale_text, "#d9d9d9"
# Without the yellow of the palette, which is too pale on white.
COLORS: Final = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK)
MARKS: Final = ("o", "s", "^", "D", "v")
WIDTH: Final = 1200
LETTER: Final = 11  # a line of text takes half as much again
_DOTS_PER_INCH: Final = 100


class TitledFigure:
    """A matplotlib figure of WIDTH x `height` pixels with a title and a subtitle at the top.

    Attributes:
        figure: The figure itself, a `matplotlib.figure.Figure`.
    """

    def __init__(self, height: int, title: str, subtitle: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        size = (WIDTH / _DOTS_PER_INCH, height / _DOTS_PER_INCH)
        self.figure = Figure(size, dpi=_DOTS_PER_INCH, facecolor=LIGHT.background)
        FigureCanvasAgg(self.figure)
        title, subtitle = map(printable, (title, subtitle))
        self._texts = (title, subtitle)
        self.figure.text(24 / WIDTH, 1 - 34 / height, title, fontweight="bold", color=TEXT, **font(17))
        self.figure.text(24 / WIDTH, 1 - 58 / height, subtitle, color=PALE, **font(12))

    def add_axes(self, left: float, lower: float, width: float, height: float, *, x: str, y: str) -> Any:
        """Return new axes with a grid at a place in the figure; `x` and `y` are the labels of the axes."""
        total = self.figure.bbox.height
        axes: Any = self.figure.add_axes((left / WIDTH, lower / total, width / WIDTH, height / total))
        axes.grid(True, color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(
            length=3, color=PALE, labelcolor=TEXT, labelsize=points(LETTER), labelfontfamily=FONT
        )
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.set_xlabel(x, labelpad=9, color=TEXT, **font(LETTER + 2))
        axes.set_ylabel(y, labelpad=7, color=TEXT, **font(LETTER + 2))
        return axes

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write the figure as a PNG, a PDF or an SVG that also stores its title and subtitle.

        Raises:
            FileError: If `path` exists and `force` is False, or `path` cannot be written.
        """
        save_figure(self.figure, path, *self._texts, force=force)


def font(size: float) -> dict[str, Any]:
    """Return the matplotlib properties of plain text of a font size in pixels."""
    return {"fontfamily": FONT, "fontsize": points(size), "parse_math": False}


def points(pixels: float) -> float:
    """Return a length in points, the unit of matplotlib's font sizes."""
    return pixels * 72 / _DOTS_PER_INCH
