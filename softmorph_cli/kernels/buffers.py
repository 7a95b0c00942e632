"""Padded flat buffers: the layout of an image in a buffer, divided into runs of voxels, and a pool of buffers."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler.compile import Step
from softmorph_cli.rules.neighborhood import Offset

Array = npt.NDArray[Any]

# The number of buffers kept for reuse, and their maximal size in bytes.
_KEPT: Final = 2
_KEPT_BYTES: Final = 1 << 26


class BufferLayout:
    """The layout of an image in a padded flat buffer, divided into runs (contiguous voxels along the last axis).

    Args:
        shape: The shape of the image, (Y, X) or (Z, Y, X).
        run: The number of voxels in a run.
        origin: The index, in the whole map, of the first voxel of the image; None if the image is the whole map.
    """

    def __init__(self, shape: tuple[int, ...], run: int, origin: tuple[int, ...] | None = None) -> None:
        self.shape, self.run = shape, run
        self.origin = origin or (0,) * len(shape)
        self.padded = tuple(size + 2 for size in shape)
        self.size = prod(self.padded)
        # A run at the end of the last row reads beyond it.
        self.length = self.size + run
        self.inside = (slice(1, -1),) * len(shape)
        self.strides = tuple(prod(self.padded[axis + 1 :]) for axis in range(len(shape)))
        # The position of a voxel relative to its first neighbour.
        self.here = sum(self.strides)
        nz, ny, nx = (1, *shape)[-3:]
        self.rows = nz * ny
        self.runs = (nz + 2, ny + 2, -(-nx // run) + 2)
        plane, pitch, _ = (0, *self.strides)[-3:]
        layer, line = self.runs[1] * self.runs[2], self.runs[2]
        self.sizes = np.array([self.here, plane, pitch, nx, layer, line], np.uint64)
        self.row_sizes = np.array([self.here, plane, pitch, nx, ny], np.uint64)

    def parity(self, subfield: Offset) -> tuple[int, ...]:
        """Return a subfield's parities along each axis, for indices in the image instead of in the whole map."""
        return tuple((parity + first) & 1 for parity, first in zip(subfield, self.origin, strict=True))

    def sizes_for(self, step: Step) -> Array:
        """Return a step kernel's argument `sizes`: the sizes of the buffer, then the subfield's parities if any."""
        if step.subfield is None:
            return self.sizes
        return np.array([*self.sizes, *(0, *self.parity(step.subfield))[-3:]], np.uint64)

    def image(self, flat: Array) -> Array:
        """Return a view of a flat buffer as an image with padding."""
        return flat[: self.size].reshape(self.padded)

    def numbers(self) -> Array:
        """Return the indices of all runs inside the padding, in raster order."""
        all_runs = np.arange(prod(self.runs), dtype=np.uint32).reshape(self.runs)
        return np.ascontiguousarray(all_runs[1:-1, 1:-1, 1:-1]).reshape(-1)

    def offsets(self, step: Step) -> Array:
        """Return the position of each input of a step in the buffer, relative to the first neighbour of a voxel."""
        places = [
            sum((o + 1) * stride for o, stride in zip(offset, self.strides, strict=True))
            for offset in step.offsets
        ]
        return np.array(places, np.uint64)


class Scratch:
    """A pool of buffers that consecutive filters reuse, because the system clears new memory before its first use.

    A list's `append` and `pop` are atomic, so threads need no lock.
    """

    def __init__(self) -> None:
        self._spare: list[Array] = []

    def take(self, length: int, dtype: np.dtype[Any]) -> Array:
        """Return an uninitialised buffer of the given length and type, reused if a spare buffer fits."""
        try:
            spare = self._spare.pop()
        except IndexError:
            return np.empty(length, dtype)
        fits = spare.size == length and spare.dtype == dtype
        return spare if fits else np.empty(length, dtype)

    def keeps(self, buffer: Array) -> bool:
        """Return whether a buffer is small enough that `give` stores it for reuse."""
        return buffer.nbytes <= _KEPT_BYTES

    def give(self, buffer: Array) -> None:
        """Store an unused buffer for reuse, or release the buffer if it is too large or enough are stored."""
        if self.keeps(buffer) and len(self._spare) < _KEPT:
            self._spare.append(buffer)


SCRATCH: Final = Scratch()
