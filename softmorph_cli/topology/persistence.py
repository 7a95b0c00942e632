"""Persistence of a probability map: the thresholds at which its components, loops and cavities are born and die.

As the threshold t falls from 1 to 0 the mask {p >= t} grows. A homology class of dimension k (0 components, 1 loops, 2
cavities) is born at the value of one voxel and dies at the value of another voxel: a component when it joins an older
component, a loop or a cavity when it is filled. One component never dies; here its death is 0, where everything is
foreground. The interval from birth to death is the bar of the class.

Voxels of value 0 and the surroundings of the map join last, and no end of a bar is placed there. Components and
cavities (all classes in 2D) are computed by union-find, loops in 3D from a discrete gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.system import machine
from softmorph_cli.system.interruption import interruptible
from softmorph_cli.system.machine import memory
from softmorph_cli.system.parameters import in_shell, take_a_part
from softmorph_cli.topology.components import bounding_box, connectivities
from softmorph_cli.topology.engine import union_find
from softmorph_cli.topology.engine.filtration import Filtration, Indices
from softmorph_cli.topology.engine.loops import loops
from softmorph_cli.topology.engine.order import lexicographic

# Memory per voxel of the bounding box of p > 0, and per voxel above 0; measured are 20 and 30 to 110.
_BOX_BYTES: Final = 25
_VOXEL_BYTES: Final = 110
# For so few voxels, limits of memory are not read and no thread is started, which would take longer than the bars.
_SMALL: Final = 1 << 12
Value = TypeVar("Value")


@dataclass(frozen=True)
class Diagram:
    """The persistence bars of one dimension, in order of decreasing length.

    Attributes:
        birth: For each bar the highest threshold t at which the class exists in {p >= t}, a value of the map; shape
            (N,).
        death: For each bar the highest threshold below `birth` at which the class no longer exists, a value of the map
            or 0; shape (N,).
        birth_at: Array indices of the voxels whose values are `birth`, shape (N, 2) or (N, 3).
        death_at: Array indices of the voxels whose values are `death`; -1 along all axes if the class dies at 0.
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


def bars(image: npt.NDArray[Any], connectivity: int | None = None, threads: int | None = None) -> Bars:
    """Return the persistence bars of the superlevel sets of a map, without bars of length 0.

    The computation takes up to 110 bytes of memory for each voxel above 0, and 25 for each of their bounding box.

    Args:
        image: Probabilities, shape (Y, X) or (Z, Y, X), floating point; not modified.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        threads: Number of threads; None for the default of this process. The bars do not depend on it.

    Returns:
        The bars; births and deaths are unrounded values of the map and have its dtype. A map of zeros has no bars.

    Raises:
        InputError: If the map does not have 2 or 3 axes or does not hold floating-point numbers in [0, 1], the
            connectivity does not exist, or memory does not suffice.
    """
    found = diagrams(image, range(image.ndim), connectivity, threads)
    return Bars(tuple(found), connectivities(image.ndim, connectivity)[0])


def diagram(
    image: npt.NDArray[Any], dimension: int, connectivity: int | None = None, threads: int | None = None
) -> Diagram:
    """Return the persistence bars of a map in one dimension: 0 (components), 1 (loops) or, in 3D, 2 (cavities).

    The other arguments and the errors are those of `bars`.
    """
    return diagrams(image, (dimension,), connectivity, threads)[0]


def diagrams(
    image: npt.NDArray[Any],
    dimensions: Sequence[int],
    connectivity: int | None = None,
    threads: int | None = None,
) -> list[Diagram]:
    """Return the persistence bars of a map in each of some dimensions; arguments and errors are those of `diagram`."""
    corner, box, foreground = prepared(image, connectivity)
    pairs = computed(lambda: _pairs(box, foreground, dimensions, threads or machine.threads()), box)
    return [sorted_diagram(image, corner, box.shape, pairs[dimension])[0] for dimension in dimensions]


