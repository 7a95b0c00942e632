"""The picture of a skeleton in the terminal: pixels where it can show them, half blocks or dots elsewhere."""

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
from softmorph_cli.plots.graphics import VARIABLE, Graphics, NotShownError, detect, encode, installed, wanted
from softmorph_cli.plots.layout import Cell
from softmorph_cli.plots.preview import TIMES
from softmorph_cli.plots.scene import Scene
from softmorph_cli.plots.theme import DARK
from softmorph_cli.plots.views import View, first_index_words, resize
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.volume import Volume

# Pixels of a character across and down; in both they are square where a character is twice as high as wide.
BLOCKS: Final = (1, 2)
DOTS: Final = (2, 4)
GAP: Final = 2
# The picture leaves room for the tables: half the window, but not less than this where there is as much.
SHARE: Final = 0.5
LEAST_ROWS: Final = 10
# A voxel is not drawn larger than this many columns.
LARGEST_VOXEL: Final = 8
# More views are better, until all together they cover less than this share of what fewer would cover.
SMALLER: Final = 0.5
FEWEST_ROWS: Final = 4
BETWEEN: Final = " \u00b7 "
BAR: Final = 10
UPPER: Final = "\u2580"
# The bits of the eight dots of a braille character, by row and column.
BRAILLE: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def picture(volume: Volume, graph: SkeletonGraph, *, width: int, height: int, colors: bool) -> RenderableType:
    """Return a picture of a skeleton over its map, for rich to print.

    A volume is seen along its three axes, side by side or one above the other as the window allows, or along
    fewer. World directions and margins are as in the previews. A map larger than the picture is reduced by
    taking maxima, so that the skeleton stays.

    With the extra `softmorph-cli[terminal]`, in a terminal that shows sixel or kitty graphics, these are real
    pixels, as in `preview_graph`. Elsewhere each character holds two square ones, as an upper half block: the map
    in grey, the skeleton's voxels coloured by their soft value. Where voxels are smaller than that, the skeleton
    is drawn in braille's dots, eight to a character. Without colours it is all there is. The environment variable
    SOFTMORPH_PICTURES may be auto, blocks (half blocks and no dots), sixel, kitty or none. All this is for a
    terminal that shows Unicode: elsewhere print no picture.

    Args:
        volume: The map.
        graph: The graph of its skeleton.
        width: Columns of the window.
        height: Rows of the window; about half of them are used.
        colors: Whether the terminal shows colours: it has some, and NO_COLOR is not set.

    Raises:
        InputError: If the graph is of an image of another shape.
        UsageError: If SOFTMORPH_PICTURES is set to something else.
    """
    choice = wanted()
    rows = min(height, max(LEAST_ROWS, int(SHARE * height)))
    if choice == "none" or width < 1 or rows < 1:
        return Group()
    scene = Scene.of(volume, graph)
    also = [first_index_words(volume)] if first_index_words(volume) else []
    asked_for = choice in ("sixel", "kitty")
    if asked_for and not installed():
        _warn(
            f"{choice} needs a library: pip install 'softmorph-cli[terminal]'; characters are shown instead."
        )
    if (graphics := detect(choice) if colors or asked_for else None) is not None:
        try:
            return _with_pixels(scene, also, width, rows, graphics)
        except NotShownError as error:
            if asked_for:
                _warn(f"{choice} failed ({error}); characters are shown instead.")
    if not colors:
        empty, off = "the skeleton is empty", "the skeleton alone, as dots: colours are off"
        plan = _plan(scene, [Text(off if graph.nodes else empty), *map(Text, also)], width, rows, DOTS)
        return _lines(plan, [[_braille(scene, place) for place in group] for group in plan.groups])
    plan = _plan(scene, [*_words(scene), *map(Text, also)], width, rows, BLOCKS)
    fine = choice != "blocks" and not plan.solid
    return _lines(plan, [[_blocks(scene, place, fine=fine) for place in group] for group in plan.groups])


def _warn(words: str) -> None:
    warnings.warn(f"{VARIABLE}: {words}", SoftmorphWarning, stacklevel=3)


