"""Homology of small masks and maps by linear algebra over all cells."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np


def cells(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """Return which cells of the grid a mask has; a cell's dimension is the number of its odd indices."""
    voxels_are_cubes = connectivity == 3**mask.ndim - 1
    for axis in range(mask.ndim):
        lines = np.moveaxis(mask, axis, 0)
        if voxels_are_cubes:
            lines = np.pad(lines, [(1, 1), *[(0, 0)] * (mask.ndim - 1)])
            between, own = lines[1:] | lines[:-1], lines[1:-1]
            first, second = between, own
        else:
            first, second = lines, lines[1:] & lines[:-1]
        woven = np.empty((len(first) + len(second), *lines.shape[1:]), bool)
        woven[::2], woven[1::2] = first, second
        mask = np.moveaxis(woven, 0, axis)
    return mask


def reduced(vectors: Iterable[tuple[int, int]]) -> tuple[int, list[int]]:
    """Return the rank of vectors over two elements, and the combinations of them that vanish."""
    pivots: dict[int, tuple[int, int]] = {}
    vanishing = []
    for chain, vector in vectors:
        while vector and (low := vector.bit_length()) in pivots:
            chain, vector = chain ^ pivots[low][0], vector ^ pivots[low][1]
        if vector:
            pivots[vector.bit_length()] = (chain, vector)
        else:
            vanishing.append(chain)
    return len(pivots), vanishing


def rank(vectors: Iterable[int]) -> int:
    return reduced((0, vector) for vector in vectors)[0]


def boundaries(complex_: np.ndarray, k: int) -> list[tuple[int, int]]:
    """Return the k-dimensional cells of a complex and their boundaries, as sets of bits.

    The bit of a cell is its index in the array, so complexes of one shape have the same bits.
    """
    number = np.arange(complex_.size).reshape(complex_.shape)
    found = []
    for place in map(tuple, np.argwhere(complex_)):
        odd = [axis for axis, index in enumerate(place) if index % 2]
        if len(odd) == k:
            sides = (
                tuple(index + (step if axis == along else 0) for axis, index in enumerate(place))
                for along, step in itertools.product(odd, (-1, 1))
            )
            found.append((1 << int(number[place]), sum(1 << int(number[side]) for side in sides)))
    return found


def image_bars(
    small: np.ndarray, large: np.ndarray, dimension: int, connectivity: int
) -> Counter[tuple[Any, ...]]:
    """Return the births and deaths of the images of H({small >= t}) in H({large >= t}), from the ranks of all maps.

    The rank for t >= u is that of H({small >= t}) -> H({large >= u}). Bars that live until 0 die at 0.
    """
    levels = sorted(
        {float(value) for value in np.unique(np.stack([small, large])) if value > 0}, reverse=True
    )
    cycles = [reduced(boundaries(cells(small >= t, connectivity), dimension))[1] for t in levels]
    # A first row where nothing is born, and a last column for the level 0, where all has died.
    ranks = np.zeros((len(levels) + 1, len(levels) + 1), int)
    for j, u in enumerate(levels):
        pivots: dict[int, int] = {}
        for _, vector in boundaries(cells(large >= u, connectivity), dimension + 1):
            _add(pivots, vector)
        filled = len(pivots)
        for i in range(j + 1):
            for vector in cycles[i]:
                _add(pivots, vector)
            ranks[i + 1, j] = len(pivots) - filled
    found: Counter[tuple[Any, ...]] = Counter()
    for i, birth in enumerate(levels):
        for j in range(i + 1, len(levels) + 1):
            # Alive at the level j - 1, dead at j.
            count = ranks[i + 1, j - 1] - ranks[i, j - 1] - ranks[i + 1, j] + ranks[i, j]
            if count:
                found[birth, (*levels, 0.0)[j]] += int(count)
    return found


def _add(pivots: dict[int, int], vector: int) -> None:
    """Add a vector to a basis, whose vectors are given by their highest bits."""
    while vector and (low := vector.bit_length()) in pivots:
        vector ^= pivots[low]
    if vector:
        pivots[vector.bit_length()] = vector
