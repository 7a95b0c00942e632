"""Completion of a map: its missing slices are filled, and it is interpolated on another grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from operator import gt
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.completion import between, slices
from softmorph_cli.completion.slices import Stack
from softmorph_cli.errors import InputError
from softmorph_cli.filters import coarser, resample
from softmorph_cli.filters.fitted import FittedPrior, figures, told
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import SLICE, Volume, rectangular

if TYPE_CHECKING:
    from softmorph_cli.filters.operations.interpolate import Interpolate

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]

# Two positions that differ by less, in voxels, are one: files round the numbers of an affine to float32.
_NEAR: Final = 1e-4
# Arrays of scores that are alive at once, as measured; without scores, none.
_WORKING: Final = {"logit": 3, "linear": 0, "nearest": 0, "shape": 4, "prior": 5}


@dataclass(frozen=True)
class Completion:
    """A completed map, and which of its voxels are invented.

    Attributes:
        volume: The map, on its grid.
        invented: Whether a voxel is invented, of the map's spatial shape: no observed slice of the input passes through
            the voxel.
        resolved: The axis and the missing slices as resolved for this map: parameters of the operation.
        document: The entry `interpolation` of the step in the JSON document.
        moved: Whether the grid is another than that of the map that was read.
        notes: Notes for the user, one sentence each.
        warnings: Warnings for the user, one sentence each.
        shortfall: If a fit is poorer than requested, the sentence that says so.
        fits: The fits of a prior, one for each group of channels; empty without a prior.
    """

    volume: Volume
    invented: Mask
    resolved: dict[str, Any]
    document: dict[str, Any]
    moved: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shortfall: str | None = None
    fits: tuple[FittedPrior, ...] = ()

    @property
    def device(self) -> str:
        """The device of the fit; "cpu" without one."""
        return self.fits[0].fit.device if self.fits else "cpu"

    @property
    def mask(self) -> Volume:
        """The invented voxels as a map of 0 and 1 on the grid of the completed map."""
        volume = self.volume
        array = self.invented.astype(volume.array.dtype)
        return replace(volume, array=array, axes=volume.spatial_axes, channels=None, source=None)

    def seen(self, volume: Volume) -> Volume:
        """Return the map that was read on the grid of the completed map, by its nearest voxels, for a picture."""
        grid = self.volume
        if not self.moved:
            return volume
        matrix = _matrix(volume, grid)
        images = volume.array.reshape(*volume.array.shape[: -volume.spatial_dims], *_three(volume))
        found = resample.at_places(images, matrix[:3, :3], matrix[:3, 3], _three(grid), 0)
        return replace(grid, array=found.reshape(grid.array.shape))

    @staticmethod
    def class_axis(volume: Volume) -> int | None:
        """Return the axis of the map that was read along which channels may be classes; None for a single image."""
        return _class_axis(volume)

    def mean(self, volume: Volume) -> Volume | None:
        """Return what the prior gives without the map, on the grid of the completed map; None without a prior."""
        if not self.fits:
            return None
        matrix = _matrix(volume, self.volume)
        means = np.stack([fit.mean_on_grid(self.volume, matrix) for fit in self.fits])
        return _as_volume(means, volume, self.volume if self.moved else volume)

    @property
    def classes(self) -> dict[int, str] | None:
        """The channels of the map that are classes of the prior, with their names; None without a prior."""
        if not self.fits:
            return None
        fit = self.fits[0]
        return dict(zip(fit.channels[1:], fit.prior.classes, strict=True))

    @property
    def row(self) -> dict[str, Any]:
        """What a table has of the map, by the name of the column: the missing slices, and how well a prior fits."""
        return {"invented_slices": len(self.document["missing"]), **figures(self.fits)}

    @property
    def figures(self) -> str:
        """How well the prior agrees with the map, for a picture; empty without a prior."""
        if not self.fits:
            return ""
        worst = min(self.fits, key=lambda fit: fit.agreement)
        text = f"agreement with the observed slices {worst.agreement:.3f}"
        if self.shortfall is not None:
            text = f"POOR FIT: {text}"
        if worst.left_out is not None:
            text += (
                f"; on slices left out: prior {worst.left_out.prior:.3f}, logits {worst.left_out.logit:.3f}"
            )
        return text


def complete(chosen: Interpolate, volume: Volume) -> Completion:
    """Return a map with its missing slices filled, on the grid that was asked for.

    Raises:
        InputError: If nothing is missing and no grid is asked for, fewer than two slices are observed, the axis or an
            index does not fit the map, or the map cannot be placed on the grid.
    """
    axis, learned = _axis(chosen, volume), chosen.learned
    letter = volume.spatial_axes[axis].lower()
    stack = slices.stack(volume.array, len(volume.mapped_axes) + axis, chosen.missing, letter)
    if not stack.missing and not chosen.to_grid:
        if stack.outer:
            raise InputError(slices.empty_ends(stack.outer, letter))
        raise InputError(
            f"no slice between others is empty along {letter}, and no other grid is asked for: there is nothing to "
            f"interpolate; name slices, such as {named('missing', '5:9,12')}, or add {named('spacing', 'iso')}."
        )
    if stack.missing and stack.observed.sum() < 2 and learned is None:
        raise InputError(
            f"1 slice along {letter} is observed, and at least 2 are needed to interpolate between them: name fewer "
            f"slices, or add {named('prior', 'FILE')}, for which one is enough."
        )
    if chosen.grid is not None:
        _check_places(volume, chosen.grid)
    if chosen.to_grid:
        _check_room(chosen, volume)

    images = [_of_group(volume, maps) for maps in _grouped(volume)]
    fits: list[FittedPrior] = []
    if learned is None:
        exclusive = _exclusive(volume, [np.compress(stack.observed, one.array, axis + 1) for one in images])
        scales = [
            between.Scale.of(one.array, chosen.way, axis, exclusive=exclusive, spacing=volume.spacing)
            for one in images
        ]
        filled = [
            between.fill(
                one.array, stack.observed, axis, chosen.way, exclusive=exclusive, spacing=volume.spacing
            )
            for one in images
        ]
    else:
        fits = [FittedPrior.of(learned, one, stack.observed, axis, chosen.device) for one in images]
        filled = [fit.filled for fit in fits]
    notes = _notes(chosen, letter, stack)
    made, grid, outside = filled, volume, 0
    if chosen.to_grid:
        full = [replace(one, array=maps) for one, maps in zip(images, filled, strict=True)]
        if fits:
            grid = chosen.grid or _grid(full[0], resample.requested(volume, str(chosen.spacing)))
            matrix = _matrix(volume, grid)
            made = [coarser.averaged(partial(fit.on_grid, _three(volume)), grid, matrix) for fit in fits]
        else:
            moved = [_on_grid(chosen, one, scale) for one, scale in zip(full, scales, strict=True)]
            made, grid = [np.ascontiguousarray(one.array) for one in moved], moved[0]
        invented, outside = _settle(filled, made, stack.observed, axis, volume, grid)
        if outside == invented.size:
            raise InputError(
                f"{named('like', chosen.like)} lies wholly outside of this map, and the result would be 0 "
                f"throughout: give an image of the same place, or make a grid of the map's own with "
                f"{named('spacing', 'iso')}."
            )
        if outside:
            notes.append(
                f"{100 * outside / invented.size:.3g} % of the voxels lie outside of the map that was read, and are 0."
            )
    else:
        along = [1] * volume.spatial_dims
        along[axis] = -1
        invented = np.broadcast_to(~stack.observed.reshape(along), volume.array.shape[-volume.spatial_dims :])
    document: dict[str, Any] = {
        "axis": letter,
        "slices": len(stack.observed),
        "missing": stack.missing,
        "repeated": [] if fits else stack.beyond,
        "classes_exclude_each_other": bool(fits) or scales[0].exclusive,
        "invented_voxels": int(invented.sum()),
        "outside_voxels": outside,
    }
    resolved = {"axis": letter} | ({"missing": slices.words(stack.missing)} if stack.missing else {})
    completion = Completion(
        _as_volume(np.stack(made), volume, grid), invented, resolved, document, chosen.to_grid
    )
    if not fits:
        return replace(completion, notes=tuple(notes))
    document["fits"] = [fit.document for fit in fits]
    more, warnings, shortfall = told(fits, chosen.least_fit)
    return replace(
        completion,
        notes=(*notes, *more),
        warnings=tuple(warnings),
        shortfall=shortfall,
        fits=tuple(fits),
    )


def _axis(chosen: Interpolate, volume: Volume) -> int:
    """Return the axis of the slices, counted from the first spatial axis."""
    letters = volume.spatial_axes.lower()
    letter = letters[0] if chosen.axis is None else chosen.axis.lower()
    if letter not in letters:
        raise InputError(f"{named('axis')} {chosen.axis}: the map is 2D; use y or x.")
    return letters.index(letter)


def _notes(chosen: Interpolate, letter: str, stack: Stack) -> list[str]:
    notes = list(stack.notes)
    if stack.missing:
        told = "" if chosen.axis is not None else f" (the first axis; {named('axis')} names another)"
        notes.append(
            f"{len(stack.missing)} of {len(stack.observed)} slices along {letter}{told} "
            f"{'is' if len(stack.missing) == 1 else 'are'} invented: "
            f"{slices.prose(stack.missing)}, counted from 0."
        )
    if stack.beyond and not chosen.has_prior:
        notes.append(
            f"{slices.prose(stack.beyond)} along {letter} {'has' if len(stack.beyond) == 1 else 'have'} an observed "
            "slice on one side only: the nearest one is repeated."
        )
    return notes


def _exclusive(volume: Volume, groups: list[Array]) -> bool:
    """Return whether the channels are classes that exclude each other: by the file, or else by their sums.

    It is a property of the map, so all groups of channels (times) are judged together. Channels that are independent of
    each other may all be small at one time.

    Args:
        volume: The map.
        groups: The observed slices of its groups of channels, each of shape (C, ...).
    """
    stated = getattr(volume.source.header, "classes", None) if volume.source else None
    count = len(groups[0])
    if stated is not None and len(stated.labels) == count:
        return count > 1 and stated.kind in ("complete", "rest")
    return all(map(between.excluding, groups))


def _class_axis(volume: Volume) -> int | None:
    """Return the axis along which channels may be classes, an index of the array's axes."""
    axis = volume.mapped_axes.index("C") if "C" in volume.mapped_axes else volume.class_axis()
    return None if axis is None or volume.axes[axis] == SLICE else axis


