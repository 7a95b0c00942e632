"""Maps that are read and written in boxes, so that they need not fit into memory; and boxes of chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
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

    Attributes:
        resumed: Whether it still holds what an interrupted run wrote.
    """

    resumed: bool

    def write(self, box: Box, values: Array, /) -> None:
        """Store the values of a box."""

    def has(self, box: Box, /) -> bool:
        """Whether a box that was written can be read."""

    def flush(self) -> object:
        """Flush to the disk what was written."""


def clipped(box: Sequence[slice], shape: Sequence[int]) -> Box:
    """Return a box with explicit ends that lie inside an array of this shape."""
    return tuple(slice(*part.indices(size)[:2]) for part, size in zip(box, shape, strict=True))


def relative(box: Box, outer: Box) -> Box:
    """Return a box in the coordinates of a box that contains it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))


def extent(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(cut.stop - cut.start for cut in box)


def chunk_numbers(box: Box, chunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Return the positions, in the grid of chunks, of those that a box overlaps."""
    pairs = zip(box, chunks, strict=True)
    return product(*(range(cut.start // size, -(-cut.stop // size)) for cut, size in pairs))


def part_in_chunk(number: Sequence[int], chunks: Sequence[int], box: Box) -> Box:
    """Return the part of a box that lies in one chunk."""
    return tuple(
        slice(max(cut.start, n * size), min(cut.stop, (n + 1) * size))
        for n, size, cut in zip(number, chunks, box, strict=True)
    )
