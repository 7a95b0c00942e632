"""Loops that two 3D maps have in common, by image persistence on discrete gradients.

`common_bars` says what is matched. A cycle of a small complex, followed along its discrete gradient and then along that
of a larger complex, is a sum of critical edges there, and so a sum of reduced boundaries of squares: its class dies in
the larger complex when the youngest of these squares joins. The matrix of these sums, one column for each bar of the
small complex from the oldest to the youngest, is reduced over Z/2; the youngest square that is left of a column is the
death of the image bar that is born with the bar of the column.

For 6-connected foreground the small complex is that of I (or J), the larger one that of C = max(I, J). For 26-connected
foreground the complexes are those of the background, where the background of C is the smaller one; births and deaths
are exchanged. Here voxels of value 0 join as well, so that all loops die at a voxel.

Sources: Cohen-Steiner et al., *Persistent homology for kernels, images, and cokernels* (SODA 2009); Robins, Wood &
Sheppard (TPAMI 2011), as in `discrete_gradient`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.topology.engine import union_find
from softmorph_cli.topology.engine.common_bars import Common
from softmorph_cli.topology.engine.filtration import Filtration, Indices
from softmorph_cli.topology.engine.loops import Reduced
from softmorph_cli.topology.engine.matrix import Columns, reduce


def common_loops(
    maps: tuple[npt.NDArray[Any], npt.NDArray[Any]], union: npt.NDArray[Any], foreground: int, pool: Pool
) -> Common:
    """Return the loops of two 3D maps, and those that they have in common.

    Args:
        maps: Both maps, in boxes with a border of zeros, one voxel wide.
        union: Their maximum.
        foreground: Connectivity of the foreground: 6 or 26.
        pool: The threads.
    """
    inside = np.pad(np.ones([size - 2 for size in union.shape], bool), 1)
    both = Filtration.whole(union, np.flatnonzero(inside))
    # Voxels of equal value in one map have the order that they have in the union. In the order of their positions the
    # gradient would lead from one end of a constant region to the other, and cycles of the other map would have to be
    # followed over all of it.
    orders = [both, *(Filtration.whole(box, both.order) for box in maps)]
    whole, *complexes = (_complex(one, foreground, pool) for one in orders)
    first, second = (_Side.of(one, whole, pool) for one in complexes)
    _, *at = np.intersect1d(first.classes, second.classes, assume_unique=True, return_indices=True)
    matched = np.stack([one.rows[which] for one, which in zip((first, second), at, strict=True)], axis=1)
    lasting = _relative_position(first.lasting, second.lasting)
    rows = np.stack(
        [one.last_rows[which] for one, which in zip((first, second), lasting.T, strict=True)], axis=1
    )
    rows = rows[(rows >= 0).all(axis=1)]
    end = np.concatenate([first.end[at[0]], np.zeros(len(rows), union.dtype)])
    return Common((first.bars, second.bars), np.concatenate([matched, rows]), end)


def _complex(filtration: Filtration, foreground: int, pool: Pool) -> Reduced:
    """Return the reduced complex of the foreground (6) or of the background (26)."""
    rising = foreground == 26
    forest = union_find.falling(filtration, 26, pool) if rising else union_find.rising(filtration, 26, pool)
    return Reduced.of(filtration, forest.merge()[1], pool, rising=rising)[0]


@dataclass(frozen=True)
class _Side:
    """The loops of one of two maps.

    Attributes:
        bars: Flat indices of the voxels of births and deaths, shape (N, 2).
        rows: The bars whose image bars die above 0.
        classes: For each of these a number of the bar of the union with which the image bar dies.
        end: The values at which these die.
        lasting: For the bars whose image bars live until 0, vectors that span the flag of their classes.
        last_rows: The bars of these vectors, -1 for a vector that only completes the flag.
    """

    bars: Indices
    rows: Indices
    classes: Indices
    end: npt.NDArray[Any]
    lasting: Columns
    last_rows: Indices

    @classmethod
    def of(cls, one: Reduced, union: Reduced, pool: Pool) -> _Side:
        """Carry the cycles of the smaller complex into the larger one."""
        birth, death = _values(one)
        bar = birth != death
        # The last element stands for no square.
        row_of = np.append(np.where(bar, np.cumsum(bar) - 1, -1), -1)
        ends = np.append(_values(union)[1], -1)
        bars = np.stack(_voxels(one), axis=1)[bar]
        bars[death[bar] == 0, 1] = -1
        small, large = (union, one) if one.rising else (one, union)
        born = np.flatnonzero(np.not_equal(*_values(small)))
        born = born[np.argsort(small.paired[born])]
        carried = small.carried(small.columns[born], large, pool)
        if one.rising:
            # The first columns are the cycles of {C = 0}, of which the reduced columns are sums.
            n = int(np.count_nonzero(ends[born] == 0))
            paired, _, reduced = reduce(_with_own_rows(carried, n), n + len(one.squares))
            classes, own = born, row_of[np.where(paired >= n, paired - n, -1)]
            flag = np.argsort(paired[:n])
            lasting = _rows_from(reduced[flag], 0, n)
        else:
            paired, _, reduced = reduce(carried, len(union.squares))
            classes, own = paired, row_of[born]
            flag = np.flatnonzero(ends[paired] == 0)
            # The squares of voxels of value 0 are the youngest.
            first = int(np.count_nonzero(union.filtration.values[union.squares] > 0))
            lasting = _rows_from(reduced[flag], first, len(union.squares))
        end = ends[classes]
        alive = (own >= 0) & (end > 0)
        alive[alive] = birth[bar][own[alive]] > end[alive]
        return cls(bars, own[alive], classes[alive], end[alive], lasting, own[flag])


def _voxels(cells: Reduced) -> tuple[Indices, Indices]:
    """Return the voxels at which the loop of each square is born and dies; voxel 0, in the border, if it has none."""
    paired, order = cells.paired >= 0, cells.filtration.order
    edge, square = np.zeros((2, len(paired)), np.int64)
    edge[paired] = order[cells.position(cells.edges[cells.paired[paired]] >> 3)]
    square[paired] = order[cells.position(cells.squares[paired])]
    return (square, edge) if cells.rising else (edge, square)


def _values(cells: Reduced) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the values at which the loop of each square is born and dies, both 0 if it has none."""
    birth, death = (cells.filtration.box.ravel()[voxels] for voxels in _voxels(cells))
    return birth, death


