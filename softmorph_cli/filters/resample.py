"""Resampling of a map to another voxel size: linear interpolation; means or maxima where voxels become coarser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.system import lengths, machine
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.units import MILLIMETRES, millimetres
from softmorph_cli.volume import Volume, rectangular

# 1 for linear interpolation, 0 for the nearest voxel.
Order: TypeAlias = Literal[0, 1]


def isotropic(volume: Volume) -> Volume:
    """Return the map resampled by `resampled` to cubic voxels, whose size is the smallest spacing of its axes."""
    return resampled(volume, (min(volume.spacing or (1.0,)),) * volume.spatial_dims)


def requested(volume: Volume, text: str) -> tuple[float, ...]:
    """Return the voxel size along each spatial axis that --spacing asks for, in the unit of the map.

    Args:
        volume: The map.
        text: "iso" for the smallest spacing of the map's axes, a length such as "0.5mm", or one for each axis.

    Raises:
        InputError: If the unit of the map's voxel size is unknown, or the number of lengths does not fit its axes.
    """
    if text == "iso" or volume.spacing is None:  # refused by `resampled`
        return (min(volume.spacing or (1.0,)),) * volume.spatial_dims
    if millimetres(volume.unit) is None:
        raise InputError(
            f"the file does not say in which unit its voxel size is: state it, such as {named('unit', 'um')}; only "
            f"{named('spacing', 'iso')} does without."
        )
    sizes = [lengths.parse(part, named("spacing")) for part in text.split(",")]
    if len(sizes) not in (1, volume.spatial_dims):
        raise InputError(
            f"{named('spacing')} {text}: give one length, or one for each of {', '.join(volume.spatial_axes)}."
        )
    wanted = tuple(lengths.in_unit(size, volume.unit) for size in sizes)
    return wanted * volume.spatial_dims if len(wanted) == 1 else wanted


def resampled(volume: Volume, spacing: Sequence[float], *, pool: str = "mean", order: Order = 1) -> Volume:
    """Return the map resampled to another spacing by linear interpolation, and pooling along axes that become coarser.

    The corners of the grid are kept; if the extent along an axis is no multiple of the spacing, the new spacing differs
    from the requested one by less than half a voxel over the whole extent, and the result states it exactly. Coarser
    voxels are means of the voxels that they cover, so that thin lines fade but do not vanish by chance; or maxima of
    all voxels that they overlap, so that at every threshold the mask of the result is that of the map on larger voxels:
    a flat dilation, then fewer voxels. Sheared voxels become rectangular: the grid is then a box around the map, with 0
    outside the map; for maxima the map is interpolated to such a grid first.

    Args:
        volume: A map whose spacing is known.
        spacing: The requested voxel size along each spatial axis, in the map's unit.
        pool: What a coarser voxel is of the voxels it covers, "mean" or "max".
        order: 1; or 0 for the value of the nearest voxel instead of interpolation and means.

    Returns:
        The new map with its spacing and affine, without the header of its file.

    Raises:
        InputError: If the spacing is unknown.
    """
    from scipy import ndimage

    if volume.spacing is None:
        advice = f": state it, such as {named('voxel_size', '1mm')}." if in_shell() else "."
        raise InputError(
            f"the file does not say how large its voxels are, so the map cannot be resampled{advice}"
        )
    if pool == "max" and not _is_rectangular(volume):
        return resampled(resampled(volume, volume.spacing), spacing, pool=pool)
    shape = volume.array.shape[-volume.spatial_dims :]
    new_shape = shape_of(volume, spacing)
    check_room(volume, new_shape)
    factors = np.array(new_shape) / np.array(shape)
    mapped = volume.array.shape[: -volume.spatial_dims]
    array = np.empty((*mapped, *new_shape), volume.array.dtype)
    for index in np.ndindex(mapped):
        image = volume.array[index]
        for axis, size in enumerate(new_shape):
            if order and size < shape[axis]:
                image = _maxima(image, size, axis) if pool == "max" else _means(image, size, axis)
        finer = np.array(new_shape) / np.array(image.shape)
        ndimage.zoom(image, finer, output=array[index], order=order, mode="nearest", grid_mode=True)
    affine = None
    if volume.affine is not None:
        # The new index i is at (i + 1/2) / factor - 1/2 of the old grid. In 2D the affine keeps its z column.
        step = np.eye(4)
        first = 3 - volume.spatial_dims
        step[range(first, 3), range(first, 3)] = 1 / factors
        step[first:3, 3] = 0.5 / factors - 0.5
        affine = volume.affine @ step
    exact = tuple(float(s / f) for s, f in zip(volume.spacing, factors, strict=True))
    clipped = np.clip(array, 0, 1, out=array)
    found = replace(volume, array=clipped, spacing=exact, affine=affine, source=None)
    if affine is None or _is_rectangular(found):
        return found
    return _straightened(found, affine, spacing, order)


def shape_of(volume: Volume, spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the spatial shape that `resampled` gives a map of rectangular voxels."""
    shape, sizes = volume.array.shape[-volume.spatial_dims :], volume.spacing or (1.0,) * volume.spatial_dims
    return tuple(max(1, round(n * size / new)) for n, size, new in zip(shape, sizes, spacing, strict=True))


def _is_rectangular(volume: Volume) -> bool:
    return volume.affine is None or rectangular(volume.affine[:3, 3 - volume.spatial_dims : 3])


