"""A canvas for images, lines and text, a PNG, PDF or SVG: matplotlib without axes and without its global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.options import BASE_DPI, format_of
from softmorph_cli.plots.theme import DARK, Colors, Mark, Theme
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import printable

FONT: Final = "DejaVu Sans"  # comes with matplotlib: the same picture everywhere
# Matplotlib measures lines and letters in points.
POINT: Final = 72 / BASE_DPI
# Settings of matplotlib hold for the whole process.
_SAVING: Final = Lock()


class Canvas:
    """A canvas to draw on, empty at first; its title and description are stored in the file.

    Positions are pixels from the upper left corner of the canvas, x to the right and y downward. At another resolution
    than `BASE_DPI` a PNG has as many more pixels; a PDF or SVG of the same size has images of that resolution.

    Attributes:
        width: The width in pixels.
        height: The height in pixels.
        theme: The colours.
        zoom: Dots of images for a pixel.
    """

    def __init__(
        self,
        width: int,
        height: int,
        theme: Theme = DARK,
        *,
        title: str = "",
        description: str = "",
        dpi: int = BASE_DPI,
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import Affine2D

        self.width, self.height, self.theme, self.zoom = width, height, theme, dpi / BASE_DPI
        self._texts = (title, description)
        # The canvas truncates to whole pixels; the millionth keeps rounding from costing one.
        size = ((width + 1e-6) / BASE_DPI, (height + 1e-6) / BASE_DPI)
        self._figure = Figure(figsize=size, dpi=dpi, facecolor=theme.background)
        # Each image stays an image of its own in a PDF or SVG.
        self._figure.suppressComposite = True
        self._agg = FigureCanvasAgg(self._figure)
        # From pixels of the canvas, upward, to dots of any format.
        self._to_dots = Affine2D().scale(1 / BASE_DPI) + self._figure.dpi_scale_trans

    def dots(self, height: int, width: int) -> tuple[int, int]:
        """Return the numbers of rows and columns of an image that has a height and a width in pixels."""
        return max(1, round(height * self.zoom)), max(1, round(width * self.zoom))

    def image(
        self,
        x: int,
        y: int,
        values: npt.NDArray[Any],
        colors: Colors | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Draw an image of values in [0, 1], shape (rows, columns), from the upper left corner (x, y).

        An image of shape (rows, columns, 3) holds colours, from 0 to 255. `size` is its height and width in pixels, by
        default a pixel for each value. `colors` maps values to colours, by default as for probabilities.
        """
        from matplotlib.image import BboxImage
        from matplotlib.transforms import Bbox, TransformedBbox

        drawn = values if values.ndim == 3 else (colors or self.theme.map_colors)(values)
        height, width = size or drawn.shape[:2]
        place = Bbox.from_bounds(x, self.height - y - height, width, height)
        image = BboxImage(TransformedBbox(place, self._to_dots), origin="upper", interpolation="nearest")
        image.set_data(drawn)
        self._figure.add_artist(image)

    def bar(self, x: float, y: float, width: float, height: float, color: str | None = None) -> None:
        """Draw a bar, by default a scale bar, with its upper left corner at (x, y)."""
        from matplotlib.patches import Rectangle

        corner = (x, self.height - y - height)
        color = color or self.theme.bar
        bar = Rectangle(corner, width, height, color=color, linewidth=0, antialiased=False)
        bar.set_transform(self._to_dots)
        self._figure.add_artist(bar)

    def lines(
        self, paths: Sequence[npt.NDArray[np.float64]], colors: npt.NDArray[np.uint8], width: float
    ) -> None:
        """Draw lines through points (x, y), shape (N, 2), in RGB colours, shape (lines, 3), with round ends."""
        from matplotlib.collections import LineCollection

        drawn = LineCollection(
            [path * (1, -1) + (0, self.height) for path in paths],
            colors=[tuple(color / 255) for color in colors],
            linewidths=width * POINT,
            capstyle="round",
            joinstyle="round",
            transform=self._to_dots,
        )
        self._figure.add_artist(drawn)

    def marks(self, points: npt.NDArray[np.float64], mark: Mark, size: float) -> None:
        """Draw a mark of `size` pixels, edged in the background colour, at each point (x, y), shape (N, 2)."""
        from matplotlib.lines import Line2D

        drawn = Line2D(
            points[:, 0].tolist(),
            (self.height - points[:, 1]).tolist(),
            linestyle="none",
            marker=mark.shape,
            # Within the same box a triangle looks smaller than a circle.
            markersize=POINT * (1.25 * size if mark.shape == "^" else size),
            markerfacecolor=mark.color,
            markeredgecolor=self.theme.background,
            markeredgewidth=POINT * min(1.0, size / 6),
            transform=self._to_dots,
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
        halo: bool = False,
    ) -> float:
        """Write one line of plain text and return the x of its right end.

        `x` is the position of the left end, the middle or the right end of the text, depending on `align`; `size` is
        the font size in pixels. The middle of a text that would run over the right edge is replaced by an ellipsis, and
        line breaks by spaces. With a `halo` of the background's colour it can be read over an image.
        """
        text = printable(" ".join(text.split()))
        if not text:
            return x
        line = self._figure.text(
            x / self.width,
            1 - baseline / self.height,
            text,
            fontfamily=FONT,
            fontsize=size * POINT,
            fontweight="bold" if bold else "normal",
            color=color or self.theme.text,
            horizontalalignment=align,
            verticalalignment="baseline",
            usetex=False,
            parse_math=False,
        )
        if halo:
            from matplotlib.patheffects import withStroke

            around = withStroke(linewidth=3 * POINT, foreground=self.theme.background)
            line.set_path_effects([around])
        room = self.width - x - size if align == "left" else self.width
        kept = len(text)
        renderer = self._agg.get_renderer()  # type: ignore[no-untyped-call]
        with _any_script():
            while (box := line.get_window_extent(renderer)).width > room * self.zoom and kept > 1:
                kept = max(1, min(kept - 1, int(kept * room * self.zoom / box.width)))
                line.set_text(text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :])
        return float(box.x1) / self.zoom

    def png(self) -> bytes:
        """Return the bytes of a PNG of the canvas, with its title and description."""
        return self.rendered("png")

    def rendered(self, form: str) -> bytes:
        """Return the bytes of the canvas as a "png", "pdf" or "svg"."""
        return rendered(self._figure, form, *self._texts)

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write the canvas to a file as a PNG, a PDF or an SVG, which the end of its name tells.

        In a PDF and an SVG lines, marks and letters are drawn as such, and only images consist of pixels; either needs
        no other file: a PDF holds its fonts, an SVG its letters as curves.

        Raises:
            FileError: If `path` exists and `force` is False, or `path` cannot be written.
        """
        save_figure(self._figure, path, *self._texts, force=force)

    def colors(self) -> npt.NDArray[np.uint8]:
        """Return the RGB pixels of the canvas, shape (height, width, 3)."""
        with _any_script():
            self._agg.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(self._agg.buffer_rgba())  # type: ignore[no-untyped-call]
        return drawn[..., :3].copy()


def save_figure(figure: Any, path: Path, title: str, description: str, *, force: bool = False) -> None:
    """Write a figure of matplotlib to a file, see `Canvas.save`.

    Raises:
        FileError: If `path` exists and `force` is False, or `path` cannot be written.
    """
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(rendered(figure, format_of(path), title, description))


def rendered(figure: Any, form: str, title: str, description: str) -> bytes:
    """Return a figure of matplotlib as the bytes of a PNG, PDF or SVG with a title and a description.

    The same figure gives the same bytes: no date is stored.
    """
    import matplotlib

    # Letters of type 42 (TrueType) are what journals ask for.
    settings: dict[Any, Any] = {
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "softmorph",
    }
    about = "Subject" if form == "pdf" else "Description"
    texts: dict[str, str | None] = {
        name: text for name, text in (("Title", title), (about, description)) if text
    }
    if form != "png":
        texts |= {"Creator": "softmorph", {"pdf": "CreationDate", "svg": "Date"}[form]: None}
    held = io.BytesIO()
    with _SAVING, matplotlib.rc_context(settings), _any_script():
        figure.savefig(held, format=form, dpi=figure.dpi, metadata=texts)
    return held.getvalue()


@contextmanager
def _any_script() -> Iterator[None]:
    # A file name may be in a script this font lacks; boxes in a picture are no reason to warn.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