def _with_own_rows(matrix: Columns, count: int) -> Columns:
    """Return a matrix with `count` more rows before the others, in each of which one of the first columns has a 1."""
    number = np.arange(len(matrix))
    rows = np.insert(matrix.rows + count, matrix.end[:count], np.arange(count))
    return Columns(rows, matrix.begin + np.minimum(number, count), matrix.end + np.minimum(number + 1, count))


def _rows_from(matrix: Columns, first: int, last: int) -> Columns:
    """Return the rows from `first` to before `last` of a matrix."""
    lengths = matrix.end - matrix.begin
    column = np.repeat(np.arange(len(matrix)), lengths)
    begin = np.cumsum(lengths) - lengths
    rows = matrix.rows[np.arange(len(column)) - begin[column] + matrix.begin[column]]
    kept = (rows >= first) & (rows < last)
    return Columns.one_by_one(rows[kept] - first, np.cumsum(np.bincount(column[kept], minlength=len(matrix))))


def _relative_position(first: Columns, second: Columns) -> Indices:
    """Return the relative position of two flags, the subspaces that the first vectors of either list span.

    Vectors a and b are a pair if a is no sum of vectors before a in its list and before b in the other, but is with b.

    Returns:
        Pairs of columns, shape (N, 2).
    """
    count = len(first)
    tracked = _with_own_rows(first, count)
    used = len(tracked.rows)
    both = Columns(
        np.concatenate([tracked.rows, second.rows + count]),
        np.concatenate([tracked.begin, second.begin + used]),
        np.concatenate([tracked.end, second.end + used]),
    )
    paired, _, _ = reduce(both, int(both.rows.max(initial=-1)) + 1)
    paired = paired[count:]
    found = np.flatnonzero((paired >= 0) & (paired < count))
    return np.stack([paired[found], found], axis=1)