def _grouped(volume: Volume) -> Array:
    """Return the array with the mapped axes as two: images, or groups of channels, and channels."""
    axis, spatial = _class_axis(volume), volume.array.shape[-volume.spatial_dims :]
    if axis is None:
        return volume.array.reshape(-1, 1, *spatial)
    last = len(volume.mapped_axes) - 1
    return np.moveaxis(volume.array, axis, last).reshape(-1, volume.array.shape[axis], *spatial)


def _of_group(volume: Volume, maps: Array) -> Volume:
    """Return one of the groups of channels, as of `_grouped`, as a map with axes (C, ...)."""
    names = volume.channels if _class_axis(volume) is not None else None
    return replace(volume, array=maps, axes=f"C{volume.spatial_axes}", channels=names)


def _as_volume(groups: Array, volume: Volume, grid: Volume) -> Volume:
    """Return groups of channels, as of `_grouped`, as a map with the mapped axes of a map, on a grid."""
    mapped, axis = volume.array.shape[: -volume.spatial_dims], _class_axis(volume)
    spatial = groups.shape[2:]
    if axis is None:
        array = groups.reshape(*mapped, *spatial)
    else:
        others = mapped[:axis] + mapped[axis + 1 :]
        array = np.moveaxis(groups.reshape(*others, mapped[axis], *spatial), len(others), axis)
    if grid is volume:
        return volume.with_array(np.ascontiguousarray(array))
    return replace(
        volume,
        array=np.ascontiguousarray(array),
        axes=volume.mapped_axes + grid.spatial_axes,
        spacing=grid.spacing,
        unit=grid.unit,
        affine=grid.affine,
        source=None,
    )


