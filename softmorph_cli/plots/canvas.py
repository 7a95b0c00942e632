"""A canvas of pixels for images, lines and text: matplotlib without axes and without its global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.theme import DARK, Colors, Mark, Theme, rgb
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import printable

FONT: Final = "DejaVu Sans"  # comes with matplotlib: the same picture everywhere
# At 72 dots per inch a point, the unit of matplotlib's font sizes, is a pixel.
DOTS_PER_INCH: Final = 72


class Canvas:
    """A canvas to draw on, empty at first; its title and description are stored in the PNG.

    Positions are pixels from the upper left corner of the canvas, x to the right and y downward.
    """

    def __init__(
        self, width: int, height: int, theme: Theme = DARK, *, title: str = "", description: str = ""
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height, self.theme = width, height, theme
        self._texts = {"Title": title, "Description": description}
        # The canvas truncates to whole pixels; the millionth keeps rounding from costing one.
        size = ((width + 1e-6) / DOTS_PER_INCH, (height + 1e-6) / DOTS_PER_INCH)
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=theme.background)
        self._agg = FigureCanvasAgg(self._figure)

    def image(self, x: int, y: int, values: npt.NDArray[Any], colors: Colors | None = None) -> None:
        """Draw an image of values in [0, 1], shape (rows, columns), one pixel each, from the upper left corner (x, y).

        `colors` maps values to colours; by default it is the colour map of probabilities.
        """
        drawn = (colors or self.theme.map_colors)(values)
        self._figure.figimage(drawn, xo=x, yo=self.height - y - len(drawn), origin="upper")

    def bar(self, x: int, y: int, width: int, height: int) -> None:
        """Draw a scale bar with its upper left corner at (x, y)."""
        color = rgb(self.theme.bar)
        self._figure.figimage(np.broadcast_to(color, (height, width, 3)), xo=x, yo=self.height - y - height)

    def lines(
        self, paths: Sequence[npt.NDArray[np.float64]], colors: npt.NDArray[np.uint8], width: float
    ) -> None:
        """Draw lines through points (x, y), shape (N, 2), in RGB colours, shape (lines, 3), with round ends."""
        from matplotlib.collections import LineCollection
        from matplotlib.transforms import IdentityTransform

        drawn = LineCollection(
            [path * (1, -1) + (0, self.height) for path in paths],
            colors=[tuple(color / 255) for color in colors],
            linewidths=width,
            capstyle="round",
            joinstyle="round",
            transform=IdentityTransform(),
        )
        self._figure.add_artist(drawn)

    def marks(self, points: npt.NDArray[np.float64], mark: Mark, size: float) -> None:
        """Draw a mark of `size` pixels, edged in the background colour, at each point (x, y), shape (N, 2)."""
        from matplotlib.lines import Line2D
        from matplotlib.transforms import IdentityTransform

        drawn = Line2D(
            points[:, 0].tolist(),
            (self.height - points[:, 1]).tolist(),
            linestyle="none",
            marker=mark.shape,
            # Within the same box a triangle looks smaller than a circle.
            markersize=1.25 * size if mark.shape == "^" else size,
            markerfacecolor=mark.color,
            markeredgecolor=self.theme.background,
            markeredgewidth=min(1.0, size / 6),
            transform=IdentityTransform(),
        )
        self._figure.add_artist(drawn)

    def text(
        self,
        x: float,
        baseline: float,
        text: str,
        *,
        size: int,
        color: str | None = None,
        bold: bool = False,
        align: Literal["left", "center", "right"] = "left",
    ) -> float:
        """Write one line of plain text and return the x of its right end.

        `x` is the position of the left end, the middle or the right end of the text, depending on `align`; `size` is
        the font size in pixels. The middle of a text that would run over the right edge is replaced by an ellipsis, and
        line breaks by spaces.
        """
        text = printable(" ".join(text.split()))
        if not text:
            return x
        line = self._figure.text(
            x / self.width,
            1 - baseline / self.height,
            text,
            fontfamily=FONT,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=color or self.theme.text,
            horizontalalignment=align,
            verticalalignment="baseline",
            usetex=False,
            parse_math=False,
        )
        room = self.width - x - size if align == "left" else self.width
        kept = len(text)
        renderer = self._agg.get_renderer()  # type: ignore[no-untyped-call]
        with _any_script():
            while (box := line.get_window_extent(renderer)).width > room and kept > 1:
                kept = max(1, min(kept - 1, int(kept * room / box.width)))
                line.set_text(text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :])
        return float(box.x1)

    def png(self) -> bytes:
        """Return the bytes of a PNG of the canvas, with its title and description."""
        held = io.BytesIO()
        with _any_script():
            self._agg.print_png(held, metadata={name: text for name, text in self._texts.items() if text})  # type: ignore[no-untyped-call]
        return held.getvalue()

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write the canvas to a file as a PNG.

        Raises:
            FileError: If `path` exists and `force` is False, or `path` cannot be written.
        """
        with replacing(path, force=force) as temporary:
            temporary.write_bytes(self.png())

    def colors(self) -> npt.NDArray[np.uint8]:
        """Return the RGB pixels of the canvas, shape (height, width, 3)."""
        with _any_script():
            self._agg.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(self._agg.buffer_rgba())  # type: ignore[no-untyped-call]
        return drawn[..., :3].copy()


@contextmanager
def _any_script() -> Iterator[None]:
    # A file name may be in a script this font lacks; boxes in a picture are no reason to warn.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
