"""Persistence of a probability map: the thresholds at which its components, loops and cavities are born and die.

As the threshold t falls from 1 to 0 the mask {p >= t} grows. A homology class of dimension k (0 components, 1 loops, 2
cavities) is born at the value of one voxel and dies at the value of another voxel: a component when it joins an older
component, a loop or a cavity when it is filled. One component never dies; here its death is 0, where everything is
foreground. The interval from birth to death is the bar of the class.

Loops in 3D are computed by gudhi on a cubical complex whose vertices (for 6-connected foreground) or top-dimensional
cells (for 26-connected foreground) are the voxels. gudhi filters by sublevel sets of float64, so it gets -p, which
unlike 1 - p does not round. The flat indices of gudhi are in Fortran order. Components and cavities (all classes in 2D)
are computed by union-find. A border of one voxel of p = 0 closes loops and cavities at the border of the map.
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
from softmorph_cli.topology.components import connectivities
from softmorph_cli.topology.union_find import cavity_pairs, component_pairs

# Memory of gudhi per voxel of a 3D map; measured 390 on vessels, 510 on noise.
BYTES: Final = 550
# Array indices of births and of deaths, each of shape (N, d).
_Ends = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Diagram:
    """The persistence bars of one dimension, in order of decreasing length.

    Attributes:
        birth: For each bar the highest threshold t at which the class exists in {p >= t}, a value of the map; shape
            (N,).
        death: For each bar the highest threshold below `birth` at which the class no longer exists, a value of the map
            or 0; shape (N,).
        birth_at: Array indices of the voxels whose values are `birth`, shape (N, 2) or (N, 3).
        death_at: Array indices of the voxels whose values are `death`; -1 along all axes if the class dies outside the
            map, at 0.
    """

    birth: npt.NDArray[Any]
    death: npt.NDArray[Any]
    birth_at: npt.NDArray[np.int64]
    death_at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.birth)

    def __getitem__(self, index: npt.NDArray[Any]) -> Diagram:
        """Return the bars that an array of indices or a boolean mask selects, in the order of the indices."""
        return Diagram(self.birth[index], self.death[index], self.birth_at[index], self.death_at[index])

    @property
    def length(self) -> npt.NDArray[Any]:
        """The length of each bar, birth minus death, in (0, 1]."""
        length: npt.NDArray[Any] = self.birth - self.death
        return length


@dataclass(frozen=True)
class Bars:
    """The persistence bars of a map in all dimensions.

    Attributes:
        diagrams: The bars of dimension 0 (components), 1 (loops) and, in 3D, 2 (cavities).
        connectivity: Connectivity of the foreground, 4 or 8 in 2D, 6 or 26 in 3D.
    """

    diagrams: tuple[Diagram, ...]
    connectivity: int

    def betti(self, threshold: float) -> tuple[int, ...]:
        """Return the Betti numbers of {p > threshold}; the threshold is at least 0."""
        return tuple(int(curve[0]) for curve in self.curves([threshold]))

    def curves(self, thresholds: Sequence[float]) -> tuple[npt.NDArray[np.int64], ...]:
        """Return the Betti curve of each dimension: the Betti numbers of {p > t} at thresholds t of at least 0."""
        levels = np.asarray(thresholds, np.float64)
        return tuple(
            # Bars born above t, less bars that died above t.
            np.searchsorted(np.sort(-d.birth.astype(np.float64)), -levels)
            - np.searchsorted(np.sort(-d.death.astype(np.float64)), -levels)
            for d in self.diagrams
        )


def bars(image: npt.NDArray[Any], connectivity: int | None = None) -> Bars:
    """Return the persistence bars of the superlevel sets of a map, without bars of length 0.

    The computation takes up to 550 bytes of memory for each voxel of the bounding box of p > 0 in 3D, 50 in 2D.

    Args:
        image: Probabilities, shape (Y, X) or (Z, Y, X), floating point; not modified.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.

    Returns:
        The bars; births and deaths are unrounded values of the map and have its dtype. A map of zeros has no bars.

    Raises:
        InputError: If the map does not have 2 or 3 axes or does not hold floating-point numbers in [0, 1], the
            connectivity does not exist, or memory does not suffice.
    """
    corner, box, foreground = _prepared(image, connectivity)
    all_ends = (
        _ends_of_complex(box, foreground)
        if image.ndim == 3
        else [_ends(box, dimension, foreground) for dimension in range(2)]
    )
    return Bars(tuple(_diagram(image, corner, box.shape, ends) for ends in all_ends), foreground)


def diagram(image: npt.NDArray[Any], dimension: int, connectivity: int | None = None) -> Diagram:
    """Return the persistence bars of a map in one dimension: 0 (components), 1 (loops) or, in 3D, 2 (cavities).

    The other arguments and the errors are those of `bars`. Bars of components and cavities take little time and memory.
    """
    corner, box, foreground = _prepared(image, connectivity)
    return _diagram(image, corner, box.shape, _ends(box, dimension, foreground))


def _prepared(
    image: npt.NDArray[Any], connectivity: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any], int]:
    """Check a map; return the corner of the bounding box of p > 0, the box and the connectivity of the foreground.

    The box is an array of float32 or float64 with the values of the map and a border of zeros, one voxel wide.
    """
    foreground = connectivities(image.ndim, connectivity)[0]
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"persistence is that of floating-point probabilities, not of {image.dtype}.")
    if image.size and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"persistence is that of probabilities in [0, 1]; this map has values from {image.min():g} to "
            f"{image.max():g}."
        )
    from scipy.ndimage import find_objects

    # As bytes, in which True is the label 1.
    slices = find_objects((image > 0).view(np.uint8), 1)[0] or (slice(0, 0),) * image.ndim
    corner = np.array([along.start for along in slices])
    exact = np.float64 if image.dtype.itemsize > 4 else np.float32
    return corner, np.pad(image[slices].astype(exact), 1), foreground


def _ends(box: npt.NDArray[Any], dimension: int, foreground: int) -> _Ends:
    """Return the array indices at which the bars of one dimension are born and die in a box with a border of zeros."""
    if dimension == 0:
        pairs = component_pairs(box, foreground)
    elif dimension == box.ndim - 1:
        pairs = cavity_pairs(box, connectivities(box.ndim, foreground)[1])
    else:
        return _ends_of_complex(box, foreground)[dimension]
    return _voxels(pairs, box.shape, "C")


def _ends_of_complex(box: npt.NDArray[Any], foreground: int) -> list[_Ends]:
    """Return the array indices at which the bars of each dimension are born and die in a box, computed by gudhi."""
    if not box[(slice(1, -1),) * box.ndim].size:
        return [_voxels(np.empty((0, 2), np.int64), box.shape, "F")] * box.ndim
    _check_memory(box.size)
    paired, lasting = interruptible(lambda: _gudhi_pairs(box, by_faces=foreground == 2 * box.ndim))
    pairs = [np.asarray(p, np.int64).reshape(-1, 2) for p in paired]
    pairs += [np.empty((0, 2), np.int64)] * (box.ndim - len(pairs))
    # The class that never dies gets its death at voxel 0, in the border.
    pairs[0] = np.concatenate([[[int(lasting[0][0]), 0]], pairs[0]])
    return [_voxels(p, box.shape, "F") for p in pairs]


def _gudhi_pairs(box: npt.NDArray[Any], *, by_faces: bool) -> Any:
    """Return gudhi's persistence pairs of each dimension, and the births of classes that never die, as flat indices.

    `by_faces` states whether foreground voxels are connected through faces alone (6 in 3D).
    """
    import gudhi

    cube = gudhi.CubicalComplex(
        **{"vertices" if by_faces else "top_dimensional_cells": -box.astype(np.float64)}
    )
    cube.compute_persistence(homology_coeff_field=2, min_persistence=0)
    return cube.vertices_of_persistence_pairs() if by_faces else cube.cofaces_of_persistence_pairs()


def _check_memory(voxels: int) -> None:
    """Raise InputError if the complex needs more memory than the system would grant before killing the process."""
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
    """Return the diagram of the bars whose ends are given as array indices of a box.

    Args:
        image: The map.
        corner: Array index in the map of the first voxel of the box inside the border.
        shape: Shape of the box with its border of one voxel, which lies outside the map.
        ends: Array indices, in the box, of births and of deaths.
    """
    at, values = [], []
    for end in ends:
        inside = np.all((end > 0) & (end < np.array(shape) - 1), axis=1)
        at.append(np.where(inside[:, None], end + (corner - 1), -1))
        values.append(np.where(inside, image[tuple(at[-1].T)], image.dtype.type(0)))
    (birth_at, death_at), (birth, death) = at, values
    # Bars of equal length are sorted by falling birth, then by voxel, so that the order is reproducible.
    order = np.lexsort((*birth_at.T[::-1], -birth, death.astype(np.float64) - birth))
    return Diagram(birth, death, birth_at, death_at)[order]