def _check_places(volume: Volume, grid: Volume) -> None:
    """Refuse a map, or an image whose grid is asked for, without a position in the world."""
    if volume.affine is None or grid.affine is None:
        which = "the map" if volume.affine is None else "that image"
        own = "" if volume.spacing is None else f"; a grid of its own is made with {named('spacing', 'iso')}"
        raise InputError(f"{named('like')}: {which} does not say where its voxels lie{own}.")
    if volume.spatial_dims < grid.spatial_dims:
        raise InputError(
            f"{named('like')}: the map is 2D and that image 3D; name a 2D image of the same plane."
        )


def _check_room(chosen: Interpolate, volume: Volume) -> None:
    """Refuse a grid for which the memory does not suffice, before anything is computed."""
    if chosen.grid is not None:
        shape = chosen.grid.array.shape
    else:
        shape = resample.shape_of(volume, resample.requested(volume, str(chosen.spacing)))
    old, new = prod(volume.array.shape[-volume.spatial_dims :]), prod(shape)
    axis = _class_axis(volume)
    channels = 1 if axis is None else volume.array.shape[axis]
    # The map and its result twice each; of one group the scores, of which one is that of the background.
    maps = 2 * prod(volume.array.shape[: -volume.spatial_dims]) * (old + new)
    scores = _WORKING[chosen.method_in_force] * (channels + (channels > 1)) * max(old, new)
    resample.check_room(volume, shape, (maps + scores) * volume.array.itemsize)


