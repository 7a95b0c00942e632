"""Views of a volume as flat images: projections and slices, their orientation and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.options import DEFAULT, PictureOptions
from softmorph_cli.volume import Volume, world_directions

# The world axis across each plane of a body.
PLANES: Final = {"axial": "S", "coronal": "A", "sagittal": "R"}
_OTHER: Final = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
AXIS_WORDS: Final = {"T": "time", "C": "channel"}

Box = tuple[slice, ...]


@dataclass(frozen=True)
class View:
    """One view of a map.

    Attributes:
        axis: The spatial axis of the projection or slice; None for a 2D image.
        plane: Index of the slice along `axis`, or of the middle of a slab; None for the projection along `axis`.
        flips: Whether the image's rows and columns are reversed, so that up and right are superior, anterior and right.
        extent: Height and width, in the unit of the spacing.
        caption: Description of the view.
        depth: Number of slices of a slab.
        mean: Whether a projection is the mean, and not the maximum, along `axis`.
        turned: Whether the image's rows lie along the later array axis.
        letters: The sides of the body at the left, right, upper and lower edge, or empty.
    """

    axis: int | None
    plane: int | None
    flips: tuple[bool, bool]
    extent: tuple[float, float]
    caption: str
    depth: int = 1
    mean: bool = False
    turned: bool = False
    letters: str = ""

    @property
    def shown(self) -> tuple[int, int]:
        """The array axes of the image's rows and columns."""
        rows, columns = (1, 2) if self.axis == 0 else (0, 2) if self.axis == 1 else (0, 1)
        return (columns, rows) if self.turned else (rows, columns)

    def part(self, length: int) -> slice:
        """Return which indices are shown of an axis of a length, the one that the view looks along."""
        if self.plane is None:
            return slice(0, length)
        begin = max(0, self.plane - self.depth // 2)
        return slice(begin, min(length, begin + self.depth))

    def oriented(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an image, whose rows and columns are in array order, in the orientation of the view."""
        image = image.swapaxes(0, 1) if self.turned else image
        return np.flip(image, tuple(k for k in (0, 1) if self.flips[k]))

    def places(self, index: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the places of array indices, shape (N, d), in the view's image of an array of the given shape.

        The result has shape (N, 2): shares of the image's width from the left and of its height from the top. Indices
        may lie between voxels.
        """
        shares = []
        for axis, flip in zip(reversed(self.shown), reversed(self.flips), strict=True):
            share = (index[:, axis] + 0.5) / shape[axis]
            shares.append(1 - share if flip else share)
        return np.stack(shares, axis=-1)

    def holds(
        self, index: npt.NDArray[Any], start: Sequence[int], shape: Sequence[int]
    ) -> npt.NDArray[np.bool_]:
        """Return whether array indices, shape (N, d), of a map are in the slice or slab of an array cut from it.

        `start` is the index of the array's first voxel in the map, `shape` the shape of the array.
        """
        if self.axis is None or self.plane is None:
            return np.ones(len(index), np.bool_)
        part, along = self.part(shape[self.axis]), index[:, self.axis] - start[self.axis]
        return np.asarray((along > part.start - 0.5) & (along < part.stop - 0.5))

    def parts_of(
        self, line: npt.NDArray[np.float64], start: Sequence[int], shape: Sequence[int]
    ) -> list[npt.NDArray[np.float64]]:
        """Return the parts of a line, shape (N, d), that are in the slice or slab, with the points beside them."""
        inside = self.holds(line, start, shape)
        if inside.all():
            return [line]
        segments = np.flatnonzero(inside[1:] | inside[:-1])
        runs = np.split(segments, np.flatnonzero(np.diff(segments) > 1) + 1) if len(segments) else []
        return [line[run[0] : run[-1] + 2] for run in runs]

    def spans(self, boxes: Sequence[Box], window: Box) -> list[npt.NDArray[np.float64]]:
        """Return the places of boxes of voxels in the image of a window of the map; a slice shows only some of them.

        Each place is given by two opposite corners, shape (2, 2), as shares of width and height of the image.
        """
        shape = [part.stop - part.start for part in window]
        spans = []
        for box in boxes:
            first = np.array([part.start - frame.start for part, frame in zip(box, window, strict=True)])
            last = np.array([part.stop - 1 - frame.start for part, frame in zip(box, window, strict=True)])
            seen = None if self.axis is None else self.part(shape[self.axis])
            if seen is None or (first[self.axis] < seen.stop and last[self.axis] >= seen.start):
                spans.append(self.places(np.stack([first - 0.5, last + 0.5]), shape))
        return spans


def first_index(volume: Volume) -> npt.NDArray[Any]:
    """Return the first time, channel, ... of a volume as a view of its array, with the spatial axes alone."""
    array: npt.NDArray[Any] = volume.array[(0,) * len(volume.mapped_axes)]
    return array


def first_index_words(volume: Volume) -> str:
    """Return as text which of several times, channels, ... `first_index` returns; "" if the volume has only one."""
    words = []
    for axis, length in zip(volume.mapped_axes, volume.array.shape, strict=False):
        name = f" ({volume.channels[0]})" if axis == "C" and volume.channels else ""
        # Numbered as in the file, of which some channels may not have been read.
        numbers = volume.source.numbers if axis == "C" and volume.source and volume.source.numbers else (0,)
        many = f"{numbers[0]} to {numbers[-1]}" if numbers[0] else f"{length}"
        if length > 1:
            words.append(f"{AXIS_WORDS.get(axis, f'axis {axis}')} {numbers[0]}{name} of {many}")
    return "showing " + ", ".join(words) if words else ""


def whole(shape: tuple[int, ...]) -> Box:
    """Return the box of a whole map."""
    return tuple(slice(0, size) for size in shape)


def window(maps: Sequence[Sequence[npt.NDArray[Any]]], above: float) -> Box:
    """Return the bounding box, with a margin, of all maps' voxels above a value; the whole map if hardly larger.

    Each map is given by its maximum profiles along each axis.
    """
    box = []
    for profiles in zip(*maps, strict=True):
        length = len(profiles[0])
        held = np.flatnonzero(np.max(profiles, axis=0) > above)
        room = max(2, length // 20)
        first, last = (int(held[0]) - room, int(held[-1]) + 1 + room) if held.size else (0, length)
        box.append(slice(max(0, first), min(last, length)))
    shape = tuple(len(profile) for profile in maps[0])
    mostly = prod(part.stop - part.start for part in box) > 0.8 * prod(shape)
    return whole(shape) if mostly else tuple(box)


def choose_views(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    *,
    affine: npt.NDArray[np.float64] | None = None,
    start: tuple[int, ...] = (0, 0, 0),
    planes: tuple[int, ...] | None = None,
    look: PictureOptions = DEFAULT,
    depths: tuple[int, ...] = (1, 1, 1),
    mean: bool = False,
) -> list[View]:
    """Return the views of a map: an image itself, or a projection or slice of a volume along each axis.

    Views that are one voxel high or wide are left out, unless all are or `look` names them. `start` is the index of the
    first voxel in the whole map, to which captions refer; `planes` are the indices of slices along each axis, None for
    projections, and `depths` the numbers of slices around them; `mean` tells projections that are no maxima.
    """
    if len(shape) == 2:
        return [View(None, None, (False, False), (shape[0] * spacing[0], shape[1] * spacing[1]), "")]
    views = []
    for axis in chosen_axes(look, affine):
        rows, columns = (k for k in range(3) if k != axis)
        if not look.view_names and 1 in (shape[rows], shape[columns]) and shape.count(1) < 2:
            continue
        name = "zyx"[axis]
        plane, depth = (None, 1) if planes is None else (planes[axis], min(depths[axis], shape[axis]))
        caption = f"{'mean' if mean else 'maximum'} along {name}"
        if plane is not None:
            seen = View(axis, plane, (False, False), (0, 0), "", depth).part(shape[axis])
            first, last = seen.start + start[axis], seen.stop - 1 + start[axis]
            caption = f"slice at {name} = {first}" if depth == 1 else f"maximum of {name} = {first} to {last}"
        if affine is not None and (look.orientation or not set(look.view_names) <= set("zyx")):
            caption = f"{_plane_name(axis, affine)}, {caption}"
        turned, flips, words, letters = _orientation(axis, affine, look.orientation)
        if turned:
            rows, columns = columns, rows
        extent = (shape[rows] * spacing[rows], shape[columns] * spacing[columns])
        views.append(View(axis, plane, flips, extent, caption + words, depth, mean, turned, letters))
    return views


def chosen_axes(look: PictureOptions, affine: npt.NDArray[np.float64] | None) -> list[int]:
    """Return the array axes along which a volume is shown, in order."""
    if not look.view_names:
        return [0, 1, 2]
    directions = [] if affine is None else [letter for letter, _ in world_directions(affine[:3, :3])]
    return [
        "zyx".index(name) if name in "zyx" else directions.index(PLANES[name]) for name in look.view_names
    ]


def _plane_name(axis: int, affine: npt.NDArray[np.float64]) -> str:
    across = world_directions(affine[:3, :3])[axis][0]
    return next(name for name, letter in PLANES.items() if letter == across)


def _orientation(
    axis: int, affine: npt.NDArray[np.float64] | None, wanted: str | None
) -> tuple[bool, tuple[bool, bool], str, str]:
    """Return whether a view along an axis is turned, its flips, words on it, and the letters of its sides."""
    if affine is None:
        return False, (False, False), "", ""
    directions = world_directions(affine[:3, :3])
    rows, columns = (directions[k] for k in range(3) if k != axis)
    # Feet and back are below, whatever the order of the array.
    turned = wanted not in (None, "stored") and "RAS".index(rows[0]) < "RAS".index(columns[0])
    (up, rises), (right, goes_right) = (columns, rows) if turned else (rows, columns)
    # Rows run downward: where the world coordinate rises with the row, the image is reversed.
    flips = (rises, not goes_right)
    if wanted == "radiological" and right == "R":
        # The observer looks from the feet, or into the face: the patient's right is at the left.
        flips = (rises, goes_right)
    if wanted == "stored":
        flips = (False, False)
    to_right, to_top = (
        right if goes_right != flips[1] else _OTHER[right],
        up if rises == flips[0] else _OTHER[up],
    )
    words = f" \u00b7 right {to_right}, up {to_top}"
    return turned, flips, words, _OTHER[to_right] + to_right + to_top + _OTHER[to_top] if wanted else ""


def resize(image: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Return an image at another size, each axis resized independently.

    Shrinking takes the maximum of the voxels of a pixel, so that lines one voxel wide stay; growing repeats voxels.
    """
    for axis, size in enumerate((height, width)):
        length = image.shape[axis]
        if size < length:
            image = np.maximum.reduceat(image, np.arange(size) * length // size, axis=axis)
        else:
            image = image.take((2 * np.arange(size) + 1) * length // (2 * size), axis=axis)
    return image


def round_length(longest: float) -> float:
    """Return the longest of the lengths 1, 2 or 5 times a power of ten that is not above `longest` (> 0)."""
    power = 10.0 ** np.floor(np.log10(longest))
    # With a tolerance for rounding errors: 0.3 / 0.1 is a little below 3.
    factor = max(f for f in (0.5, 1.0, 2.0, 5.0, 10.0) if f * power <= longest * (1 + 1e-9))
    return float(f"{factor * power:.6g}")
