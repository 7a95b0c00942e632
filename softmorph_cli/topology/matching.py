"""Betti matching of two maps: which of their components, loops and cavities are the same.

Let C = max(I, J) for two maps I and J, so that {I >= t} and {J >= t} lie in {C >= t}. The image bars of I are the bars
of the images of H({I >= t}) in H({C >= t}). Each is born with one bar of I and dies with one bar of C. A bar of I and a
bar of J are matched if the image bars that are born with them die with the same bar of C.

Voxels of equal value above 0 are ordered by their position. Voxels of value 0 are not in the filtration: classes that
live until 0 are matched as far as the subspaces that they span in H({C > 0}) agree, which depends on no order. For two
masks the numbers of bars that are matched are therefore the dimensions of the intersections of the images of H(I) and
H(J) in H(C), as in the Betti matching errors of masks.

Sources: Stucki et al., *Topologically faithful image segmentation via induced matching of persistence barcodes* (ICML
2023); Berger et al., *Topologically faithful multi-class segmentation in medical images* (MICCAI 2024); Bauer &
Lesnick, *Induced matchings and the algebraic stability of persistence barcodes* (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.system import machine
from softmorph_cli.topology.components import connectivities
from softmorph_cli.topology.engine.common_bars import Common, common_cavities, common_components
from softmorph_cli.topology.engine.common_loops import common_loops
from softmorph_cli.topology.engine.filtration import Filtration, Indices
from softmorph_cli.topology.persistence import Diagram, check_map, computed, prepared, sorted_diagram


@dataclass(frozen=True)
class Matched:
    """The persistence bars of one dimension of two maps, and which of them are the same.

    Attributes:
        first: The bars of the first map, as `persistence.bars` has them.
        second: The bars of the second map.
        pairs: Row indices of matched bars in `first` and in `second`, ascending, shape (M, 2).
        end: For each pair the highest threshold at which the common class no longer exists in the maximum of both maps,
            shape (M,).
    """

    first: Diagram
    second: Diagram
    pairs: Indices
    end: npt.NDArray[Any]

    @property
    def unmatched(self) -> tuple[Indices, Indices]:
        """The row indices of the bars of either map that are not matched."""
        first, second = (
            np.setdiff1d(np.arange(len(one)), rows)
            for one, rows in zip((self.first, self.second), self.pairs.T, strict=True)
        )
        return first, second

    @property
    def loss(self) -> float:
        """The Betti matching loss of the dimension.

        It is the sum of 2 ((b - b')^2 + (d - d')^2) over matched bars with births b, b' and deaths d, d', and of
        (b - d)^2 over all others: twice the squared distances in the plane of births and deaths, those of unmatched
        bars to the diagonal.
        """
        first, second = self.first[self.pairs[:, 0]], self.second[self.pairs[:, 1]]
        matched = sum(
            np.square(a.astype(np.float64) - b).sum()
            for a, b in ((first.birth, second.birth), (first.death, second.death))
        )
        rest = [one[rows] for one, rows in zip((self.first, self.second), self.unmatched, strict=True)]
        return float(2 * matched + sum(np.square(one.length.astype(np.float64)).sum() for one in rest))


@dataclass(frozen=True)
class Matching:
    """The Betti matching of two maps.

    Attributes:
        dimensions: The bars of dimension 0 (components), 1 (loops) and, in 3D, 2 (cavities).
        connectivity: Connectivity of the foreground, 4 or 8 in 2D, 6 or 26 in 3D.
    """

    dimensions: tuple[Matched, ...]
    connectivity: int

    @property
    def loss(self) -> float:
        """The sum of the losses of all dimensions."""
        return sum(one.loss for one in self.dimensions)


def match(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    connectivity: int | None = None,
    threads: int | None = None,
) -> Matching:
    """Return the Betti matching of two maps.

    Args:
        first: Probabilities, shape (Y, X) or (Z, Y, X), floating point; not modified.
        second: Probabilities or a mask of 0 and 1, of the same shape and dtype.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        threads: Number of threads; None for the default of this process. The matching does not depend on it.

    Raises:
        InputError: If the maps do not have the same shape and dtype, or as for `persistence.bars`.

    >>> import numpy as np
    >>> matching = match(np.array([[0.9, 0.2, 0.0, 0.7]]), np.array([[0.0, 1.0, 0.0, 0.0]]))
    >>> components = matching.dimensions[0]
    >>> components.first.birth[components.pairs[:, 0]], round(matching.loss, 2)  # 2 (0.9 - 1)^2 + 0.7^2
    (array([0.9]), 0.51)
    """
    return match_dimensions(first, second, range(first.ndim), connectivity, threads)


def match_dimensions(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    dimensions: Sequence[int],
    connectivity: int | None = None,
    threads: int | None = None,
) -> Matching:
    """Return the Betti matching of some dimensions; the other arguments and the errors are those of `match`."""
    if first.shape != second.shape or first.dtype != second.dtype:
        raise InputError(
            f"matching needs two maps of one shape and type; these are {first.dtype} {first.shape} and "
            f"{second.dtype} {second.shape}."
        )
    images = (first, second)
    corner, boxes, union, foreground = _boxes(images, connectivity)
    # Measured are 385 bytes a voxel of noise, 105 where few voxels are above 0.
    found = computed(
        lambda: _common(boxes, union, foreground, dimensions, threads or machine.threads()), union, maps=4
    )
    return Matching(
        tuple(_matched(images, corner, union.shape, found[dimension]) for dimension in dimensions), foreground
    )


def _boxes(
    images: tuple[npt.NDArray[Any], npt.NDArray[Any]], connectivity: int | None
) -> tuple[npt.NDArray[np.int64], tuple[npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any], int]:
    """Return the corner of the bounding box of both maps, both and their maximum in it, and the connectivity."""
    for image in images:
        check_map(image, connectivity)
    corner, union, foreground = prepared(np.maximum(*images), connectivity)
    inside = tuple(slice(start, start + size - 2) for start, size in zip(corner, union.shape, strict=True))
    first, second = (np.pad(image[inside].astype(union.dtype, copy=False), 1) for image in images)
    return corner, (first, second), union, foreground


def _common(
    boxes: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    union: npt.NDArray[Any],
    foreground: int,
    dimensions: Sequence[int],
    threads: int,
) -> dict[int, Common]:
    """Return the bars of both maps and which are matched, for some dimensions."""
    pool = Pool(threads, union.size)
    maps, both = (Filtration.of(boxes[0]), Filtration.of(boxes[1])), Filtration.of(union)
    background = connectivities(union.ndim, foreground)[1]
    found = {}
    for dimension in dimensions:
        if dimension == 0:
            found[dimension] = common_components(maps, both, foreground, pool)
        elif dimension == union.ndim - 1:
            found[dimension] = common_cavities(maps, both, background, pool)
        else:
            found[dimension] = common_loops(boxes, union, foreground, pool)
    return found


def _matched(
    images: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    corner: npt.NDArray[np.int64],
    shape: tuple[int, ...],
    common: Common,
) -> Matched:
    """Return sorted diagrams of the bars of a box, and the matched rows in them."""
    (first, first_order), (second, second_order) = (
        sorted_diagram(image, corner, shape, ends) for image, ends in zip(images, common.ends, strict=True)
    )
    pairs = np.stack(
        [
            np.argsort(order)[rows]
            for order, rows in zip((first_order, second_order), common.matched.T, strict=True)
        ],
        axis=1,
    )
    order = np.argsort(pairs[:, 0])
    return Matched(first, second, pairs[order], common.end[order].astype(images[0].dtype))
