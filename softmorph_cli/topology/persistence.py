"""Persistence bars of a probability map: which components, loops and cavities live at which thresholds, and where.

As the threshold falls from 1 to 0 the mask {p >= t} grows. A class of dimension k (0 components, 1 loops, 2
cavities) is born at one voxel's value and dies at another's: a component when it joins an older one, a loop or a
cavity when it is filled. One component never dies; here it dies at 0, where everything is foreground.

Loops in 3D are gudhi's. Voxels are the vertices of its complex where the foreground is connected through faces (6),
and its cells of full dimension where also through edges and corners (26). gudhi works on sublevel sets of doubles; it
is given -p, which orders like 1 - p and takes nothing from a small p. Its flat indices run along the first axis
first. Components and cavities, which are all there is in 2D, come by union-find (`merging`) where they alone are
wanted. A border of one voxel of p = 0 is added, so that what touches the border of the map is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.system.interruption import interruptible
from softmorph_cli.system.machine import memory
from softmorph_cli.system.parameters import in_shell, take_a_part
from softmorph_cli.topology.betti import connectivities
from softmorph_cli.topology.union_find import cavity_pairs, component_pairs

# What gudhi takes for each voxel of a 3D map; measured 390 on vessels, 510 on noise.
BYTES: Final = 550
# Voxels of birth and of death.
_Ends = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Diagram:
    """The bars of one dimension, the longest first.

    Attributes:
        birth: Shape (N,): the highest threshold t at which the class is in {p >= t}; a value of the map.
        death: Shape (N,): the highest threshold at which it is gone, less than `birth`; a value of the map, or 0.
        birth_at: Shape (N, 2) or (N, 3): array index of the voxel whose value `birth` is.
        death_at: The same of `death`; -1 in each column where the class dies outside of the map, at 0.
    """

    birth: npt.NDArray[Any]
    death: npt.NDArray[Any]
    birth_at: npt.NDArray[np.int64]
    death_at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.birth)

    @property
    def length(self) -> npt.NDArray[Any]:
        """Birth less death, in (0, 1]."""
        length: npt.NDArray[Any] = self.birth - self.death
        return length


@dataclass(frozen=True)
class Bars:
    """All bars of a map.

    Attributes:
        diagrams: Of dimension 0, 1 and, in 3D, 2.
        connectivity: Of the foreground, 4 or 8 in 2D, 6 or 26 in 3D.
    """

    diagrams: tuple[Diagram, ...]
    connectivity: int

    def betti(self, threshold: float) -> tuple[int, ...]:
        """Return the Betti numbers of {p > threshold}, for a threshold of at least 0."""
        return tuple(int(curve[0]) for curve in self.curves([threshold]))

    def curves(self, thresholds: Sequence[float]) -> tuple[npt.NDArray[np.int64], ...]:
        """Return, for each dimension, the Betti numbers of {p > t} at each threshold t of at least 0."""
        levels = np.asarray(thresholds, np.float64)
        return tuple(
            # Born above t, less those that died above t.
            np.searchsorted(np.sort(-d.birth.astype(np.float64)), -levels)
            - np.searchsorted(np.sort(-d.death.astype(np.float64)), -levels)
            for d in self.diagrams
        )


def bars(image: npt.NDArray[Any], connectivity: int | None = None) -> Bars:
    """Return the persistence bars of the superlevel sets of a map; bars of no length are left out.

    In 3D gudhi takes up to 550 bytes for each voxel of the box around p > 0; in 2D 50 are enough.

    Args:
        image: Probabilities, shape (Y, X) or (Z, Y, X), floating point; never written to.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.

    Returns:
        The bars; births and deaths are values of the map as they are, in its own type. A map of zeros has none.

    Raises:
        InputError: If the map has not 2 or 3 axes of floating-point numbers in [0, 1], the connectivity does not
            exist, or memory does not suffice.
    """
    foreground = connectivities(image.ndim, connectivity)[0]
    _check(image)
    corner, box = _occupied(image)
    pairs = (
        _of_complex(box, foreground) if image.ndim == 3 else [_of_one(box, k, foreground) for k in range(2)]
    )
    return Bars(tuple(_diagram(image, corner, box.shape, ends) for ends in pairs), foreground)


def diagram(image: npt.NDArray[Any], dimension: int, connectivity: int | None = None) -> Diagram:
    """Return the bars of one dimension, as `bars` does; components and cavities are quick and take little memory.

    Args:
        image: Probabilities, as for `bars`.
        dimension: 0, 1 or, in 3D, 2.
        connectivity: Of the foreground.

    Raises:
        InputError: As `bars`.
    """
    foreground = connectivities(image.ndim, connectivity)[0]
    _check(image)
    corner, box = _occupied(image)
    return _diagram(image, corner, box.shape, _of_one(box, dimension, foreground))


def _check(image: npt.NDArray[Any]) -> None:
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"persistence is that of floating-point probabilities, not of {image.dtype}.")
    if image.size and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"persistence is that of probabilities in [0, 1]; this map has values from {image.min():g} to "
            f"{image.max():g}."
        )


def _occupied(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return the corner of the box around p > 0, and what is in it with a border of zeros, in float32 or float64."""
    corner, slices = [], []
    positive = image > 0
    for axis in range(image.ndim):
        others = tuple(other for other in range(image.ndim) if other != axis)
        along = np.nonzero(positive.any(axis=others))[0]
        start, stop = (int(along[0]), int(along[-1]) + 1) if len(along) else (0, 0)
        corner.append(start)
        slices.append(slice(start, stop))
    exact = np.float64 if image.dtype.itemsize > 4 else np.float32
    return np.array(corner), np.pad(image[tuple(slices)].astype(exact), 1)