def check_room(volume: Volume, shape: tuple[int, ...], needed: int | None = None) -> None:
    """Refuse a grid whose map does not fit into memory.

    Args:
        volume: The map.
        shape: The spatial shape of the grid.
        needed: Bytes that are needed in all; None for those of the map on the grid.

    Raises:
        InputError: If more memory is needed than there is; the message states both sizes.
    """
    if needed is None:
        needed = math.prod(volume.array.shape[: -volume.spatial_dims] + shape) * volume.array.itemsize
    allowed = machine.memory()
    if allowed is not None and needed > allowed:
        raise InputError(
            f"on that grid the map has {' x '.join(map(str, shape))} voxels and takes about {needed / 2**30:.1f} "
            f"GiB, and {allowed / 2**30:.1f} GiB may be used: choose larger voxels."
        )


def at_places(
    images: npt.NDArray[Any],
    matrix: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    order: Order = 1,
) -> npt.NDArray[Any]:
    """Return images on another grid; beyond the outermost voxel centres their values continue.

    Args:
        images: Images of shape (..., Z, Y, X) or (..., Y, X), with as many spatial axes as the matrix has rows.
        matrix: The matrix that maps an index of the new grid, less the offset, to an index of the images.
        offset: The index of the images where the first voxel of the new grid lies.
        shape: The shape of the new grid.
        order: 1 for linear interpolation, 0 for the nearest voxel.
    """
    from scipy import ndimage

    mapped = images.shape[: -len(shape)]
    array = np.empty((*mapped, *shape), images.dtype)
    for index in np.ndindex(mapped):
        ndimage.affine_transform(
            images[index], matrix, offset, output=array[index], order=order, mode="nearest"
        )
    return array


def _straightened(
    volume: Volume, affine: npt.NDArray[np.float64], spacing: Sequence[float], order: Order
) -> Volume:
    """Return a map of sheared voxels resampled to a rectangular grid around it.

    The direction of x is kept, and y stays in the plane of x and y.
    """
    from scipy import ndimage

    dims, shape = volume.spatial_dims, volume.array.shape[-volume.spatial_dims :]
    in_mm = MILLIMETRES.get(volume.unit or "", 1.0)
    # Orthogonal directions, beginning with x, and the steps of the old grid in these directions.
    turned, steps = np.linalg.qr(affine[:3, 3 - dims : 3][:, ::-1] / in_mm)
    signs = np.sign(np.diag(steps))
    turned, steps = (turned * signs)[:, ::-1], (steps * signs[:, None])[::-1, ::-1]
    corners = np.array([*product(*((-0.5, size - 0.5) for size in shape))]) @ steps.T
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    sizes = np.asarray(spacing, dtype=np.float64)
    new_shape = tuple(max(1, math.ceil(length - 1e-6)) for length in extent / sizes)
    check_room(volume, new_shape)
    first = low + (extent - np.array(new_shape) * sizes) / 2 + sizes / 2
    to_old = np.linalg.inv(steps)
    matrix, offset = to_old * sizes, to_old @ first
    array = at_places(volume.array, matrix, offset, new_shape, order)
    array *= ndimage.affine_transform(
        np.ones(shape, np.uint8), matrix, offset, new_shape, order=0, mode="grid-constant"
    )
    placed = affine.copy()
    placed[:3, 3 - dims : 3] = turned * sizes * in_mm
    placed[:3, 3] = affine[:3, 3] + turned @ first * in_mm
    clipped = np.clip(array, 0, 1, out=array)
    return replace(volume, array=clipped, spacing=tuple(sizes.tolist()), affine=placed)


def _means(image: npt.NDArray[Any], size: int, axis: int) -> npt.NDArray[Any]:
    """Return the means over `size` equal intervals along an axis; voxels split between two intervals are weighted."""
    from scipy import sparse

    count = image.shape[axis]
    ends = np.arange(size + 1) * (count / size)
    old = np.arange(count)
    # The new voxels that contain the two ends of each old voxel; being larger, they are the same or neighbours.
    first = np.minimum((old * size) // count, size - 1)
    last = np.minimum(-(-(old + 1) * size // count) - 1, size - 1)
    inside = np.where(first == last, 1.0, ends[first + 1] - old)
    weights = sparse.csr_array(
        (
            np.concatenate([inside, 1 - inside]) * (size / count),
            (np.concatenate([first, last]), np.concatenate([old, old])),
        ),
        shape=(size, count),
        dtype=image.dtype,
    )
    flat = np.moveaxis(image, axis, 0).reshape(count, -1)
    means = (weights @ flat).reshape(size, *np.delete(image.shape, axis))
    return np.ascontiguousarray(np.moveaxis(means, 0, axis))


def _maxima(image: npt.NDArray[Any], size: int, axis: int) -> npt.NDArray[Any]:
    """Return the maxima over `size` equal intervals along an axis, each of all voxels that overlap the interval."""
    count, steps = image.shape[axis], np.arange(size + 1)
    first = steps[:-1] * count // size
    last = -(-steps[1:] * count // size) - 1
    # `reduceat` ends before the first voxel of the next interval, which a split voxel at the end is too.
    reduced = np.maximum.reduceat(image, first, axis)
    maxima: npt.NDArray[Any] = np.maximum(reduced, np.take(image, last, axis), out=reduced)
    return maxima
