"""Patches of a map: a grid of them, or one at a random place, and the Betti numbers of a mask in each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import product
from operator import index
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.topology.betti import betti_numbers

if TYPE_CHECKING:
    from torch import Generator

# Voxels of a part from which on threads count sooner.
_LARGE: Final = 1 << 14
Place = tuple[slice, ...]
Value = TypeVar("Value")


def check_patch(patch: Any) -> int | tuple[int, ...] | None:
    """Return the size of a patch in voxels: one for all axes, one for each axis, or None for the whole map.

    Raises:
        UsageError: If the sizes are no whole numbers of at least 1.
    """
    if patch is None:
        return None
    try:
        sizes = [index(size) for size in patch] if hasattr(patch, "__iter__") else [index(patch)]
    except TypeError:
        sizes = []
    if not sizes or min(sizes) < 1 or isinstance(patch, bool):
        raise UsageError(f"patch {patch!r}: whole numbers of voxels are needed, such as 32 or (16, 64, 64).")
    return tuple(sizes) if hasattr(patch, "__iter__") else sizes[0]


def sizes_along(space: tuple[int, ...], patch: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the size of a patch along each axis of a map with the shape `space`, at most the map's.

    Raises:
        InputError: If there are not as many sizes as axes.
    """
    if patch is None:
        return space
    sizes = (patch,) * len(space) if isinstance(patch, int) else patch
    if len(sizes) != len(space):
        raise InputError(
            f"patch {sizes} has {len(sizes)} sizes, and the map {len(space)} axes: give one for each, or one for all."
        )
    return tuple(min(size, extent) for size, extent in zip(sizes, space, strict=True))


def grid_shape(space: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of patches along each axis."""
    return tuple(-(-extent // size) for extent, size in zip(space, sizes, strict=True))


def grid(space: tuple[int, ...], sizes: tuple[int, ...]) -> list[Place]:
    """Return the patches that divide a map, in C order; the last one along an axis may be smaller."""
    along = (
        [slice(start, min(start + size, extent)) for start in range(0, extent, size)]
        for extent, size in zip(space, sizes, strict=True)
    )
    return list(product(*along))


def random_place(space: tuple[int, ...], sizes: tuple[int, ...], generator: Generator | None = None) -> Place:
    """Return a patch inside a map at a random place; each place is equally probable.

    Args:
        space: Shape of the map.
        sizes: Sizes of the patch, at most those of the map.
        generator: Source of random numbers; None for torch's own, which `torch.manual_seed` seeds.
    """
    import torch

    starts = [
        int(torch.randint(extent - size + 1, (), generator=generator))
        for extent, size in zip(space, sizes, strict=True)
    ]
    return tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))


def betti_of_pieces(
    masks: npt.NDArray[np.bool_],
    pieces: Sequence[tuple[int, Place]],
    connectivity: int | None,
    threads: int,
) -> npt.NDArray[np.int64]:
    """Return the Betti numbers of parts of masks, shape (number of parts, d); outside of a part is background.

    Args:
        masks: Masks, shape (N, Y, X) or (N, Z, Y, X).
        pieces: For each part the index of its mask and its place there.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        threads: Number of threads.
    """

    def count(piece: tuple[int, Place]) -> tuple[int, ...]:
        number, place = piece
        return betti_numbers(masks[number][place], connectivity).numbers

    # Counts of few voxels mostly hold the interpreter lock, for which threads would wait.
    threads = threads if masks.size >= _LARGE * len(pieces) else 1
    return np.array(in_threads(count, pieces, threads, masks.size), np.int64).reshape(-1, masks.ndim - 1)


def in_threads(
    function: Callable[[Any], Value], items: Sequence[Any], threads: int, voxels: int
) -> list[Value]:
    """Return the values of a function at items; each thread takes the next item when it is free.

    An error or an interruption in one thread is raised when the others have ended the item that they compute.

    Args:
        function: A function that uses no threads of its own.
        items: The items.
        threads: Number of threads.
        voxels: Number of voxels of all items.
    """
    waiting = iter(range(len(items)))
    found: dict[int, Value] = {}

    def work(first: int, last: int) -> None:
        try:
            for number in waiting:
                found[number] = function(items[number])
        finally:
            # After an error nothing is left for the other threads.
            deque(waiting, 0)

    pool = Pool(min(threads, len(items)), voxels)
    pool.share(work, pool.threads)
    return [found[number] for number in range(len(items))]
