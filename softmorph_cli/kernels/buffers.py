"""How an image lies in a padded flat buffer, and how it is cut into runs."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler import Step
from softmorph_cli.rules.neighborhood import Offset

Array = npt.NDArray[Any]

# Buffers that are kept for the next filter: so many, of so many bytes at most.
_KEPT: Final = 2
_KEPT_BYTES: Final = 1 << 26


class BufferLayout:
    """Where the voxels of an image lie in a padded flat buffer, and how they are cut into runs.

    Args:
        shape: (Y, X) or (Z, Y, X).
        run: Voxels of a run.
        origin: The index of the first voxel in the whole map, of which the image is a part.
    """

    def __init__(self, shape: tuple[int, ...], run: int, origin: tuple[int, ...] | None = None) -> None:
        """Work out the sizes."""
        self.shape, self.run = shape, run
        self.origin = origin or (0,) * len(shape)
        self.padded = tuple(size + 2 for size in shape)
        self.size = prod(self.padded)
        # A run at the end of the last row reads on behind it.
        self.length = self.size + run
        self.inside = (slice(1, -1),) * len(shape)
        self.strides = tuple(prod(self.padded[axis + 1 :]) for axis in range(len(shape)))
        # The place of a voxel's own value, seen from its first neighbour.
        self.here = sum(self.strides)
        nz, ny, nx = (1, *shape)[-3:]
        self.rows = nz * ny
        self.runs = (nz + 2, ny + 2, -(-nx // run) + 2)
        plane, pitch, _ = (0, *self.strides)[-3:]
        layer, line = self.runs[1] * self.runs[2], self.runs[2]
        self.sizes = np.array([self.here, plane, pitch, nx, layer, line], np.uint64)
        self.row_sizes = np.array([self.here, plane, pitch, nx, ny], np.uint64)

    def parity(self, subfield: Offset) -> tuple[int, ...]:
        """Return the parity of a subfield's voxels along each axis, by their index in the image."""
        return tuple((parity + first) & 1 for parity, first in zip(subfield, self.origin, strict=True))

    def sizes_for(self, step: Step) -> Array:
        """Return the sizes that a sweep of a step takes: those of the grid, then the subfield's parities."""
        if step.subfield is None:
            return self.sizes
        return np.array([*self.sizes, *(0, *self.parity(step.subfield))[-3:]], np.uint64)

    def image(self, flat: Array) -> Array:
        """Return a buffer as an image with its padding."""
        return flat[: self.size].reshape(self.padded)

    def numbers(self) -> Array:
        """Return the numbers of all runs, in the order in which they lie."""
        all_runs = np.arange(prod(self.runs), dtype=np.uint32).reshape(self.runs)
        return np.ascontiguousarray(all_runs[1:-1, 1:-1, 1:-1]).reshape(-1)

    def offsets(self, step: Step) -> Array:
        """Return where a step's inputs lie, seen from a voxel's first neighbour."""
        places = [
            sum((o + 1) * stride for o, stride in zip(offset, self.strides, strict=True))
            for offset in step.offsets
        ]
        return np.array(places, np.uint64)


class Scratch:
    """Buffers for one filter after the other. New memory has to be cleared by the system first.

    A list's `append` and `pop` are atomic, so threads need no lock.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._spare: list[Array] = []

    def take(self, length: int, dtype: np.dtype[Any]) -> Array:
        """Return a buffer with anything in it."""
        try:
            spare = self._spare.pop()
        except IndexError:
            return np.empty(length, dtype)
        fits = spare.size == length and spare.dtype == dtype
        return spare if fits else np.empty(length, dtype)

    def keeps(self, buffer: Array) -> bool:
        """Say whether a buffer of this size would be kept."""
        return buffer.nbytes <= _KEPT_BYTES

    def give(self, buffer: Array) -> None:
        """Keep a buffer that nobody looks at any more, or let go of it."""
        if self.keeps(buffer) and len(self._spare) < _KEPT:
            self._spare.append(buffer)


SCRATCH: Final = Scratch()
