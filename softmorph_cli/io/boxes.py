"""Interfaces of maps that are read and written in boxes, and functions for boxes and chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Protocol

from softmorph_cli.io.raw import Array

# A slice, without a step, for each spatial axis.
Box = tuple[slice, ...]


class BoxReader(Protocol):
    """The interface of a 2D or 3D map that is read in boxes; `Blocks` implements it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the map: (Y, X) or (Z, Y, X)."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of a stored chunk; boxes made of whole chunks are read fastest."""

    def read(self, box: Box, /) -> Array:
        """Return the probabilities in a box as a floating-point array."""


class BoxWriter(Protocol):
    """The interface of a map that is written in boxes; `BlockWriter` implements it.

    A writer can be pickled, so that other processes write boxes too. A box may be written again after a process is
    killed.

    Attributes:
        resumed: Whether the map still holds the boxes that an interrupted run wrote.
    """

    resumed: bool

    def write(self, box: Box, values: Array, /) -> None:
        """Store the values of a box."""

    def has(self, box: Box, /) -> bool:
        """Return whether a box was written and can be read."""

    def flush(self) -> object:
        """Flush the written boxes to the disk."""


def clipped(box: Sequence[slice], shape: Sequence[int]) -> Box:
    """Return a box clipped to an array of shape `shape`, with explicit start and stop indices."""
    return tuple(slice(*part.indices(size)[:2]) for part, size in zip(box, shape, strict=True))


def relative(box: Box, outer: Box) -> Box:
    """Return the box `box` in coordinates relative to the first voxel of the box `outer`, which contains it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))


def extent(box: Box) -> tuple[int, ...]:
    """Return the shape of a box."""
    return tuple(cut.stop - cut.start for cut in box)


def chunk_numbers(box: Box, chunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Return the grid indices of the chunks that a box overlaps, given the shape of a chunk."""
    pairs = zip(box, chunks, strict=True)
    return product(*(range(cut.start // size, -(-cut.stop // size)) for cut, size in pairs))


def part_in_chunk(number: Sequence[int], chunks: Sequence[int], box: Box) -> Box:
    """Return the intersection of a box with the chunk at the grid index `number`."""
    return tuple(
        slice(max(cut.start, n * size), min(cut.stop, (n + 1) * size))
        for n, size, cut in zip(number, chunks, box, strict=True)
    )
