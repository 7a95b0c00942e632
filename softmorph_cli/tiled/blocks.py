"""Protocols of the maps that a tiled filter reads and writes box by box."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

from softmorph_cli.tiled.tiling import Box

Array = npt.NDArray[Any]


class BoxSource(Protocol):
    """A map that is read in boxes, by one thread at a time; picklable, if other processes read it too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the blocks that are stored together; tiles are aligned to them where possible."""

    def read(self, box: Box, /) -> Array:
        """Return a new array of the probabilities in a box, of floating-point type."""


class BoxTarget(Protocol):
    """A map that is written in boxes, by one thread at a time; picklable, if other processes write it too.

    A box may be written twice with the same values: once by a worker that was killed, once by another.

    Attributes:
        resumed: Whether it still holds what an interrupted run wrote.
    """

    resumed: bool

    def write(self, box: Box, values: Array, /) -> None:
        """Write the values of a box."""

    def has(self, box: Box, /) -> bool:
        """Whether a box that was written can be read."""

    def flush(self) -> object:
        """Flush to the disk what was written."""
