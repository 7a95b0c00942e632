"""A sheet of pixels to put images and words on: matplotlib without axes and without its global state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

PAPER, INK, PALE_INK = "#17171c", "#f4f4f4", "#a9a9b3"
COLOR_MAP: Final = "inferno"
FONT: Final = "DejaVu Sans"  # comes with matplotlib: the same picture everywhere
# At 72 dots per inch a point, in which matplotlib measures letters, is a pixel.
DOTS_PER_INCH: Final = 72


class Sheet:
    """An empty dark sheet. Positions are pixels from its upper left corner, x to the right and y downward."""

    def __init__(self, width: int, height: int) -> None:
        """Take a sheet of `width` x `height` pixels."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        # The canvas truncates to whole pixels; the millionth keeps rounding from costing one.
        size = ((width + 1e-6) / DOTS_PER_INCH, (height + 1e-6) / DOTS_PER_INCH)
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=PAPER)
        self._canvas = FigureCanvasAgg(self._figure)

    def image(self, x: int, y: int, values: npt.NDArray[Any]) -> None:
        """Put an image of values in [0, 1] in colour, pixel for pixel, its upper left corner at (x, y)."""
        from matplotlib import colormaps

        colors = colormaps[COLOR_MAP](values, bytes=True)
        self._figure.figimage(colors, xo=x, yo=self.height - y - len(values), origin="upper")

    def bar(self, x: int, y: int, width: int, height: int) -> None:
        """Put a white bar with its upper left corner at (x, y)."""
        white = np.full((height, width, 3), 255, np.uint8)
        self._figure.figimage(white, xo=x, yo=self.height - y - height)

    def text(
        self,
        x: float,
        baseline: float,
        words: str,
        *,
        size: int,
        color: str = INK,
        bold: bool = False,
        align: Literal["left", "center", "right"] = "left",
    ) -> float:
        """Write one line and return where it ends on the right.

        What would run over the sheet's right edge loses its middle.

        Args:
            x: Its left end, middle or right end, as `align` says.
            baseline: The line the letters stand on.
            words: The text, as it is: no mathematics, line breaks become spaces.
            size: Height of the letters.
            color: Their colour.
            bold: Whether they are bold.
            align: What `x` means.
        """
        words = " ".join(words.split())
        if not words:
            return x
        line = self._figure.text(
            x / self.width,
            1 - baseline / self.height,
            words,
            fontfamily=FONT,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=color,
            horizontalalignment=align,
            verticalalignment="baseline",
            usetex=False,
            parse_math=False,
        )
        room = self.width - x - size if align == "left" else self.width
        kept = len(words)
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        with warnings.catch_warnings():
            # A file name may be in a script this font lacks; boxes in a picture are no reason to warn.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            while (box := line.get_window_extent(renderer)).width > room and kept > 1:
                kept = max(1, min(kept - 1, int(kept * room / box.width)))
                line.set_text(words[: (kept + 1) // 2] + "…" + words[len(words) - kept // 2 :])
        return float(box.x1)

    def save(self, path: Path, *, title: str, description: str) -> None:
        """Write the sheet as a PNG that carries these two texts."""
        texts = {name: text for name, text in (("Title", title), ("Description", description)) if text}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            self._canvas.print_png(path, metadata=texts)  # type: ignore[no-untyped-call]
