"""Statistics of a map that is read in blocks, with a bounded number of voxels in memory."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from softmorph_cli.io.blocks import Blocks
from softmorph_cli.metrics.statistics import Statistics, summarize
from softmorph_cli.tiled import BASE

# Largest and smallest number of voxels of a slab, and bytes of memory for each of them.
LARGEST_SLAB: Final = 2**26
SMALLEST_SLAB: Final = 2**20
BYTES_PER_VOXEL: Final = 20


def measured(blocks: Blocks, memory: int | None) -> Statistics:
    """Return the statistics of a map, computed within the given bytes of memory (None: most of the machine's)."""
    slabs: Any = _Slabs(blocks, slab_voxels(memory))
    return summarize(slabs, spacing=blocks.spacing, unit=blocks.unit, spatial_dims=len(blocks.shape))


def slab_voxels(memory: int | None) -> int:
    """Return how many voxels of a map may be in memory at once."""
    fitting = LARGEST_SLAB if memory is None else (memory - BASE) // BYTES_PER_VOXEL
    return min(LARGEST_SLAB, max(fitting, SMALLEST_SLAB))


class _Slabs:
    """A map with the indexing of an array that statistics use; one slab of rows is in memory at a time."""

    def __init__(self, blocks: Blocks, voxels: int) -> None:
        self.blocks, self.shape, self.ndim = blocks, blocks.shape, len(blocks.shape)
        self.size = math.prod(blocks.shape)
        rows = voxels // math.prod(blocks.shape[1:])
        # Whole chunks where they fit: others would be decompressed again for each slab.
        self.rows = max(1, rows // blocks.chunks[0] * blocks.chunks[0] or rows)
        self.begin, self.slab = 0, np.zeros((0, *blocks.shape[1:]), np.float32)

    def __getitem__(self, index: Any) -> Any:
        if index == ():
            return self
        first, *rest = index if isinstance(index, tuple) else (index,)
        cut = slice(first, first + 1) if isinstance(first, int) else first
        low, high, _ = cut.indices(self.shape[0])
        if not self.begin <= low <= high <= self.begin + len(self.slab):
            self.begin = low // self.rows * self.rows
            end = max(high, self.begin + self.rows)
            self.slab = np.zeros(0, np.float32)  # released before the next one is read
            whole = [slice(None)] * (self.ndim - 1)
            self.slab = self.blocks.read((slice(self.begin, end), *whole))
        part = self.slab[low - self.begin : high - self.begin]
        return part[(0, *rest)] if isinstance(first, int) else part[(slice(None), *rest)]