def computed(work: Callable[[], Value], box: npt.NDArray[Any], maps: int = 1) -> Value:
    """Return what kernels compute of a box, if memory suffices for the bars of so many maps.

    Raises:
        InputError: If the bars need more memory than the system would grant before killing the process.
    """
    if box.size <= _SMALL:
        return work()
    _check_memory(box, maps)
    # A long call of kernels, during which the main thread handles signals.
    found: Value = interruptible(work)
    return found


def check_map(image: npt.NDArray[Any], connectivity: int | None) -> int:
    """Return the connectivity of the foreground of a map, or raise InputError as `bars` does."""
    foreground = connectivities(image.ndim, connectivity)[0]
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"persistence is that of floating-point probabilities, not of {image.dtype}.")
    if image.size and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"persistence is that of probabilities in [0, 1]; this map has values from {image.min():g} to "
            f"{image.max():g}."
        )
    return foreground


def prepared(
    image: npt.NDArray[Any], connectivity: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any], int]:
    """Check a map; return the corner of the bounding box of p > 0, the box and the connectivity of the foreground.

    The box is an array of float32 or float64 with the values of the map and a border of zeros, one voxel wide.
    """
    foreground = check_map(image, connectivity)
    slices = bounding_box(image > 0)
    corner = np.array([along.start for along in slices])
    exact = np.float64 if image.dtype.itemsize > 4 else np.float32
    return corner, np.pad(image[slices].astype(exact, copy=False), 1), foreground


def _check_memory(box: npt.NDArray[Any], maps: int) -> None:
    """Raise InputError if memory does not suffice for the bars of so many maps."""
    above = int(np.count_nonzero(box))
    needed, limit = maps * (_BOX_BYTES * box.size + _VOXEL_BYTES * above), memory()
    if limit is not None and needed > limit:
        raise InputError(
            f"bars of {above:,} voxels above 0 take about {needed / 1e9:.1f} GB, and {limit / 1e9:.1f} GB may be used: "
            + take_a_part()
            + (", or count without bars (softmorph topology numbers --no-bars)." if in_shell() else ".")
        )


def _pairs(
    box: npt.NDArray[Any], foreground: int, dimensions: Sequence[int], threads: int
) -> dict[int, Indices]:
    """Return, for some dimensions, the flat indices of the voxels of births and deaths, shape (N, 2)."""
    filtration, pool = Filtration.of(box), Pool(threads, box.size)
    highest, loops_too = box.ndim - 1, box.ndim == 3 and 1 in dimensions
    found: dict[int, Indices] = {}
    if 0 in dimensions or loops_too:
        components = union_find.components(filtration, foreground, pool)
        found[0] = components.pairs
    if highest in dimensions or loops_too:
        cavities = union_find.cavities(filtration, connectivities(box.ndim, foreground)[1], pool)
        found[highest] = cavities.pairs
    if loops_too:
        found[1] = loops(filtration, foreground, components, cavities, pool)
    return {dimension: found[dimension] for dimension in dimensions}


def sorted_diagram(
    image: npt.NDArray[Any], corner: npt.NDArray[np.int64], shape: tuple[int, ...], pairs: Indices
) -> tuple[Diagram, Indices]:
    """Return the diagram of pairs of voxels, and the pair of each of its bars.

    Args:
        image: The map.
        corner: Array index in the map of the first voxel of the box inside the border.
        shape: Shape of the box with its border of one voxel, which lies outside the map.
        pairs: Flat indices, in the box, of births and of deaths; -1 for a death at 0.
    """
    lasting = pairs[:, 1] < 0
    birth_at, death_at = (
        np.stack(np.unravel_index(np.maximum(flat, 0), shape), axis=1) + (corner - 1) for flat in pairs.T
    )
    death_at[lasting] = -1
    birth = image[tuple(birth_at.T)]
    death = np.where(lasting, image.dtype.type(0), image[tuple(death_at.T)])
    # Bars of equal length are sorted by falling birth, then by voxel, so that the order is reproducible.
    order = lexicographic(*birth_at.T[::-1], -birth, death.astype(np.float64) - birth)
    return Diagram(birth, death, birth_at, death_at)[order], order
