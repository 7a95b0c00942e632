"""A map with the curve through it, cut to what there is to see, and the sides it is looked at from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.plots.canvas import Sheet
from softmorph_cli.plots.layout import Cell
from softmorph_cli.plots.preview import BLACK, scale_top, voxel_size
from softmorph_cli.plots.projection import Held, images, is_dense, profiles
from softmorph_cli.plots.views import View, choose_views, first_index, resize, whole, window
from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph
from softmorph_cli.volume import Volume

# Soft values along a curve are told apart in this many steps.
STEPS: Final = 16
LINE: Final = (1.6, 3.0)  # pixels
MARK: Final = (3.0, 14.0)
# The share of a view's area that marks may cover before they shrink.
CROWDED: Final = 0.03


@dataclass(frozen=True)
class Scene:
    """What a picture of a graph shows.

    Attributes:
        array: The map, (Z, Y, X) or (Y, X), without wide empty margins.
        start: Where in the whole map it begins.
        cut: Whether anything was cut off.
        graph: The graph of the curve; its indices are those of the whole map.
        views: The sides it is seen from.
        spacing: Size of a voxel along each axis.
        unit: What it is in.
        top: The value that is brightest.
        dense: Whether a projection shows the map's mean along the axis, because the maximum would be a blot.
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

    @classmethod
    def of(cls, volume: Volume, graph: SkeletonGraph) -> Scene:
        """Put a map and the graph of its curve together.

        Raises:
            InputError: If the graph is of an image of another shape.
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
        held = [branch.voxels for branch in graph.branches] + [node.voxels for node in graph.nodes]
        if held:
            low = np.min([voxels.min(axis=0) for voxels in held], axis=0)
            high = np.max([voxels.max(axis=0) for voxels in held], axis=0)
            box = tuple(
                slice(min(part.start, int(a)), max(part.stop, int(b) + 1))
                for part, a, b in zip(box, low, high, strict=True)
            )
        dense = array.ndim == 3 and is_dense(Held(array), box, largest / 2)
        cut = array[box].shape != array.shape
        array = array[box]
        start = tuple(part.start for part in box)
        spacing, unit = voxel_size(array.ndim, volume.spacing, volume.unit)
        views = choose_views(array.shape, spacing, affine=volume.affine, start=start)
        return cls(array, start, cut, graph, tuple(views), spacing, unit, top, dense)

    def caption(self, view: View) -> str:
        """Say what a view shows."""
        words = view.caption.replace("maximum", "mean") if self.dense else view.caption
        return words.removeprefix(" \u00b7 ")

    def backdrop(self, view: View, height: int, width: int) -> npt.NDArray[np.float64]:
        """Return the map as seen from one side, in [0, 1], at a size in pixels."""
        if self.dense and view.axis is not None:
            mean = self.array.mean(axis=view.axis, dtype=np.float64)
            image = np.flip(mean, tuple(k for k in (0, 1) if view.flips[k]))
            return resize(image / max(float(image.max()), 1e-12), height, width)
        (image,) = images(Held(self.array), whole(self.array.shape), [view], [(height, width)])
        return image / self.top

    def curve(self, view: View) -> npt.NDArray[np.float64]:
        """Return the soft values of the curve's voxels as seen from one side, voxel for voxel; -1 beside them."""
        rows, columns = view.shown
        shape = (self.array.shape[rows], self.array.shape[columns])
        image = np.full(shape, -1.0)
        held = [branch.voxels for branch in self.graph.branches] + [node.voxels for node in self.graph.nodes]
        if held:
            index = np.concatenate(held) - self.start
            np.maximum.at(image, (index[:, rows], index[:, columns]), self.array[tuple(index.T)])
        return np.flip(image, tuple(k for k in (0, 1) if view.flips[k]))

    def draw(self, sheet: Sheet, view: View, cell: Cell, x: int, y: int) -> None:
        """Draw the map as seen from one side, the curve as smooth lines over it, and the marks of its nodes.

        Args:
            sheet: To draw on.
            view: The side.
            cell: The size in pixels.
            x: The upper left corner.
            y: The upper left corner.
        """
        sheet.image(x, y, self.backdrop(view, cell.height, cell.width), sheet.look.backdrop_colors)
        size, corner = np.array([cell.width, cell.height]), np.array([x, y])

        def places(index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
            return corner + size * view.places(index - self.start, self.array.shape)

        rows, columns = view.shown
        voxel = min(cell.height / self.array.shape[rows], cell.width / self.array.shape[columns])
        pieces = [piece for branch in self.graph.branches for piece in self._pieces(branch)]
        # The surest on top, as in the maximum along an axis.
        pieces.sort(key=lambda piece: piece[0])
        colors = sheet.look.curve_colors(np.array([value for value, _ in pieces]) / (STEPS - 1))
        width = float(np.clip(0.35 * voxel, *LINE))
        sheet.lines([places(index) for _, index in pieces], colors, width)
        marked = self.marked()
        count = sum(map(len, marked.values()))
        free = float(np.sqrt(CROWDED * cell.height * cell.width / max(count, 1)))
        diameter = float(np.clip(min(free, max(9.0, 0.4 * voxel)), *MARK))
        for kind, index in marked.items():
            if len(index):
                sheet.marks(places(index), sheet.look.marks[kind], diameter)

    def marked(self) -> dict[str, npt.NDArray[Any]]:
        """Return the array indices, shape (N, d), of the nodes to be marked, by kind, the rarest last.

        The only node of a ring is no place of its own: it is not marked.
        """
        found: dict[str, list[Any]] = {"junction": [], "end point": [], "voxel": []}
        for node in self.graph.nodes:
            if node.kind in found:
                found[node.kind].append(node.voxels[0])
        return {kind: np.array(index) for kind, index in found.items()}

    def _pieces(self, branch: Branch) -> list[tuple[int, npt.NDArray[np.float64]]]:
        """Cut a branch where its soft value takes another step: the step and the array indices of each piece."""
        frame = self.graph.frame
        index = (branch.points - frame.origin) @ np.linalg.pinv(frame.matrix).T
        known = branch.along.get(Quantity.CERTAINTY)
        values = self.array[tuple((branch.voxels - self.start).T)] if known is None else known
        # A stretch between two voxels is as sure as the less sure of them.
        steps = np.rint(np.minimum(values[1:], values[:-1]) * (STEPS - 1)).astype(int)
        cuts = np.flatnonzero(np.diff(steps)) + 1
        begins, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(steps)]
        return [(int(steps[a]), index[a : b + 1]) for a, b in zip(begins, ends, strict=True) if b > a]
