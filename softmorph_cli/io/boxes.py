"""Protocols of maps that are read and written in boxes, so that they need not fit into memory."""

from __future__ import annotations

from typing import Protocol

from softmorph_cli.io.raw import Array

# A range, without a step, for each axis of space.
Box = tuple[slice, ...]


class BoxReader(Protocol):
    """A map of shape (Y, X) or (Z, Y, X) that is read in boxes; `Blocks` is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The extent of the map."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """The extent of what is stored together; boxes made of whole chunks are read fastest."""

    def read(self, box: Box, /) -> Array:
        """Return the probabilities in a box, of floating-point type."""


class BoxWriter(Protocol):
    """A map that is written in boxes; `BlockWriter` is one.

    Pickled, it can be written to by another process. If a process is killed, its box may be written a second time.
    """

    def write(self, box: Box, values: Array, /) -> None:
        """Store the values of a box."""
