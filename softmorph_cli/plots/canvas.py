"""A sheet of pixels to put images and words on: matplotlib without axes and without its global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.theme import DARK, Colors, Look, Mark
from softmorph_cli.system.printable import printable

FONT: Final = "DejaVu Sans"  # comes with matplotlib: the same picture everywhere
# At 72 dots per inch a point, in which matplotlib measures letters, is a pixel.
DOTS_PER_INCH: Final = 72


class Sheet:
    """An empty sheet. Positions are pixels from its upper left corner, x to the right and y downward."""

    def __init__(self, width: int, height: int, look: Look = DARK) -> None:
        """Take a sheet of `width` x `height` pixels."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height, self.look = width, height, look
        # The canvas truncates to whole pixels; the millionth keeps rounding from costing one.
        size = ((width + 1e-6) / DOTS_PER_INCH, (height + 1e-6) / DOTS_PER_INCH)
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=look.paper)
        self._canvas = FigureCanvasAgg(self._figure)

    def image(self, x: int, y: int, values: npt.NDArray[Any], colors: Colors | None = None) -> None:
        """Put an image of values in [0, 1], pixel for pixel, its upper left corner at (x, y).

        Args:
            x: From the left.
            y: From the top.
            values: Shape (rows, columns).
            colors: From values to colours; those of a map if not given.
        """
        drawn = (colors or self.look.map_colors)(values)
        self._figure.figimage(drawn, xo=x, yo=self.height - y - len(drawn), origin="upper")

    def bar(self, x: int, y: int, width: int, height: int) -> None:
        """Put the scale bar with its upper left corner at (x, y)."""
        color = np.frombuffer(bytes.fromhex(self.look.bar[1:]), np.uint8)
        self._figure.figimage(np.broadcast_to(color, (height, width, 3)), xo=x, yo=self.height - y - height)

    def lines(
        self, paths: Sequence[npt.NDArray[np.float64]], colors: npt.NDArray[np.uint8], width: float
    ) -> None:
        """Draw lines with round ends.

        Args:
            paths: The places (x, y) along each, shape (N, 2).
            colors: Of each line, shape (lines, 3).
            width: Of all.
        """
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

    def marks(self, places: npt.NDArray[np.float64], mark: Mark, size: float) -> None:
        """Put a mark of `size` pixels, edged in the paper's colour, at each of the places (x, y), shape (N, 2)."""
        from matplotlib.lines import Line2D
        from matplotlib.transforms import IdentityTransform

        drawn = Line2D(
            places[:, 0].tolist(),
            (self.height - places[:, 1]).tolist(),
            linestyle="none",
            marker=mark.shape,
            # Within the same box a triangle looks smaller than a circle.
            markersize=1.25 * size if mark.shape == "^" else size,
            markerfacecolor=mark.color,
            markeredgecolor=self.look.paper,
            markeredgewidth=min(1.0, size / 6),
            transform=IdentityTransform(),
        )
        self._figure.add_artist(drawn)

    def text(
        self,
        x: float,
        baseline: float,
        words: str,
        *,
        size: int,
        color: str | None = None,
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
            color: Their colour; the look's ink if not given.
            bold: Whether they are bold.
            align: What `x` means.
        """
        words = printable(" ".join(words.split()))
        if not words:
            return x
        line = self._figure.text(
            x / self.width,
            1 - baseline / self.height,
            words,
            fontfamily=FONT,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=color or self.look.ink,
            horizontalalignment=align,
            verticalalignment="baseline",
            usetex=False,
            parse_math=False,
        )
        room = self.width - x - size if align == "left" else self.width
        kept = len(words)
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        with _any_script():
            while (box := line.get_window_extent(renderer)).width > room and kept > 1:
                kept = max(1, min(kept - 1, int(kept * room / box.width)))
                line.set_text(words[: (kept + 1) // 2] + "…" + words[len(words) - kept // 2 :])
        return float(box.x1)

    def save(self, target: Path | io.BytesIO, *, title: str, description: str) -> None:
        """Write the sheet as a PNG that carries these two texts."""
        texts = {name: text for name, text in (("Title", title), ("Description", description)) if text}
        with _any_script():
            self._canvas.print_png(target, metadata=texts)  # type: ignore[no-untyped-call]

    def colors(self) -> npt.NDArray[np.uint8]:
        """Return what was drawn, shape (height, width, 3)."""
        with _any_script():
            self._canvas.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(self._canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        return drawn[..., :3].copy()


@contextmanager
def _any_script() -> Iterator[None]:
    # A file name may be in a script this font lacks; boxes in a picture are no reason to warn.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
