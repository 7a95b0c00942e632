"""Tests for P-simple points in 3D: voxels that may be deleted together with any neighbours in a set P.

A voxel x of a set P is P-simple if x is simple after the deletion of any part of the rest of P. Deleting any subset
of P-simple voxels at once keeps the topology for (26, 6) connectivity. The neighbourhood of x does not determine
which neighbours a sub-iteration deletes, so P is taken as large as possible: a neighbour belongs to P unless the part
of the neighbour's neighbourhood that is visible from x excludes the neighbour's deletion. A larger P makes fewer
voxels P-simple, so the test is conservative.

Source: Bertrand, *On P-simple points*, Comptes rendus de l'Académie des sciences 321 (1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.rules.neighborhood import Offset
from softmorph_cli.rules.ring import Masks, Ring, around, components, ring

Words = npt.NDArray[np.uint64]
# For every view of a neighbour: whether it may be deleted.
Allowed = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _View:
    """Tables of views: the part of the ring of each neighbour y that also lies in the ring of a voxel x.

    A ring is an integer with a bit for each of the 26 neighbours. A view is an integer with a bit for each common
    neighbour of x and y.

    Attributes:
        seen: For each y and each value of 9 bits of the ring of x, the bits that they contribute to the view, (26, 3,
            512).
        shown: For each y and each value of 9 bits of the ring of y, the bits that they contribute to the view, (26,
            3, 512).
        back: For each y, the bit of x in the ring of y, (26,).
        start: For each y, the index of the first view in a table of all views of all neighbours, (27,).
    """

    seen: Masks
    shown: Masks
    back: Masks
    start: Masks


def first_failure(deleted: Words, *, alone: bool) -> tuple[set[Offset], set[Offset]] | None:
    """Return the first neighbourhood in which a deleted voxel is not P-simple; None if no such neighbourhood exists.

    Args:
        deleted: The truth table of the deletions, from `deletions.deletions`, shape (2^20,).
        alone: Whether no neighbours are deleted together with the voxel: P-simple then means simple.

    Returns:
        The offsets of the foreground neighbours, and the offsets of those neighbours that may be deleted as well.
    """
    mark, search = _compiled()
    neighbours, view = ring(3), _view()
    allowed = np.zeros(view.start[-1], np.bool_)
    if not alone:
        mark(deleted, view.shown, view.back, view.start, allowed)
    tables = (neighbours.grow, neighbours.flow, neighbours.near, neighbours.cross, squares())
    bits, peers = search(deleted, view.seen, view.start, allowed, tables)
    return None if bits < 0 else (neighbours.chosen(bits), neighbours.chosen(peers))


@cache
def _compiled() -> tuple[Any, Any]:
    import numba

    njit: Any = numba.njit
    test, peers, count = njit(is_p_simple), njit(peers_of), njit(components)

    def search(deleted: Words, seen: Masks, start: Masks, allowed: Allowed, tables: tuple[Any, ...]) -> Any:
        for word in range(deleted.size):
            for bit in range(64 if deleted[word] else 0):
                if deleted[word] >> np.uint64(bit) & np.uint64(1):
                    bits = 64 * word + bit
                    others = peers(bits, seen, start, allowed)
                    if not test(bits, others, tables, count):
                        return bits, others
        return -1, 0

    return njit(_mark), njit(search)


def is_p_simple(bits: int, peers: int, tables: tuple[Any, ...], count: Any) -> bool:
    """Return whether a voxel is P-simple, by Bertrand's local characterisation.

    Args:
        bits: The ring (bit mask of neighbours) of the foreground neighbours of the voxel.
        peers: The ring of the foreground neighbours that belong to P.
        tables: The masks `grow`, `flow`, `near`, `cross` of `Ring`, and the result of `squares()`.
        count: The function `rules.ring.components`, possibly compiled.
    """
    grow, flow, near, cross, square = tables
    kept = bits & ~peers
    # The foreground outside P and the background are one component each, and every peer touches that foreground.
    if count(kept, kept, grow) != 1 or count(near & ~bits, cross, flow) != 1:
        return False
    for place in range(26):
        if not peers >> place & 1:
            continue
        if not grow[place] & kept:
            return False
        # A direct neighbour in P shares with x a unit square whose other two voxels are background.
        if cross >> place & 1:
            found = False
            for pair in square[place]:
                found = found or not bits & pair
            if not found:
                return False
    return True


@cache
def squares() -> Masks:
    """Return bit masks, shape (26, 4), for the four unit squares that contain x and each direct neighbour.

    Each mask holds the two voxels of a square other than x and the neighbour; rows of other neighbours are 0.
    """
    neighbours = ring(3)
    found = np.zeros((26, 4), np.int64)
    sides = sorted(neighbours.chosen(neighbours.cross))
    for k, offset in enumerate(neighbours.offsets):
        if offset in sides:
            across = [side for side in sides if not any(a and b for a, b in zip(side, offset, strict=True))]
            found[k] = [neighbours.bits({side} | around(offset, {side})) for side in across]
    return found


@cache
def _view() -> _View:
    neighbours = ring(3)
    seen, shown = (np.zeros((26, 3, 512), np.int64) for _ in range(2))
    back, start = np.zeros(26, np.int64), np.zeros(27, np.int64)
    for k, offset in enumerate(neighbours.offsets):
        opposite = tuple(-o for o in offset)
        common = sorted(neighbours.chosen(neighbours.bits(around(offset, set(neighbours.offsets)))))
        for bit, place in enumerate(common):
            _gather(seen[k], neighbours, place, bit)
            _gather(shown[k], neighbours, tuple(map(int, np.add(place, opposite))), bit)
        back[k] = neighbours.bits({opposite})
        start[k + 1] = start[k] + (1 << len(common))
    return _View(seen, shown, back, start)


def _gather(table: Masks, neighbours: Ring, place: Offset, bit: int) -> None:
    nine, within = divmod(neighbours.offsets.index(place), 9)
    table[nine, np.arange(512) >> within & 1 == 1] |= 1 << bit


def _mark(deleted: Words, shown: Masks, back: Masks, start: Masks, allowed: Allowed) -> None:
    """Set `allowed` for each view (of `_View`) with which a neighbour may be deleted while x is foreground."""
    for word in range(deleted.size):
        for bit in range(64 if deleted[word] else 0):
            if deleted[word] >> np.uint64(bit) & np.uint64(1):
                bits = 64 * word + bit
                for y in range(26):
                    if bits & back[y]:
                        low, middle = shown[y, 0, bits & 511], shown[y, 1, bits >> 9 & 511]
                        allowed[start[y] + (low | middle | shown[y, 2, bits >> 18])] = True


def peers_of(bits: int, seen: Masks, start: Masks, allowed: Allowed) -> int:
    """Return the ring of the foreground neighbours that may be deleted too, according to their views (`_View`).

    Args:
        bits: The ring of the foreground neighbours of the voxel x.
        seen: The table `_View.seen`.
        start: The table `_View.start`.
        allowed: For each view, whether the neighbour may be deleted.
    """
    found = 0
    for y in range(26):
        if bits >> y & 1:
            view = seen[y, 0, bits & 511] | seen[y, 1, bits >> 9 & 511] | seen[y, 2, bits >> 18]
            if allowed[start[y] + view]:
                found |= 1 << y
    return found
