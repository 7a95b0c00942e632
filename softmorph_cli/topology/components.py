"""Connected components of a mask: labelling, and counting block by block, which saves memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError

# Foreground connectivities by dimension: the full one, which is the default, and that through faces alone.
CONNECTIVITIES: Final = {2: (8, 4), 3: (26, 6)}
# Voxels of a block: its labels take 5 bytes a voxel, and each plane between blocks takes time. 128^3 is one block.
LABEL_VOXELS: Final = 2**21


def connectivities(dims: int, connectivity: int | None) -> tuple[int, int]:
    """Return the connectivity of the foreground and the complementary connectivity of the background.

    Args:
        dims: Number of spatial axes: 2 or 3.
        connectivity: Connectivity of the foreground; None for 8 in 2D and 26 in 3D.

    Raises:
        InputError: If the connectivity does not exist or has no complement, such as 18 in 3D.
    """
    if dims not in CONNECTIVITIES:
        raise InputError(f"topology is that of 2 or 3 spatial axes, not of {dims}.")
    full, faces = CONNECTIVITIES[dims]
    chosen = full if connectivity is None else connectivity
    if chosen not in (full, faces):
        raise InputError(
            f"connectivity {chosen} has no topology in {dims}D: use {full} (background {faces}) or "
            f"{faces} (background {full})."
        )
    return chosen, faces if chosen == full else full


def count_components(array: npt.NDArray[Any], threshold: float, connectivity: int) -> int:
    """Return the number of connected components of {p > threshold}; for a mask the threshold is 0.

    Blocks are labelled one after the other and overlap in a plane. The two labels of a voxel in that plane belong to
    the same component, so the result is the number of connected components of the graph whose nodes are the labels.
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
    return count_graph_components(labels_so_far, *(np.concatenate(pairs, axis=1) - 1))


def label_components(mask: npt.NDArray[np.bool_], connectivity: int) -> tuple[npt.NDArray[Any], int]:
    """Label the connected components of a mask; return the label image (0 is background) and their number."""
    from scipy.ndimage import label

    labels, count = label(mask, neighbourhood(mask.ndim, connectivity))
    return labels, count


def neighbourhood(dims: int, connectivity: int) -> npt.NDArray[np.bool_]:
    """Return a mask, shape (3, 3) or (3, 3, 3), of the central voxel and its neighbours for a given connectivity."""
    from scipy.ndimage import generate_binary_structure

    mask: npt.NDArray[np.bool_] = generate_binary_structure(dims, 1 if connectivity == 2 * dims else dims)
    return mask


def count_graph_components(
    nodes: int, first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]
) -> int:
    """Return the number of connected components of a graph whose edges join the nodes first[k] and second[k]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # scipy.sparse.csgraph takes no wider indices before SciPy 1.17.
    ends = (first.astype(np.int32), second.astype(np.int32))
    graph = coo_array((np.ones(len(first), dtype=bool), ends), shape=(nodes, nodes))
    return int(connected_components(graph, directed=False)[0])


def row_ranges(shape: tuple[int, ...], voxels: int) -> Iterator[slice]:
    """Return consecutive ranges of the first axis that have at most `voxels` voxels each, but at least one row."""
    step = max(1, voxels // math.prod(shape[1:]))
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the bounding box of a mask, empty for an empty mask."""
    slices: list[slice] = []
    for axis in range(mask.ndim):
        # What was found along earlier axes makes the rest smaller.
        part = mask[tuple(slices)]
        at = np.flatnonzero(part.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        slices.append(slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0))
    return tuple(slices)