@dataclass(frozen=True)
class PlacedView:
    """Where a view goes: its image's size in pixels, its block's columns, the words under it."""

    view: View
    height: int
    width: int
    columns: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class TerminalLayout:
    """Groups of views, those of one group beside each other, and the lines under all.

    Attributes:
        groups: From the top.
        footer: Under all.
        dots: Pixels of a character across and down.
        solid: Whether each voxel is a pixel at least.
    """

    groups: tuple[tuple[PlacedView, ...], ...]
    footer: tuple[Text, ...]
    dots: tuple[int, int]
    solid: bool

    @property
    def rows(self) -> int:
        """Lines in all."""
        return sum(self.image_rows(g) + _deepest(g) for g in self.groups) + len(self.footer)

    @property
    def columns(self) -> int:
        """Columns of the widest group."""
        return max((sum(p.columns for p in g) + GAP * (len(g) - 1) for g in self.groups), default=0)

    @property
    def tallest(self) -> int:
        """Lines of the highest image."""
        return max(map(self.image_rows, self.groups))

    @property
    def area(self) -> int:
        """Pixels of all images."""
        return sum(place.height * place.width for group in self.groups for place in group)

    def image_rows(self, group: Sequence[PlacedView]) -> int:
        """Lines of a group's images."""
        return max(-(-place.height // self.dots[1]) for place in group)


def _deepest(group: Sequence[PlacedView]) -> int:
    return max(len(place.words) for place in group)


def _plan(
    scene: Scene, words: Sequence[Text], width: int, rows: int, dots: tuple[int, int]
) -> TerminalLayout:
    """Return the plan that shows most in this many columns and rows; words are given up before images."""
    captions = [_caption(scene, view) for view in scene.views]
    none: list[tuple[str, ...]] = [() for _ in captions]
    bare = _largest(scene, none, (), width, rows, dots)
    if bare is None:
        return TerminalLayout((), (), dots, solid=True)
    footer = _pack(words, width)
    for under, lines in ((captions, footer), (captions, ()), (none, footer)):
        plan = _largest(scene, under, lines, width, rows, dots)
        # An image of few rows is worth less than what stands under it, unless it never has more.
        if plan is not None and plan.tallest >= min(FEWEST_ROWS, bare.tallest):
            return plan
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
            places = []
            for k in group:
                high, wide = (max(1, round(extent * scale)) for extent in scene.views[k].extent)
                columns = max(-(-wide // dots[0]), *map(cell_len, captions[k]), 0)
                under = tuple(line.plain for line in _pack([Text(words) for words in captions[k]], columns))
                places.append(PlacedView(scene.views[k], high, wide, columns, under))
            groups.append(tuple(places))
        plan = TerminalLayout(tuple(groups), footer, dots, solid=scale * smallest >= 1)
        return plan if plan.columns <= width and plan.rows <= rows else None

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
            # Whole pixels for each voxel look cleaner, where that costs little.
            scale = whole / smallest if whole >= 0.8 * low * smallest and whole else low
            if plan := at(scale, arrangement) or at(low, arrangement):
                found.append(plan)
    most = max((plan.area for plan in found), default=0)
    return next((plan for plan in found if plan.area >= SMALLER * most), None)


def _caption(scene: Scene, view: View) -> tuple[str, ...]:
    high, wide = view.extent
    size = f"{_figure(wide)}{TIMES}{_figure(high)} {scene.unit}"
    return (*(words for words in scene.caption(view).split(BETWEEN) if words), size)


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"


def _words(scene: Scene) -> list[Text]:
    """Say what the colours mean, with a bar of them."""
    curve = Text("skeleton: soft value 0 ")
    for color in DARK.curve_colors(np.linspace(0, 1, BAR)):
        curve.append("\u2588", Style(color=_hex(color)))
    curve.append(" 1")
    empty = not scene.graph.nodes
    shown = "its mean along the axis" if scene.dense else f"brightest = {scene.top:g}"
    return [Text("the skeleton is empty") if empty else curve, Text(f"map in grey, {shown}")]


def _pack(pieces: Sequence[Text], width: int) -> tuple[Text, ...]:
    """Join pieces into as few lines as their order allows; what is too long ends in an ellipsis."""
    lines: list[Text] = []
    for piece in pieces:
        if lines and lines[-1].cell_len + len(BETWEEN) + piece.cell_len <= width:
            lines[-1].append(BETWEEN).append_text(piece)
        else:
            lines.append(piece.copy())
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return tuple(lines)


def _blocks(scene: Scene, place: PlacedView, *, fine: bool) -> list[Text]:
    """Return lines of upper half blocks: their colour is the upper pixel's, their background the lower one's.

    Args:
        scene: What is shown.
        place: How large.
        fine: Whether the skeleton, where it passes through a character, is drawn as braille's dots over that
            character's grey. A voxel smaller than a pixel would make it a blot.
    """
    colors = DARK.backdrop_colors(scene.backdrop(place.view, place.height, place.width))
    across, down = (DOTS[0] // BLOCKS[0], DOTS[1] // BLOCKS[1]) if fine else (1, 1)
    curve = resize(scene.curve(place.view), place.height * down, place.width * across)
    if not fine:
        colors[curve >= 0] = DARK.curve_colors(curve[curve >= 0])
    odd = len(colors) % 2
    upper, lower = colors[::2], np.pad(colors[1::2], ((0, odd), (0, 0), (0, 0)))
    codes = _codes(curve >= 0) if fine else np.zeros(upper.shape[:2], int)
    surest = _cells(curve).max(axis=(2, 3)) if fine else codes
    dotted = codes > 0
    # Behind dots one grey has to do for both pixels, the brighter one.
    lower = np.where(dotted[..., None], np.maximum(upper, lower), lower)
    upper = np.where(dotted[..., None], DARK.curve_colors(surest), upper)
    characters = np.where(dotted, 0x2800 + codes, ord(UPPER))
    lines = []
    for row in range(len(upper)):
        # The last line may have no lower pixels: there the window's own background stays.
        bare = ~dotted[row] & (bool(odd) and row == len(upper) - 1)
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


def _braille(scene: Scene, place: PlacedView) -> list[Text]:
    """Return lines of dots where the skeleton is."""
    codes = _codes(resize(scene.curve(place.view), place.height, place.width) >= 0)
    return [Text("".join(chr(0x2800 + code) if code else " " for code in row)) for row in codes.tolist()]


def _codes(dots: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return braille's pattern, 0 to 255, for each 4 x 2 dots."""
    codes: npt.NDArray[Any] = ((_cells(dots) > 0) * BRAILLE).sum(axis=(2, 3))
    return codes


def _cells(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pixels character by character, shape (rows, columns, 4, 2); what is missing at the edges is -1."""
    across, down = DOTS
    room = ((0, -values.shape[0] % down), (0, -values.shape[1] % across))
    whole = np.pad(values.astype(np.float64), room, constant_values=-1)
    return whole.reshape(len(whole) // down, down, -1, across).transpose(0, 2, 1, 3)


def _lines(plan: TerminalLayout, images: Sequence[Sequence[Sequence[Text]]]) -> RenderableType:
    """Put images of characters and the words under them together."""
    lines: list[Text] = []
    for group, drawn in zip(plan.groups, images, strict=True):
        lines += _beside(group, drawn, plan.image_rows(group)) + _captions(group)
    return Group(*map(_as_it_is, [*lines, *plan.footer]))


def _beside(group: Sequence[PlacedView], blocks: Sequence[Sequence[Text]], rows: int) -> list[Text]:
    lines = []
    for row in range(rows):
        line, end = Text(), 0
        for place, block in zip(group, blocks, strict=True):
            line.append(" " * (end - line.cell_len))
            if row < len(block):
                line.append_text(block[row])
            end += place.columns + GAP
        lines.append(line)
    return lines


def _captions(group: Sequence[PlacedView]) -> list[Text]:
    return _beside(group, [[Text(words) for words in place.words] for place in group], _deepest(group))


def _as_it_is(line: Text) -> Text:
    line.rstrip()
    line.no_wrap, line.overflow = True, "crop"
    return line


def _with_pixels(
    scene: Scene, also: Sequence[str], width: int, rows: int, graphics: Graphics
) -> RenderableType:
    """Return the picture in real pixels, the words under it in the terminal's own letters."""
    words = _words(scene)
    for text, kind in legend_words(scene):
        mark = DARK.marks[kind]
        words.append(Text.assemble((mark.character, Style(color=mark.color)), f" {text}"))
    plan = _plan(scene, [*words, *map(Text, also)], width, rows, graphics.cell)
    shown: list[Any] = []
    for group in plan.groups:
        across, down = graphics.cell
        columns = sum(place.columns for place in group) + GAP * (len(group) - 1)
        canvas = Canvas(columns * across, plan.image_rows(group) * down)
        left = 0
        for place in group:
            scene.draw(canvas, place.view, Cell(left, 0, place.height, place.width), left, 0)
            left += (place.columns + GAP) * across
        shown += [encode(canvas.colors(), graphics), *map(_as_it_is, _captions(group))]
    return Group(*shown, *map(_as_it_is, plan.footer))
