"""Lazy views of stored arrays: values are read from the file when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np

from softmorph_cli.io.raw import Array

# The largest size in bytes of a box of `Lazy.boxes`.
_BOX = 1 << 27

Index = tuple[slice | int, ...]


class Stored(Protocol):
    """The interface of a stored array that can be read in parts, such as a Zarr array or a memory-mapped file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array on disk."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type on disk."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read the part of the array that an index selects."""


class Lazy:
    """A lazy view of a stored array, indexed and transposed like NumPy views; `numpy.asarray` reads the values.

    Attributes:
        stored: The stored array that is viewed.
        ndim: The number of axes of the view.
        shape: The shape of the view.
        dtype: The stored element type.
        chunks: The size of a stored chunk along each axis of the view.
    """

    def __init__(
        self,
        stored: Stored,
        chunks: Sequence[int],
        read: Callable[[Stored, Index], Array],
        *,
        cuts: Index | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        """Create a view of a stored array.

        Args:
            stored: The stored array, of which only the shape and element type are used before `read` is called.
            chunks: The size of a chunk along each stored axis.
            read: A function that reads a part of the stored array, given a slice or integer for each stored axis;
                errors that it raises are shown to the user.
            cuts: For each stored axis a slice, or an integer if the view does not have the axis; None for everything.
            order: The indices of the stored axes in the order of the view's axes; None for the stored order.
        """
        self.stored: Any = stored
        self._chunks, self._read = tuple(chunks), read
        self._cuts = cuts or tuple(slice(0, size) for size in stored.shape)
        self._order = tuple(range(len(self._cuts)) if order is None else order)
        self.shape = tuple(self._range(axis).stop - self._range(axis).start for axis in self._order)
        self.chunks = tuple(min(self._chunks[a], n) for a, n in zip(self._order, self.shape, strict=True))
        self.ndim = len(self.shape)
        self.dtype = np.dtype(stored.dtype)
        self.size = prod(self.shape)
        self.nbytes = self.size * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Lazy:
        """Return a smaller view; an index has slices without steps, integers, or an ellipsis."""
        parts = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        parts += [slice(None)] * (self.ndim - len(parts))
        cuts, order = list(self._cuts), []
        for axis, size, part in zip(self._order, self.shape, parts, strict=True):
            start = self._range(axis).start
            if isinstance(part, slice):
                first, last, step = part.indices(size)
                if step != 1:
                    raise IndexError("a stored array is cut without steps.")
                cuts[axis] = slice(start + first, start + max(first, last))
                order.append(axis)
            else:
                cuts[axis] = start + range(size)[part]
        return self._view(cuts, order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read the view into a NumPy array, converted to `dtype` if one is given."""
        read = self._read(self.stored, self._cuts)
        kept = sorted(self._order)
        values = read.transpose([kept.index(axis) for axis in self._order])
        return values if dtype is None else values.astype(dtype, copy=False)

    def transpose(self, order: Sequence[int]) -> Lazy:
        """Return a view with the axes permuted to `order`."""
        return self._view(self._cuts, [self._order[axis] for axis in order])

    def take(self, index: int, axis: int) -> Lazy:
        """Return a view of the entries at one index of an axis; the axis is removed."""
        where: list[Any] = [slice(None)] * self.ndim
        where[axis] = index
        return self[tuple(where)]

    def squeeze(self, axis: int) -> Lazy:
        """Return a view from which an axis of size one is removed."""
        return self.take(0, axis)

    def boxes(self) -> Iterator[tuple[slice, ...]]:
        """Yield boxes (a slice for each axis) of bounded size and made of whole chunks, that partition the view."""
        step = list(self.chunks)
        # The last axes first, along which values are contiguous in the file.
        for axis in reversed(range(self.ndim)):
            room = _BOX // max(1, prod(step) * self.dtype.itemsize)
            step[axis] *= max(1, min(-(-self.shape[axis] // step[axis]), room))
        counts = [-(-size // one) for size, one in zip(self.shape, step, strict=True)]
        for number in np.ndindex(*counts):
            first = [n * one for n, one in zip(number, step, strict=True)]
            yield tuple(
                slice(at, min(at + one, size)) for at, one, size in zip(first, step, self.shape, strict=True)
            )

    def _range(self, axis: int) -> slice:
        cut = self._cuts[axis]
        return cut if isinstance(cut, slice) else slice(cut, cut + 1)

    def _view(self, cuts: Sequence[slice | int], order: Sequence[int]) -> Lazy:
        return Lazy(self.stored, self._chunks, self._read, cuts=tuple(cuts), order=order)
