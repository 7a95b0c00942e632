"""Statistics of a map that is read in slabs, so that a bounded number of voxels is in memory."""

from __future__ import annotations

from typing import Any, Final

from softmorph_cli.io.blocks import Blocks
from softmorph_cli.metrics.statistics import Statistics
from softmorph_cli.tiled import BASE

# Largest and smallest number of voxels of a slab, and bytes of memory for each of them.
LARGEST_SLAB: Final = 2**26
SMALLEST_SLAB: Final = 2**20
BYTES_PER_VOXEL: Final = 20


def measured(blocks: Blocks, memory: int | None) -> Statistics:
    """Return the statistics of a map, read in slabs that fit into `memory` bytes (None: slabs of up to 2^26 voxels)."""
    slabs: Any = blocks.in_slabs(slab_voxels(memory))
    return Statistics.of(slabs, spacing=blocks.spacing, unit=blocks.unit, spatial_dims=len(blocks.shape))


def slab_voxels(memory: int | None) -> int:
    """Return the number of voxels of a slab that fits into `memory` bytes (None: the largest slab)."""
    fitting = LARGEST_SLAB if memory is None else (memory - BASE) // BYTES_PER_VOXEL
    return min(LARGEST_SLAB, max(fitting, SMALLEST_SLAB))
