"""What a map has to offer to be filtered tile by tile: reading boxes of one, writing boxes of another."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from softmorph_cli.tiled.tiling import Box

Array = npt.NDArray[Any]


class Source(Protocol):
    """A map that is read in boxes, by one thread at a time; to be read by other processes, it can be pickled."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is stored together; tiles are aligned to it where they can be."""

    def read(self, box: Box, /) -> Array:
        """Return probabilities, of floating-point type, as an array of its own."""


class Target(Protocol):
    """A map that is written in boxes, each voxel once, by one thread at a time.

    To be written by other processes it can be pickled. Whoever is killed may have written his box, and another
    writes the same once more.
    """

    def write(self, box: Box, values: Array, /) -> None:
        """Put values where they belong."""


class ArraySource:
    """An array, in memory or mapped from a file, as a source.

    Args:
        array: (Y, X) or (Z, Y, X).
        chunks: What is stored together; None where it does not matter.
    """

    def __init__(self, array: Array, chunks: tuple[int, ...] | None = None) -> None:
        """Keep the array."""
        self.array = array
        self.shape = tuple(array.shape)
        self.chunks = chunks or (1,) * array.ndim

    def read(self, box: Box) -> Array:
        """Return a copy of a box."""
        return np.array(self.array[box])


class ArrayTarget:
    """An array, in memory or mapped from a file, as a target.

    Args:
        array: Of the map's shape.
    """

    def __init__(self, array: Array) -> None:
        """Keep the array."""
        self.array = array

    def __reduce__(self) -> NoReturn:
        """Refuse to be sent: whoever writes to the copy writes to nobody."""
        raise TypeError("an array in memory is written to by its own process: give another target.")

    def write(self, box: Box, values: Array) -> None:
        """Copy values into the array."""
        self.array[box] = values
