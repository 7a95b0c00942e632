"""Arrays in memory that are read and written in boxes."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from softmorph_cli.io.boxes import Box
from softmorph_cli.io.raw import Array


class ArrayReader:
    """An array that is read in boxes.

    Args:
        array: (Y, X) or (Z, Y, X).
        chunks: The extent of a chunk; by default one voxel.
    """

    def __init__(self, array: Array, chunks: tuple[int, ...] | None = None) -> None:
        self.array, self.shape = array, tuple(array.shape)
        self.chunks = chunks or (1,) * array.ndim

    def read(self, box: Box) -> Array:
        """Return a copy of a box."""
        return np.array(self.array[box])


class ArrayWriter:
    """An array that is written in boxes, by this process alone."""

    def __init__(self, array: Array, *, resumed: bool = False) -> None:
        self.array, self.resumed = array, resumed

    def __reduce__(self) -> NoReturn:
        raise TypeError("an array in memory is written to by its own process.")

    def write(self, box: Box, values: Array) -> None:
        """Copy values into the array."""
        self.array[box] = values

    def has(self, box: Box) -> bool:
        return True

    def flush(self) -> None:
        pass
