"""Counts of the loops (classes of H_1) of 3D masks that are still loops in a larger mask."""

from __future__ import annotations

import numpy as np

from softmorph_cli.metrics.warping import Mask
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.components import count_components
from softmorph_cli.topology.matching import match_dimensions
from softmorph_cli.topology.persistence import diagram


def kept_loops(small: Mask, large: Mask, connectivity: int, threads: int | None = None) -> int:
    """Return how many independent loops of a mask are loops of a larger mask: the rank of H_1(small) -> H_1(large).

    They are the bars that last from 1 to 0 of the map that is 1 in `small` and 1/2 in the rest of `large`.

    Args:
        small: A mask, shape (Z, Y, X), that lies inside `large`.
        large: A mask of the same shape.
        connectivity: Connectivity of both masks: 6 or 26.
        threads: Number of threads; None for the default of this process.

    Raises:
        InputError: If memory does not suffice.

    >>> ring = np.ones((1, 3, 3), bool)
    >>> ring[0, 1, 1] = False
    >>> kept_loops(ring, ring, 26), kept_loops(ring, np.ones_like(ring), 26)
    (1, 0)
    """
    levels = np.where(small, np.float32(1), np.where(large, np.float32(0.5), np.float32(0)))
    loops = diagram(levels, 1, connectivity, threads)
    return int(np.count_nonzero((loops.birth == 1) & (loops.death == 0)))


def common_loops(first: Mask, second: Mask, connectivity: int, threads: int | None = None) -> int:
    """Return how many independent loops two masks have in common within the union of the masks.

    It is the dimension of the intersection of the images of H_1 of both masks in H_1 of the union. Voxels that are
    26-connected are closed cubes, and the images of masks A and B together span the kernel of H_1(A or B) -> H_0(S)
    in the sequence of Mayer and Vietoris, where S is the set of the points that both masks contain.

    Args:
        first: A mask, shape (Z, Y, X).
        second: A mask of the same shape.
        connectivity: Connectivity of both masks: 6 or 26.
        threads: Number of threads; None for the default of this process.

    Raises:
        InputError: If memory does not suffice.

    Source: Hatcher, *Algebraic Topology* (2002), section 2.2, for the sequence.

    >>> ring = np.ones((1, 3, 3), bool)
    >>> ring[0, 1, 1] = False
    >>> common_loops(ring, ring, 26), common_loops(ring, np.ones_like(ring), 26)
    (1, 0)
    """
    if connectivity == 6:
        # Pairs of neighbours of which one voxel is in A only and the other in B only are in neither complex.
        maps = [mask.astype(np.float32) for mask in (first, second)]
        return len(match_dimensions(maps[0], maps[1], (1,), connectivity, threads).dimensions[0].pairs)
    either = first | second
    alone = sum(kept_loops(mask, either, connectivity, threads) for mask in (first, second))
    union = betti_numbers(either, connectivity)
    pieces = [count_components(mask, 0, connectivity) for mask in (first, second)]
    # The kernel of H_0(S) -> H_0(A) + H_0(B) is the cycle space of the graph whose nodes are the components of A and B,
    # and whose edges are those of S; the graph has as many components as the union.
    cycles = _shared_pieces(first, second) - sum(pieces) + union.b0
    return alone - (union.b1 - cycles)


def _shared_pieces(first: Mask, second: Mask) -> int:
    """Return the number of components of the points that lie in closed voxels of both masks."""
    return count_components(_cells(first) & _cells(second), 0, 2 * first.ndim)


def _cells(mask: Mask) -> Mask:
    """Return the cells of closed voxels: at odd indices along k axes those of dimension k; shape (2 Z + 1, ...)."""
    for axis, size in enumerate(mask.shape):
        mask = np.moveaxis(mask, axis, 0)
        cells = np.zeros((2 * size + 1, *mask.shape[1:]), bool)
        cells[1::2] = mask
        cells[:-1:2] = mask
        cells[2::2] |= mask
        mask = np.moveaxis(cells, 0, axis)
    return mask
