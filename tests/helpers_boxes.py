"""Arrays in memory as source and target of tiled filters."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Box = tuple[slice, ...]
Array = npt.NDArray[Any]


class ArraySource:
    """An array as a source; `chunks` is the shape of the blocks in which it is said to be stored."""

    def __init__(self, array: Array, chunks: tuple[int, ...] | None = None) -> None:
        self.array = array
        self.shape = tuple(array.shape)
        self.chunks = chunks or (1,) * array.ndim

    def read(self, box: Box) -> Array:
        return np.array(self.array[box])


class ArrayTarget:
    """An array as a target, of one process only."""

    def __init__(self, array: Array, *, resumed: bool = False) -> None:
        self.array, self.resumed = array, resumed

    def __reduce__(self) -> NoReturn:
        raise TypeError("an array in memory is written to by its own process: give another target.")

    def write(self, box: Box, values: Array) -> None:
        self.array[box] = values

    def has(self, box: Box) -> bool:
        return True

    def flush(self) -> None:
        pass
