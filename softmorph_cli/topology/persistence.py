"""Persistence bars of a probability map: which components, loops and cavities live at which thresholds, and where.

As the threshold falls from 1 to 0 the mask {p >= t} grows. A class of dimension k (0 components, 1 loops, 2
cavities) is born at one voxel's value and dies at another's: a component when it joins an older one, a loop or a
cavity when it is filled. One component never dies; here it dies at 0, where everything is foreground.

The complex is gudhi's. Voxels are its vertices where the foreground is connected through faces (4, 6), and its
cells of full dimension where also through edges and corners (8, 26). gudhi works on sublevel sets of doubles; it is
given -p, which orders like 1 - p and takes nothing from a small p. Its flat indices run along the first axis
first. A border of one voxel of p = 0 is added, so that what touches the border of the map is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.topology.betti import connectivities


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

    gudhi takes about 700 bytes for each voxel of the box around p > 0.

    Args:
        image: Probabilities, shape (Y, X) or (Z, Y, X), float32 or float64; never written to.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.

    Returns:
        The bars; births and deaths are values of the map as they are, in its own type. A map of zeros has none.

    Raises:
        InputError: If the map has not 2 or 3 axes of floating-point numbers in [0, 1], or the connectivity does
            not exist.
    """
    foreground = connectivities(image.ndim, connectivity)[0]
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"persistence is that of floating-point probabilities, not of {image.dtype}.")
    if image.size and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"persistence is that of probabilities in [0, 1]; this map has values from {image.min():g} to "
            f"{image.max():g}."
        )
    corner, box = _occupied(image)
    pairs = _pairs(box, foreground) if box.size else [np.empty((0, 2), np.int64)] * image.ndim
    return Bars(tuple(_diagram(image, corner, box.shape, both) for both in pairs), foreground)


def _occupied(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return the box around p > 0 and its corner; around it there is as little as in the border that is added."""
    corner, slices = [], []
    positive = image > 0
    for axis in range(image.ndim):
        others = tuple(other for other in range(image.ndim) if other != axis)
        along = np.nonzero(positive.any(axis=others))[0]
        start, stop = (int(along[0]), int(along[-1]) + 1) if len(along) else (0, 0)
        corner.append(start)
        slices.append(slice(start, stop))
    return np.array(corner), image[tuple(slices)]


def _pairs(box: npt.NDArray[Any], foreground: int) -> list[npt.NDArray[np.int64]]:
    """Return, for each dimension, the flat indices of birth and death in the padded box, shape (N, 2).

    The class that never dies comes first, with its death at voxel 0, which is in the border.
    """
    import gudhi

    filtration = np.pad(-box.astype(np.float64), 1)
    by_faces = foreground == 2 * box.ndim
    cube = gudhi.CubicalComplex(**{"vertices" if by_faces else "top_dimensional_cells": filtration})
    cube.compute_persistence(homology_coeff_field=2, min_persistence=0)
    paired, lasting = (
        cube.vertices_of_persistence_pairs() if by_faces else cube.cofaces_of_persistence_pairs()
    )
    pairs = [np.asarray(p, np.int64).reshape(-1, 2) for p in paired]
    pairs += [np.empty((0, 2), np.int64)] * (box.ndim - len(pairs))
    first = np.array([[int(lasting[0][0]), 0]])
    return [np.concatenate([first, pairs[0]]), *pairs[1:]]


def _diagram(
    image: npt.NDArray[Any],
    corner: npt.NDArray[np.int64],
    shape: tuple[int, ...],
    pairs: npt.NDArray[np.int64],
) -> Diagram:
    """Look the values up in the map, at the voxels of the padded box of this shape."""
    ends, values = [], []
    for flat in pairs.T:
        at = np.stack(np.unravel_index(flat, [size + 2 for size in shape], order="F"), axis=1) - 1
        inside = np.all((at >= 0) & (at < np.array(shape)), axis=1)
        at = np.where(inside[:, None], at + corner, -1)
        ends.append(at)
        values.append(np.where(inside, image[tuple(at.T)], image.dtype.type(0)))
    (birth_at, death_at), (birth, death) = ends, values
    # Equally long bars: the higher one first, then as the voxels lie, so that the order is always the same.
    order = np.lexsort((*birth_at.T[::-1], -birth, death.astype(np.float64) - birth))
    return Diagram(birth[order], death[order], birth_at[order], death_at[order])
