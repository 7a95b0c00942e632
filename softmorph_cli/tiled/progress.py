"""Progress of a tiled run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TileProgress:
    """Passed to the callback after every tile.

    Attributes:
        operation: Name of the filter, for display.
        stage: "filter" (tiles in a single pass), "pass" (a few iterations), "write" (the result after the passes) or
            "pyramid" (coarser resolutions, of which chunks are counted).
        tile: Number of the tile.
        done: Number of tiles that are done in this stage or pass.
        total: Number of tiles in this stage or pass.
        part: Name of the running part, for display: "thinning", "levels 2 of 3"; "" for the only one.
        passes: The running pass, from 1.
        iterations: Iterations complete before this pass.
        live: Tiles of this pass that may change further.
        changed: Voxels of this tile that the last iteration of the pass changed.
    """

    operation: str
    stage: str
    tile: int
    done: int
    total: int
    part: str = ""
    passes: int = 1
    iterations: int = 0
    live: int = 0
    changed: int = 0


OnTile = Callable[[TileProgress], object]
