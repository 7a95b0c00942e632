"""Pictures of slices in rows: of a map that was completed, and of an image that a prior has segmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.classes import background
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.options import DEFAULT, PictureOptions
from softmorph_cli.plots.preview import size_words, voxel_size
from softmorph_cli.plots.prior_sheet import Picture, Row, draw_sheet
from softmorph_cli.plots.views import Box, choose_views, first_index_words, whole, window
from softmorph_cli.volume import Volume

# Columns of slices; a cut across them stands before them.
SLICES: Final = 9
PANEL: Final = 130
OBSERVED, FILLED, MEAN = "observed", "filled", "the prior's mean"
IMAGE, FOUND = "image", "segmented"
# The probability below which margins are cut off.
_EMPTY: Final = 0.01

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def draw_completion(
    before: Volume,
    after: Volume,
    invented: Mask,
    axis: str,
    channels: int | None,
    path: Path,
    *,
    mean: Volume | None = None,
    classes: Mapping[int, str] | None = None,
    title: str = "",
    facts: Sequence[str] = (),
    force: bool = False,
    look: PictureOptions = DEFAULT,
) -> None:
    """Write a picture that shows the invented slices of a map between those beside them.

    A map in 3D is shown as rows of at most 9 slices along the axis, after a cut across all slices; a 2D map whole.
    The orientation is that of `softmorph_cli.plots.preview`; of several times the first is shown.

    Args:
        before: The map that was read, on the grid of the result.
        after: The result.
        invented: Whether each voxel is invented, of the result's spatial shape.
        axis: The letter of the axis of the slices.
        channels: The array axis along which channels are classes, None for a single image.
        path: The PNG, PDF or SVG to write.
        mean: What a prior gives without the map, on the same grid; None without a prior.
        classes: The name of each channel that is a class and no background; None for what the map itself says.
        title: First line of the picture.
        facts: Further lines below it.
        force: Whether an existing file may be replaced.
        look: The options of the picture.

    Raises:
        FileError: If `path` exists and `force` is False, or `path` cannot be written.
    """
    maps = {OBSERVED: before, FILLED: after} | ({} if mean is None else {MEAN: mean})
    names = _classes(after, channels) if classes is None else dict(classes)
    shares = {name: _shares(one, channels, list(names)) for name, one in maps.items()}
    which = first_index_words(after if channels is None else _one_class(after, channels))
    box = (
        _without_margins(shares[FILLED], "zyx".index(axis.lower()))
        if invented.ndim == 3
        else whole(invented.shape)
    )
    words = (tuple(names.values()), title, (*facts, which), look.of_file(path))
    _sheet(after, shares, invented, axis, box, *words).save(path, force=force)


def draw_segmentation(
    image: Volume,
    found: Array,
    classes: Sequence[str],
    path: Path,
    *,
    title: str = "",
    facts: Sequence[str] = (),
    force: bool = False,
    look: PictureOptions = DEFAULT,
) -> None:
    """Write a picture of an image and its classes; in 3D as rows of at most 9 slices along z, after a cut across them.

    Args:
        image: The image, from 0 to 1.
        found: Probabilities of its classes without the background, of shape (classes, *grid).
        classes: The names of these classes.
        path: The PNG, PDF or SVG to write.
        title: First line of the picture.
        facts: Further lines below it.
        force: Whether an existing file may be replaced.
        look: The options of the picture.

    Raises:
        FileError: If `path` exists and `force` is False, or `path` cannot be written.
    """
    shares = {IMAGE: image.array[np.newaxis], FOUND: found}
    nothing = np.zeros(image.array.shape, np.bool_)
    axis, box = image.axes[0], whole(image.array.shape)
    words = (classes, title, facts, look.of_file(path))
    _sheet(image, shares, nothing, axis, box, *words).save(path, force=force)


def _sheet(
    grid: Volume,
    shares: Mapping[str, Array],
    invented: Mask,
    axis: str,
    box: Box,
    classes: Sequence[str],
    title: str,
    facts: Sequence[str],
    look: PictureOptions,
) -> Canvas:
    """Return the sheet of maps on a grid, of which a box is shown."""
    lines = [*facts, size_words(invented.shape, grid.spacing, grid.unit)]
    if invented.ndim == 2:
        sizes, _ = voxel_size(2, grid.spacing, grid.unit)
        pictures = [_picture(name, found, invented, sizes) for name, found in shares.items()]
        rows, columns = [Row("", tuple(pictures))], list(shares)
    else:
        rows, columns, more = _in_slices(grid, shares, invented, "zyx".index(axis.lower()), box, look)
        lines[-1] += more
    panel = PANEL if invented.ndim == 3 else 2 * PANEL
    return draw_sheet(rows, columns, classes, title=title, facts=lines, panel=panel, look=look)


def _without_margins(filled: Array, axis: int) -> Box:
    """Return the box of a map in 3D that holds something, and all slices along an axis."""
    profiles = [filled.max(axis=(0, *(1 + k for k in range(3) if k != along))) for along in range(3)]
    box = list(window([profiles], _EMPTY))
    box[axis] = slice(0, filled.shape[1 + axis])
    return tuple(box)


def _in_slices(
    grid: Volume, shares: Mapping[str, Array], invented: Mask, axis: int, box: Box, look: PictureOptions
) -> tuple[list[Row], list[str], str]:
    """Return the rows of pictures of maps in 3D, the heads of the columns, and how the slices lie."""
    cropped = invented.shape != tuple(part.stop - part.start for part in box)
    shares = {name: found[:, *box] for name, found in shares.items()}
    filled, invented = shares[FILLED if FILLED in shares else FOUND], invented[*box]
    sizes, _ = voxel_size(3, grid.spacing, grid.unit)

    others = tuple(k for k in range(3) if k != axis)
    amount = filled.sum(axis=(0, *(1 + k for k in others)))
    gone = invented.mean(axis=others) > 0.5
    slices = chosen_slices(gone, amount)
    across = 0 if axis == 1 else 1
    fullest = int(filled.sum(axis=(0, *(1 + k for k in range(3) if k != across))).argmax())
    cuts = [(across, fullest), *((axis, k) for k in slices)]

    views = {view.axis: view for view in choose_views(invented.shape, sizes, affine=grid.affine, look=look)}
    rows = []
    for name, found in shares.items():
        pictures = []
        for along, at in cuts:
            image, mask = found.take(at, 1 + along), np.asarray(invented.take(at, along))
            if along in views:
                image = np.stack([views[along].oriented(one) for one in image])
                mask = views[along].oriented(mask)
            shown = views[along].shown if along in views else [k for k in range(3) if k != along]
            rest = [sizes[k] for k in shown]
            pictures.append(_picture(name, image, mask, rest))
        rows.append(Row(name, tuple(pictures)))
    heads = [f"{'zyx'[along]} = {at + box[along].start}" for along, at in cuts]
    lies = [views[k].caption.partition(" \u00b7 ")[2] for k in (across, axis) if k in views]
    words = [
        f"{head}: {lie}"
        for head, lie in zip((heads[0], f"slices along {'zyx'[axis]}"), lies, strict=False)
        if lie
    ]
    words += ["margins cut off"] if cropped else []
    if more := gaps_left_out(gone, slices):
        words.append(f"{more} more gap{'s' if more > 1 else ''} not shown")
    return rows, heads, "".join(f" \u00b7 {word}" for word in words)


def chosen_slices(invented: Mask, amount: npt.NDArray[np.float64], most: int = SLICES) -> list[int]:
    """Return the indices of slices to show: runs of invented slices, each with the slice before and after it.

    Runs whose slices hold most come first, as long as there is room. Of a run that is longer than that, slices at equal
    distances are taken; without invented slices, of all.

    Args:
        invented: Whether each slice is invented.
        amount: How much each slice holds.
        most: The largest number of slices.
    """
    from scipy.ndimage import find_objects, label

    labels, _ = label(invented)
    runs = [
        range(max(0, run.start - 1), min(len(invented), run.stop + 1)) for (run,) in find_objects(labels)
    ] or [range(len(invented))]
    taken: set[int] = set()
    for run in sorted(runs, key=lambda run: -float(amount[run.start : run.stop].max())):
        if len(taken | set(run)) <= most:
            taken |= set(run)
        elif not taken:
            taken |= {run[round(at)] for at in np.linspace(0, len(run) - 1, most)}
    return sorted(taken)


def gaps_left_out(invented: Mask, shown: Sequence[int]) -> int:
    """Return the number of runs of invented slices of which no slice is shown.

    Args:
        invented: Whether each slice is invented.
        shown: The indices of the slices that are shown.

    >>> gaps_left_out(np.array([False, True, True, False, True, False]), [0, 1, 2, 3])
    1
    """
    from scipy.ndimage import label

    labels, count = label(invented)
    return int(count) - len(set(labels[list(shown)].tolist()) - {0})


def _one_class(volume: Volume, axis: int) -> Volume:
    """Return the first class of a map, without the axis of classes, whatever its letter."""
    axes = volume.axes[:axis] + volume.axes[axis + 1 :]
    return replace(volume, array=volume.array.take(0, axis), axes=axes, channels=None)


def _picture(name: str, shares: Array, invented: Mask, sizes: Sequence[float]) -> Picture:
    return Picture(
        shares,
        (sizes[0], sizes[1]),
        hidden=invented if name == OBSERVED else None,
        invented=invented if name == FILLED else None,
        colors=("#ffffff",) if name == IMAGE else None,
    )


def _classes(volume: Volume, axis: int | None) -> dict[int, str]:
    """Return the channels that are classes and no background, with their names."""
    if axis is None:
        return {0: "probability"}
    count = volume.array.shape[axis]
    if volume.channels is not None:
        return {k: name for k, name in enumerate(volume.channels) if name.lower() != "background"}
    without = background(np.moveaxis(volume.array, axis, 0), None) if count > 1 else None
    # Numbered as the classes of a prior are.
    return {k: f"class {at}" for at, k in enumerate((k for k in range(count) if k != without), 1)}


def _shares(volume: Volume, axis: int | None, kept: list[int]) -> Array:
    """Return the probabilities of channels of the first of several times, of shape (channels, *grid)."""
    array = volume.array[np.newaxis] if axis is None else np.moveaxis(volume.array, axis, 0)
    first: tuple[Any, ...] = (slice(None), *(0 for _ in range(array.ndim - 1 - volume.spatial_dims)))
    return np.asarray(array[first][kept], np.float32)