def _of_one(box: npt.NDArray[Any], dimension: int, foreground: int) -> _Ends:
    """Return birth and death of the bars of one dimension as voxels of the bordered box, each of shape (N, d)."""
    if dimension == 0:
        pairs = component_pairs(box, foreground)
    elif dimension == box.ndim - 1:
        pairs = cavity_pairs(box, connectivities(box.ndim, foreground)[1])
    else:
        return _of_complex(box, foreground)[dimension]
    return _voxels(pairs, box.shape, "C")


def _of_complex(box: npt.NDArray[Any], foreground: int) -> list[_Ends]:
    """Return the same of every dimension."""
    if not box[(slice(1, -1),) * box.ndim].size:
        return [_voxels(np.empty((0, 2), np.int64), box.shape, "F")] * box.ndim
    _check_memory(box.size)
    paired, lasting = interruptible(lambda: _computed(box, by_faces=foreground == 2 * box.ndim))
    pairs = [np.asarray(p, np.int64).reshape(-1, 2) for p in paired]
    pairs += [np.empty((0, 2), np.int64)] * (box.ndim - len(pairs))
    # What never dies does so at voxel 0, which is in the border.
    pairs[0] = np.concatenate([[[int(lasting[0][0]), 0]], pairs[0]])
    return [_voxels(p, box.shape, "F") for p in pairs]


def _computed(box: npt.NDArray[Any], *, by_faces: bool) -> Any:
    """Return gudhi's pairs of each dimension, and what never dies."""
    import gudhi

    cube = gudhi.CubicalComplex(
        **{"vertices" if by_faces else "top_dimensional_cells": -box.astype(np.float64)}
    )
    cube.compute_persistence(homology_coeff_field=2, min_persistence=0)
    return cube.vertices_of_persistence_pairs() if by_faces else cube.cofaces_of_persistence_pairs()


def _check_memory(voxels: int) -> None:
    """Refuse what the system would end without a word.

    Raises:
        InputError: If this machine cannot hold the complex.
    """
    needed, limit = BYTES * voxels, memory()
    if limit is not None and needed > limit:
        raise InputError(
            f"loops of {voxels:,} voxels take about {needed / 1e9:.1f} GB, and {limit / 1e9:.1f} GB may be used: "
            + take_a_part()
            + (", or count without bars (softmorph topology numbers --no-bars)." if in_shell() else ".")
        )


def _voxels(pairs: npt.NDArray[np.int64], shape: tuple[int, ...], order: Literal["C", "F"]) -> _Ends:
    birth, death = (np.stack(np.unravel_index(flat, shape, order), axis=1) for flat in pairs.T)
    return birth, death


def _diagram(
    image: npt.NDArray[Any], corner: npt.NDArray[np.int64], shape: tuple[int, ...], ends: _Ends
) -> Diagram:
    """Look the values up in the map; the border of the box of this shape is outside."""
    at, values = [], []
    for end in ends:
        inside = np.all((end > 0) & (end < np.array(shape) - 1), axis=1)
        at.append(np.where(inside[:, None], end + (corner - 1), -1))
        values.append(np.where(inside, image[tuple(at[-1].T)], image.dtype.type(0)))
    (birth_at, death_at), (birth, death) = at, values
    # Equally long bars: the higher one first, then as the voxels lie, so that the order is always the same.
    order = np.lexsort((*birth_at.T[::-1], -birth, death.astype(np.float64) - birth))
    return Diagram(birth[order], death[order], birth_at[order], death_at[order])
