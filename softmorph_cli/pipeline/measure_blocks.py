"""Statistics of a map that is read in blocks, with a bounded number of voxels in memory."""

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
    """Return the statistics of a map, computed within the given bytes of memory (None: most of the machine's)."""
    slabs: Any = blocks.in_slabs(slab_voxels(memory))
    return Statistics.of(slabs, spacing=blocks.spacing, unit=blocks.unit, spatial_dims=len(blocks.shape))


def slab_voxels(memory: int | None) -> int:
    """Return how many voxels of a map may be in memory at once."""
    fitting = LARGEST_SLAB if memory is None else (memory - BASE) // BYTES_PER_VOXEL
    return min(LARGEST_SLAB, max(fitting, SMALLEST_SLAB))
