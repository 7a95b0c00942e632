"""The content of a picture of a skeleton graph: a cropped map, the graph of its curve, and the views to draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.plots.backdrop import Backdrop, Behind
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.coloring import BRANCH, CERTAINTY, GENERATION, Coloring, coloring_of
from softmorph_cli.plots.layout import Cell
from softmorph_cli.plots.options import DEFAULT, ViewOptions
from softmorph_cli.plots.preview import BLACK, scale_top, voxel_size
from softmorph_cli.plots.projection import Held, fullest_planes, images, is_dense, profiles
from softmorph_cli.plots.theme import Theme, grey_colors, rgb
from softmorph_cli.plots.views import View, choose_views, first_index, whole, window
from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph
from softmorph_cli.volume import Volume

LINE: Final = (1.6, 3.0)  # pixels
MARK: Final = (3.0, 14.0)
# Numbers are written beside at most so many branches, of at least so many pixels.
NUMBERED: Final = 60
ROOM: Final = 30
# The share of a view's area that marks may cover before they shrink.
CROWDED: Final = 0.03


@dataclass(frozen=True)
class Scene:
    """The content of a picture of a graph.

    Attributes:
        array: The map, (Z, Y, X) or (Y, X), without wide empty margins.
        start: Index in the whole map of the first voxel of `array`.
        cut: Whether margins were cut off.
        graph: The graph of the curve; its voxel indices refer to the whole map.
        views: The views that are drawn.
        spacing: Size of a voxel along each axis.
        unit: Unit of the spacing.
        top: The value that is drawn in the brightest grey.
        dense: Whether projections are means along the axis, because maxima would hide the inside of the map.
        behind: The image below the curve, in place of the map; None for the map.
        color: What the curve is coloured by, one of `softmorph_cli.plots.coloring.COLORINGS`.
    """

    array: npt.NDArray[Any]
    start: tuple[int, ...]
    cut: bool
    graph: SkeletonGraph
    views: tuple[View, ...]
    spacing: tuple[float, ...]
    unit: str
    top: float
    dense: bool
    behind: Behind | None = None
    color: str = CERTAINTY

    @classmethod
    def of(
        cls,
        volume: Volume,
        graph: SkeletonGraph,
        look: ViewOptions = DEFAULT,
        backdrop: Backdrop | None = None,
        color: str = CERTAINTY,
    ) -> Scene:
        """Return the scene of a map and the graph of its curve, over an image if there is one.

        Raises:
            InputError: If the graph belongs to an image of another shape.
        """
        array = first_index(volume)
        if array.shape != graph.shape:
            raise InputError(
                f"a map of shape {array.shape} and the graph of an image of shape {graph.shape} cannot be "
                "shown in one picture: they must agree."
            )
        along = profiles(Held(array))
        largest = float(along[0].max())
        top = scale_top(largest)
        box = window([along], BLACK * top)
        voxels = _voxels(graph)
        if len(voxels):
            box = tuple(
                slice(min(part.start, int(low)), max(part.stop, int(high) + 1))
                for part, low, high in zip(box, voxels.min(axis=0), voxels.max(axis=0), strict=True)
            )
        if backdrop is not None:
            box = whole(array.shape)
        dense = array.ndim == 3 and is_dense(Held(array), box, largest / 2)
        dense = dense if look.projection is None else look.projection == "mean"
        planes = fullest_planes(Held(array), box, top) if look.in_slices and array.ndim == 3 else None
        cut = array[box].shape != array.shape
        array = array[box]
        start = tuple(part.start for part in box)
        spacing, unit = voxel_size(array.ndim, volume.spacing, volume.unit)
        depths = look.depths(volume.spacing, volume.unit)
        place: dict[str, Any] = {"affine": volume.affine, "start": start, "planes": planes, "depths": depths}
        views = choose_views(array.shape, spacing, **place, look=look, mean=dense)
        behind = None if backdrop is None else backdrop.within(box, views)
        return cls(array, start, cut, graph, tuple(views), spacing, unit, top, dense, behind, color)

    def caption(self, view: View) -> str:
        """Return the caption of a view."""
        words = view.caption.removeprefix(" \u00b7 ")
        # The words on the image below say whether it is its maximum or its mean.
        projected = self.behind is not None and view.plane is None
        return words.replace("maximum ", "").replace("mean ", "") if projected else words

    def backdrop(self, view: View, height: int, width: int) -> npt.NDArray[np.float64]:
        """Return the map in a view, in [0, 1], at a size in pixels."""
        if self.behind is not None:
            return self.behind.image(view, height, width)
        (image,) = images(Held(self.array), whole(self.array.shape), [view], [(height, width)])
        return image / (max(float(image.max()), 1e-12) if view.mean else self.top)

    def curve(self, view: View) -> npt.NDArray[np.float64]:
        """Return the soft values of the curve's voxels in a view, one pixel a voxel; -1 elsewhere."""
        rows, columns = sorted(view.shown)
        image = np.full((self.array.shape[rows], self.array.shape[columns]), -1.0)
        index = _voxels(self.graph) - self.start
        np.maximum.at(image, (index[:, rows], index[:, columns]), self.array[tuple(index.T)])
        return view.oriented(image)

    def draw(self, canvas: Canvas, view: View, cell: Cell) -> None:
        """Draw a view in a cell of a canvas.

        The curve is drawn as smooth lines over the map, with the marks of its nodes on top.
        """
        backdrop = self.backdrop(view, *canvas.dots(cell.height, cell.width))
        greys = canvas.theme.backdrop_colors if self.behind is None else grey_colors
        canvas.image(cell.x, cell.y, backdrop, greys, size=(cell.height, cell.width))
        size, corner = np.array([cell.width, cell.height]), np.array([cell.x, cell.y])

        def places(index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
            return corner + size * view.places(index - self.start, self.array.shape)

        rows, columns = view.shown
        voxel = min(cell.height / self.array.shape[rows], cell.width / self.array.shape[columns])
        coloring = self.coloring(canvas.theme)
        pieces = [
            (color, part)
            for branch in self.graph.branches
            for color, index in self._pieces(branch, coloring)
            for part in view.parts_of(index, self.start, self.array.shape)
        ]
        # The most certain or widest on top, as in the maximum along an axis; the trunk over its branches.
        pieces.sort(key=lambda piece: piece[0], reverse=coloring.name in (GENERATION, BRANCH))
        colors = coloring.color(np.array([color for color, _ in pieces]))
        width = float(np.clip(0.35 * voxel, *LINE))
        paths = [places(index) for _, index in pieces]
        if self.behind is not None and paths:
            # Light and dark lines stand out from any grey.
            edge = rgb(canvas.theme.background)
            canvas.lines(paths, np.tile(edge, (len(paths), 1)), width + 2)
        canvas.lines(paths, colors, width)
        if coloring.name == BRANCH:
            self._number(canvas, view, places)
        marked = self.marked()
        count = sum(map(len, marked.values()))
        free = float(np.sqrt(CROWDED * cell.height * cell.width / max(count, 1)))
        diameter = float(np.clip(min(free, max(9.0, 0.4 * voxel)), *MARK))
        for kind, index in marked.items():
            shown = index[view.holds(index, self.start, self.array.shape)] if len(index) else index
            if len(shown):
                canvas.marks(places(shown), canvas.theme.marks[kind], diameter)

    def marked(self) -> dict[str, npt.NDArray[Any]]:
        """Return the array indices, shape (N, d), of the nodes to mark, by kind of node, the rarest kind last.

        The only node of a ring is arbitrary and not marked.
        """
        found: dict[str, list[Any]] = {"junction": [], "end point": [], "voxel": []}
        for node in self.graph.nodes:
            if node.kind in found:
                found[node.kind].append(node.voxels[0])
        return {kind: np.array(index) for kind, index in found.items()}

    def _number(
        self, canvas: Canvas, view: View, places: Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]]
    ) -> None:
        """Write its number at the middle of each branch that is long enough in a view, unless there are too many."""
        if len(self.graph.branches) > NUMBERED:
            return
        for branch in self.graph.branches:
            index = self.graph.frame.index(branch.points)
            for part in view.parts_of(index, self.start, self.array.shape):
                path = places(part)
                if np.ptp(path, axis=0).max() > ROOM:
                    x, y = path[len(path) // 2]
                    canvas.text(x, y - 4, str(branch.number), size=12, align="center", halo=True)

    def coloring(self, theme: Theme) -> Coloring:
        """Return the colours of the curve.

        Raises:
            InputError: If the graph has no values of the quantity that is asked for.
        """
        return coloring_of(self.color, self.graph, theme, self._certainty)

    def _certainty(self, branch: Branch) -> npt.NDArray[np.float64]:
        known = branch.along.get(Quantity.CERTAINTY)
        return self.array[tuple((branch.voxels - self.start).T)] if known is None else known

    def _pieces(self, branch: Branch, coloring: Coloring) -> list[tuple[int, npt.NDArray[np.float64]]]:
        """Return the pieces of a branch, cut where its colour changes: colour index and array indices of each."""
        index = self.graph.frame.index(branch.points)
        values = coloring.values(branch)
        if values is None:
            return [(-1, index)]
        # A segment between two voxels has the smaller of their values.
        steps = coloring.indices(np.minimum(values[1:], values[:-1]))
        cuts = np.flatnonzero(np.diff(steps)) + 1
        begins, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(steps)]
        return [(int(steps[a]), index[a : b + 1]) for a, b in zip(begins, ends, strict=True) if b > a]


def _voxels(graph: SkeletonGraph) -> npt.NDArray[np.int64]:
    """Return the array indices of all voxels of a graph, shape (N, d), some of them repeatedly."""
    parts = [branch.voxels for branch in graph.branches] + [node.voxels for node in graph.nodes]
    return np.concatenate(parts) if parts else np.empty((0, len(graph.shape)), np.int64)
