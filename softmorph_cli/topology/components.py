"""Connected components: their labels, and their number block by block, which takes the labels of one block alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Labels take 5 bytes a voxel, and where blocks meet there is more to do; a map of 128^3 is one of these.
LABEL_VOXELS: Final = 2**21


def count_components(array: npt.NDArray[Any], threshold: float, connectivity: int) -> int:
    """Count the connected components of {p > threshold}.

    Neighbouring blocks share a plane. A voxel of that plane has a label in both, and two labels of one voxel
    are one component: what is left to count is the components of the graph of labels.

    Args:
        array: Shape (Y, X) or (Z, Y, X); of a mask the threshold 0 takes what is True.
        threshold: Above it is foreground.
        connectivity: 4 or 8, 6 or 26.
    """
    labels_so_far = 0
    shared_plane: npt.NDArray[Any] | None = None
    pairs: list[npt.NDArray[np.int64]] = []
    for rows in row_ranges(array.shape, LABEL_VOXELS):
        start = rows.start if shared_plane is None else rows.start - 1
        labels, count = label_components(array[start : rows.stop] > threshold, connectivity)
        if shared_plane is not None:
            foreground = shared_plane > 0
            same = np.stack([shared_plane[foreground], labels[0][foreground] + labels_so_far])
            pairs.append(np.unique(same, axis=1))
        shared_plane = np.where(labels[-1] > 0, labels[-1] + np.int64(labels_so_far), 0)
        labels_so_far += count
    if not pairs or labels_so_far == 0:
        return labels_so_far
    return count_groups(labels_so_far, *(np.concatenate(pairs, axis=1) - 1))


def label_components(mask: npt.NDArray[np.bool_], connectivity: int) -> tuple[npt.NDArray[Any], int]:
    """Return the labels of the connected components of a mask, 0 outside, and how many there are.

    Args:
        mask: Shape (Y, X) or (Z, Y, X).
        connectivity: 4 or 8, 6 or 26.
    """
    from scipy.ndimage import generate_binary_structure, label

    full = connectivity == 3**mask.ndim - 1
    labels, count = label(mask, generate_binary_structure(mask.ndim, mask.ndim if full else 1))
    return labels, count


def count_groups(nodes: int, first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> int:
    """Return how many components a graph has.

    Args:
        nodes: How many nodes there are, numbered from 0.
        first: One end of each edge.
        second: The other end.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # scipy.sparse.csgraph takes no wider indices before SciPy 1.17.
    ends = (first.astype(np.int32), second.astype(np.int32))
    graph = coo_array((np.ones(len(first), dtype=bool), ends), shape=(nodes, nodes))
    return int(connected_components(graph, directed=False)[0])


def row_ranges(shape: tuple[int, ...], voxels: int) -> Iterator[slice]:
    """Yield ranges of the first axis that hold at most so many voxels, or one row where that is longer."""
    step = max(1, voxels // math.prod(shape[1:]))
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))