def _on_grid(chosen: Interpolate, maps: Volume, scale: between.Scale) -> Volume:
    """Return a map without missing slices, axes (C, ...), on the grid that was asked for."""
    order: resample.Order = 0 if chosen.way == "nearest" else 1
    grid: Volume | None = chosen.grid
    if grid is None:
        assert chosen.spacing is not None
        wanted = resample.requested(maps, chosen.spacing)
        straight = maps.affine is None or rectangular(maps.affine[:3, 3 - maps.spatial_dims : 3])
        if straight and maps.spacing is not None and order and any(map(gt, wanted, maps.spacing)):
            # Coarser voxels are means of probabilities, not of scores.
            maps = resample.resampled(maps, tuple(map(max, maps.spacing, wanted)))
            both, axis = scale.exclusive, scale.axis
            scale = between.Scale.of(maps.array, chosen.way, axis, exclusive=both, spacing=maps.spacing)
        if straight:
            moved = resample.resampled(replace(maps, array=scale.encode(maps.array)), wanted, order=order)
            return replace(moved, array=scale.decode(moved.array))
        # Beyond the border of sheared voxels resampling gives 0, which is no score: the grid alone is made straight,
        # and its coarser voxels are means of the map where it lies.
        grid = _grid(maps, wanted)
    images = scale.encode(maps.array).reshape(-1, *_three(maps))

    def sample(places: Volume, matrix: Matrix) -> Array:
        found = resample.at_places(images, matrix[:3, :3], matrix[:3, 3], _three(places), order)
        return scale.decode(found.reshape(len(found), *places.array.shape))

    matrix = _matrix(maps, grid)
    decoded = coarser.averaged(sample, grid, matrix) if order else sample(grid, matrix)
    return replace(grid, array=decoded, axes=f"C{grid.spatial_axes}")


def _grid(maps: Volume, spacing: tuple[float, ...]) -> Volume:
    """Return the grid of a map with axes (C, ...) and another spacing, as a map of zeros."""
    return resample.resampled(
        replace(maps.channel(0), array=np.zeros(maps.array.shape[1:], np.float32)), spacing
    )


def _three(volume: Volume) -> tuple[int, ...]:
    """Return the spatial shape with three axes; a 2D map is one slice."""
    return (1,) * (3 - volume.spatial_dims) + volume.array.shape[-volume.spatial_dims :]


def _matrix(old: Volume, new: Volume) -> Matrix:
    """Return the 4 x 4 matrix from indices (z, y, x, 1) of the new grid to those of the old.

    Where an affine is unknown, the corners of both grids agree.
    """
    if old.affine is not None and new.affine is not None:
        return np.asarray(np.linalg.inv(old.affine) @ new.affine)
    factors = np.array(_three(old)) / np.array(_three(new))
    matrix = np.diag([*factors, 1.0])
    matrix[:3, 3] = factors / 2 - 0.5
    return matrix


def _settle(
    filled: list[Array], made: list[Array], observed: Mask, axis: int, old: Volume, new: Volume
) -> tuple[Mask, int]:
    """Set the voxels outside of a map to 0, restore those at its voxel centres, and find those that are invented.

    Args:
        filled: The map without missing slices, groups of channels of shape (C, ...).
        made: The map on the new grid, contiguous arrays of shape (C, ...), which are changed.
        observed: For each slice of the map whether it is observed.
        axis: The axis of the slices, counted from the first spatial axis.
        old: A map on the first grid.
        new: A map on the second grid.

    Returns:
        Whether each voxel of the new grid is invented, and the number of voxels outside of the map.
    """
    matrix, sizes, shape = _matrix(old, new), np.array(_three(old)).reshape(3, 1, 1), _three(new)
    known, row = np.flatnonzero(observed), 3 - old.spatial_dims + axis
    before = [one.reshape(-1, *_three(old)) for one in filled]
    after = [one.reshape(-1, *shape) for one in made]
    # Means of several voxels are no values of the map.
    exact = bool((np.linalg.norm(matrix[:3, :3], axis=0) <= 1 + _NEAR).all())
    half = np.abs(matrix[row, :3]).sum() / 2
    invented, outside = np.zeros(shape, np.bool_), 0
    y, x = np.indices(shape[1:])
    for z in range(shape[0]):
        places = np.tensordot(matrix[:3], np.stack([np.full_like(y, z), y, x, np.ones_like(y)]), 1)
        inside = ((places >= -0.5 - _NEAR) & (places <= sizes - 0.5 + _NEAR)).all(axis=0)
        for one in after:
            one[:, z] *= inside
        outside += int((~inside).sum())
        nearest = np.rint(places)
        same = inside & (np.abs(places - nearest) < _NEAR).all(axis=0)
        if exact and same.any():
            at = (slice(None), *nearest[:, same].astype(np.intp))
            for one, given in zip(after, before, strict=True):
                one[:, z, same] = given[at]
        above = np.searchsorted(known, places[row])
        ends = known[np.clip(above - 1, 0, None)], known[np.clip(above, None, len(known) - 1)]
        away = np.minimum(*(np.abs(places[row] - end) for end in ends))
        invented[z] = ~inside | (away > half + _NEAR)
    return invented.reshape(made[0].shape[1:]), outside
