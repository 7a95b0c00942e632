"""Pictures of a skeleton in the terminal: pixel graphics if supported, otherwise half blocks or braille dots."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.style import Style
from rich.text import Text

from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.graph_preview import legend_words
from softmorph_cli.plots.graphics import VARIABLE, Graphics, NotShownError, detect, encode, installed, mode
from softmorph_cli.plots.layout import Cell
from softmorph_cli.plots.preview import TIMES
from softmorph_cli.plots.scene import Scene
from softmorph_cli.plots.theme import DARK
from softmorph_cli.plots.views import View, first_index_words, resize
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.volume import Volume

# Pixels of a character across and down; they are square if a character is twice as high as wide.
BLOCKS: Final = (1, 2)
DOTS: Final = (2, 4)
GAP: Final = 2
# The picture takes this share of the window's rows, as tables follow, but at least LEAST_ROWS.
SHARE: Final = 0.5
LEAST_ROWS: Final = 10
# Largest width of a voxel in columns.
LARGEST_VOXEL: Final = 8
# Views are left out if together they would cover less than this share of the area that fewer cover.
SMALLER: Final = 0.5
# Captions and footer are left out if images would get fewer rows than this.
FEWEST_ROWS: Final = 4
BETWEEN: Final = " \u00b7 "
BAR: Final = 10
UPPER: Final = "\u2580"
# The bits of the eight dots of a braille character, by row and column.
BRAILLE: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def picture(volume: Volume, graph: SkeletonGraph, *, width: int, height: int, colors: bool) -> RenderableType:
    """Return a picture of a skeleton over its map, for rich to print.

    A volume is shown along its three axes, side by side or one above the other as the window allows, or along fewer.
    World directions and margins are as in the previews. A map larger than the picture is reduced by taking maxima, so
    that the skeleton stays.

    With the extra `softmorph-cli[terminal]`, in a terminal with sixel or kitty graphics, the picture is that of
    `preview_graph`. Otherwise each character is an upper half block with two square pixels, the map in grey and the
    skeleton's voxels coloured by their soft value; if voxels are smaller than that, the skeleton is drawn in braille,
    eight dots a character. Without colours only the braille dots are drawn. The environment variable SOFTMORPH_PICTURES
    may be auto, blocks (half blocks without dots), sixel, kitty or none. The terminal must support Unicode.

    Args:
        volume: The map.
        graph: The graph of the map's skeleton.
        width: Number of columns of the terminal window.
        height: Number of rows of the terminal window, of which about half are used.
        colors: Whether the terminal has colours and NO_COLOR is not set.

    Raises:
        InputError: If the graph belongs to an image of another shape.
        UsageError: If SOFTMORPH_PICTURES is set to another value.
    """
    choice = mode()
    rows = min(height, max(LEAST_ROWS, int(SHARE * height)))
    if choice == "none" or width < 1 or rows < 1:
        return Group()
    scene = Scene.of(volume, graph)
    note = [Text(text) for text in [first_index_words(volume)] if text]
    required = choice in ("sixel", "kitty")
    if required and not installed():
        _warn(
            f"{choice} needs a library: pip install 'softmorph-cli[terminal]'; characters are shown instead."
        )
    if (graphics := detect(choice) if colors or required else None) is not None:
        try:
            return _with_pixels(scene, note, width, rows, graphics)
        except NotShownError as error:
            if required:
                _warn(f"{choice} failed ({error}); characters are shown instead.")
    if not colors:
        empty, off = "the skeleton is empty", "the skeleton alone, as dots: colours are off"
        layout = _arrange(scene, [Text(off if graph.nodes else empty), *note], width, rows, DOTS)
        return _lines(layout, [[_braille(scene, placed) for placed in group] for group in layout.groups])
    layout = _arrange(scene, [*_color_key(scene), *note], width, rows, BLOCKS)
    dotted = choice != "blocks" and not layout.solid
    return _lines(
        layout, [[_blocks(scene, placed, dotted=dotted) for placed in group] for group in layout.groups]
    )


def _warn(words: str) -> None:
    warnings.warn(f"{VARIABLE}: {words}", SoftmorphWarning, stacklevel=3)


@dataclass(frozen=True)
class PlacedView:
    """A view with its size in the terminal.

    Attributes:
        view: The view.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        columns: Width of image and caption in columns of characters.
        caption: Lines of the caption.
    """

    view: View
    height: int
    width: int
    columns: int
    caption: tuple[str, ...]


@dataclass(frozen=True)
class TerminalLayout:
    """An arrangement of views in groups: groups one above the other, the views of a group beside each other.

    Attributes:
        groups: The groups from top to bottom.
        footer: Lines of text below all groups.
        dots: Number of pixels of a character across and down.
        solid: Whether each voxel is at least one pixel.
    """

    groups: tuple[tuple[PlacedView, ...], ...]
    footer: tuple[Text, ...]
    dots: tuple[int, int]
    solid: bool

    @property
    def rows(self) -> int:
        """The total number of lines of the picture."""
        return sum(self.image_rows(g) + _caption_rows(g) for g in self.groups) + len(self.footer)

    @property
    def columns(self) -> int:
        """The width of the widest group in columns of characters."""
        return max((sum(p.columns for p in g) + GAP * (len(g) - 1) for g in self.groups), default=0)

    @property
    def tallest(self) -> int:
        """The height of the highest image in lines of characters."""
        return max(map(self.image_rows, self.groups))

    @property
    def area(self) -> int:
        """The number of pixels of all images together."""
        return sum(placed.height * placed.width for group in self.groups for placed in group)

    def image_rows(self, group: Sequence[PlacedView]) -> int:
        """Return the height of a group's images in lines of characters."""
        return max(-(-placed.height // self.dots[1]) for placed in group)


def _caption_rows(group: Sequence[PlacedView]) -> int:
    return max(len(placed.caption) for placed in group)


def _arrange(
    scene: Scene, notes: Sequence[Text], width: int, rows: int, dots: tuple[int, int]
) -> TerminalLayout:
    """Return the largest layout that fits the window; captions and footer are left out if images were too small."""
    captions = [_caption(scene, view) for view in scene.views]
    none: list[tuple[str, ...]] = [() for _ in captions]
    bare = _largest(scene, none, (), width, rows, dots)
    if bare is None:
        return TerminalLayout((), (), dots, solid=True)
    footer = _pack(notes, width)
    for shown_captions, lines in ((captions, footer), (captions, ()), (none, footer)):
        layout = _largest(scene, shown_captions, lines, width, rows, dots)
        # The images may have fewer rows if they have no more without the text.
        if layout is not None and layout.tallest >= min(FEWEST_ROWS, bare.tallest):
            return layout
    return bare


def _largest(
    scene: Scene,
    captions: Sequence[Sequence[str]],
    footer: tuple[Text, ...],
    width: int,
    rows: int,
    dots: tuple[int, int],
) -> TerminalLayout | None:
    smallest = min(scene.spacing)

    def at(scale: float, arrangement: Sequence[Sequence[int]]) -> TerminalLayout | None:
        groups = []
        for group in arrangement:
            placed = []
            for k in group:
                high, wide = (max(1, round(extent * scale)) for extent in scene.views[k].extent)
                columns = max(-(-wide // dots[0]), *map(cell_len, captions[k]), 0)
                under = tuple(line.plain for line in _pack([Text(line) for line in captions[k]], columns))
                placed.append(PlacedView(scene.views[k], high, wide, columns, under))
            groups.append(tuple(placed))
        layout = TerminalLayout(tuple(groups), footer, dots, solid=scale * smallest >= 1)
        return layout if layout.columns <= width and layout.rows <= rows else None

    found: list[TerminalLayout] = []
    for count in range(len(scene.views), 0, -1):
        beside, below = [list(range(count))], [[k] for k in range(count)]
        for arrangement in (beside, below) if count > 1 else (beside,):
            if at(0, arrangement) is None:
                continue
            low, high = 0.0, LARGEST_VOXEL * dots[0] / smallest
            for _ in range(30):
                middle = (low + high) / 2
                low, high = (middle, high) if at(middle, arrangement) else (low, middle)
            whole = math.floor(low * smallest + 1e-6)
            # Whole pixels a voxel look cleaner, if the views do not get much smaller.
            scale = whole / smallest if whole >= 0.8 * low * smallest and whole else low
            if layout := at(scale, arrangement) or at(low, arrangement):
                found.append(layout)
    most = max((layout.area for layout in found), default=0)
    return next((layout for layout in found if layout.area >= SMALLER * most), None)


def _caption(scene: Scene, view: View) -> tuple[str, ...]:
    high, wide = view.extent
    size = f"{_figure(wide)}{TIMES}{_figure(high)} {scene.unit}"
    return (*(words for words in scene.caption(view).split(BETWEEN) if words), size)


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"


def _color_key(scene: Scene) -> list[Text]:
    """Return a line that explains the colours, with a colour bar."""
    curve = Text("skeleton: soft value 0 ")
    for color in DARK.curve_colors(np.linspace(0, 1, BAR)):
        curve.append("\u2588", Style(color=_hex(color)))
    curve.append(" 1")
    empty = not scene.graph.nodes
    shown = "its mean along the axis" if scene.dense else f"brightest = {scene.top:g}"
    return [Text("the skeleton is empty") if empty else curve, Text(f"map in grey, {shown}")]


def _pack(pieces: Sequence[Text], width: int) -> tuple[Text, ...]:
    """Return pieces of text joined in order into as few lines as possible; too long lines end in an ellipsis."""
    lines: list[Text] = []
    for piece in pieces:
        if lines and lines[-1].cell_len + len(BETWEEN) + piece.cell_len <= width:
            lines[-1].append(BETWEEN).append_text(piece)
        else:
            lines.append(piece.copy())
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return tuple(lines)


def _blocks(scene: Scene, placed: PlacedView, *, dotted: bool) -> list[Text]:
    """Return a view as lines of upper half blocks, with the upper pixel as foreground, the lower as background.

    If `dotted` the skeleton is drawn as braille dots over the grey of a character, for voxels smaller than a pixel.
    """
    colors = DARK.backdrop_colors(scene.backdrop(placed.view, placed.height, placed.width))
    across, down = (DOTS[0] // BLOCKS[0], DOTS[1] // BLOCKS[1]) if dotted else (1, 1)
    curve = resize(scene.curve(placed.view), placed.height * down, placed.width * across)
    if not dotted:
        colors[curve >= 0] = DARK.curve_colors(curve[curve >= 0])
    odd = len(colors) % 2
    upper, lower = colors[::2], np.pad(colors[1::2], ((0, odd), (0, 0), (0, 0)))
    codes = _codes(curve >= 0) if dotted else np.zeros(upper.shape[:2], int)
    values = _cells(curve).max(axis=(2, 3)) if dotted else codes
    has_dots = codes > 0
    # Dots have one background colour, the brighter of both greys.
    lower = np.where(has_dots[..., None], np.maximum(upper, lower), lower)
    upper = np.where(has_dots[..., None], DARK.curve_colors(values), upper)
    characters = np.where(has_dots, 0x2800 + codes, ord(UPPER))
    lines = []
    for row in range(len(upper)):
        # The last line may have no lower pixels, where the window's background stays.
        bare = ~has_dots[row] & (bool(odd) and row == len(upper) - 1)
        both = np.column_stack([upper[row], lower[row], bare])
        begins = [0, *(np.flatnonzero((both[1:] != both[:-1]).any(axis=1)) + 1).tolist(), len(both)]
        line = Text()
        for begin, end in itertools.pairwise(begins):
            below = None if bare[begin] else _hex(lower[row, begin])
            words = "".join(map(chr, characters[row, begin:end].tolist()))
            line.append(words, Style(color=_hex(upper[row, begin]), bgcolor=below))
        lines.append(line)
    return lines


def _hex(color: npt.NDArray[np.uint8]) -> str:
    return "#" + color.tobytes().hex()


def _braille(scene: Scene, placed: PlacedView) -> list[Text]:
    """Return a view as lines of braille characters with dots where the skeleton is."""
    codes = _codes(resize(scene.curve(placed.view), placed.height, placed.width) >= 0)
    return [Text("".join(chr(0x2800 + code) if code else " " for code in row)) for row in codes.tolist()]


def _codes(dots: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return the braille pattern (0 to 255) of each character, given its 4 x 2 dots."""
    codes: npt.NDArray[Any] = ((_cells(dots) > 0) * BRAILLE).sum(axis=(2, 3))
    return codes


def _cells(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the pixels of an image grouped by character, shape (rows, columns, 4, 2), padded with -1 at the edges."""
    across, down = DOTS
    room = ((0, -values.shape[0] % down), (0, -values.shape[1] % across))
    whole = np.pad(values.astype(np.float64), room, constant_values=-1)
    return whole.reshape(len(whole) // down, down, -1, across).transpose(0, 2, 1, 3)


def _lines(layout: TerminalLayout, images: Sequence[Sequence[Sequence[Text]]]) -> RenderableType:
    """Return the lines of a picture: images made of characters, their captions, and the footer."""
    lines: list[Text] = []
    for group, drawn in zip(layout.groups, images, strict=True):
        lines += _beside(group, drawn, layout.image_rows(group)) + _captions(group)
    return Group(*map(_unwrapped, [*lines, *layout.footer]))


def _beside(group: Sequence[PlacedView], blocks: Sequence[Sequence[Text]], rows: int) -> list[Text]:
    lines = []
    for row in range(rows):
        line, end = Text(), 0
        for placed, block in zip(group, blocks, strict=True):
            line.append(" " * (end - line.cell_len))
            if row < len(block):
                line.append_text(block[row])
            end += placed.columns + GAP
        lines.append(line)
    return lines


def _captions(group: Sequence[PlacedView]) -> list[Text]:
    return _beside(group, [[Text(line) for line in placed.caption] for placed in group], _caption_rows(group))


def _unwrapped(line: Text) -> Text:
    line.rstrip()
    line.no_wrap, line.overflow = True, "crop"
    return line


def _with_pixels(
    scene: Scene, note: Sequence[Text], width: int, rows: int, graphics: Graphics
) -> RenderableType:
    """Return the picture in pixel graphics, with captions and footer as text."""
    key = _color_key(scene)
    for text, kind in legend_words(scene):
        mark = DARK.marks[kind]
        key.append(Text.assemble((mark.character, Style(color=mark.color)), f" {text}"))
    layout = _arrange(scene, [*key, *note], width, rows, graphics.cell)
    shown: list[Any] = []
    for group in layout.groups:
        across, down = graphics.cell
        columns = sum(placed.columns for placed in group) + GAP * (len(group) - 1)
        canvas = Canvas(columns * across, layout.image_rows(group) * down)
        left = 0
        for placed in group:
            scene.draw(canvas, placed.view, Cell(left, 0, placed.height, placed.width))
            left += (placed.columns + GAP) * across
        shown += [encode(canvas.colors(), graphics), *map(_unwrapped, _captions(group))]
    return Group(*shown, *map(_unwrapped, layout.footer))
