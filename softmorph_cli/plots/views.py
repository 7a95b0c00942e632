"""Views of a volume as flat images: projections and slices, their orientation and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.volume import Volume, world_directions

AXIS_WORDS: Final = {"T": "time", "C": "channel"}

Box = tuple[slice, ...]


@dataclass(frozen=True)
class View:
    """One view of a map.

    Attributes:
        axis: The spatial axis of the projection or slice; None for a 2D image.
        plane: Index of the slice along `axis`; None for the maximum projection along `axis`.
        flips: Whether the image's rows and columns are reversed, so that up and right are superior, anterior and right.
        extent: Height and width, in the unit of the spacing.
        caption: Description of the view.
    """

    axis: int | None
    plane: int | None
    flips: tuple[bool, bool]
    extent: tuple[float, float]
    caption: str

    @property
    def shown(self) -> tuple[int, int]:
        """The array axes of the image's rows and columns."""
        return (1, 2) if self.axis == 0 else (0, 2) if self.axis == 1 else (0, 1)

    def oriented(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an image, whose rows and columns are in array order, flipped to the orientation of the view."""
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

    def spans(self, boxes: Sequence[Box], window: Box) -> list[npt.NDArray[np.float64]]:
        """Return the places of boxes of voxels in the image of a window of the map; a slice shows only some of them.

        Each place is given by two opposite corners, shape (2, 2), as shares of width and height of the image.
        """
        shape = [part.stop - part.start for part in window]
        spans = []
        for box in boxes:
            first = np.array([part.start - seen.start for part, seen in zip(box, window, strict=True)])
            last = np.array([part.stop - 1 - seen.start for part, seen in zip(box, window, strict=True)])
            if self.axis is None or self.plane is None or first[self.axis] <= self.plane <= last[self.axis]:
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
) -> list[View]:
    """Return the views of a map: an image itself, or a projection or slice of a volume along each axis.

    Views that are one voxel high or wide are left out, unless all are. `start` is the index of the first voxel in the
    whole map, to which captions refer; `planes` are the indices of slices along each axis, None for maximum
    projections.
    """
    if len(shape) == 2:
        return [_view(shape, spacing, (0, 1), None, None, "", None)]
    views = []
    for axis, rows, columns in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        if 1 in (shape[rows], shape[columns]) and shape.count(1) < 2:
            continue
        plane = None if planes is None else planes[axis]
        name = "zyx"[axis]
        caption = f"maximum along {name}" if plane is None else f"slice at {name} = {plane + start[axis]}"
        views.append(_view(shape, spacing, (rows, columns), axis, plane, caption, affine))
    return views


def _view(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    shown: tuple[int, int],
    axis: int | None,
    plane: int | None,
    caption: str,
    affine: npt.NDArray[np.float64] | None,
) -> View:
    flips = (False, False)
    if affine is not None:
        directions = world_directions(affine[:3, :3])
        (up, rises), (right, goes_right) = directions[shown[0]], directions[shown[1]]
        # Rows run downward: where the world coordinate rises with the row, the image is reversed.
        flips = (rises, not goes_right)
        caption += f" \u00b7 right {right}, up {up}"
    rows, columns = shown
    extent = (shape[rows] * spacing[rows], shape[columns] * spacing[columns])
    return View(axis, plane, flips, extent, caption)


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
