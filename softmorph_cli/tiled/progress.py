"""The progress of a tiled run, which is reported after every tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TileProgress:
    """The progress of a tiled run, which is passed to a callback after every tile.

    Attributes:
        operation: Name of the filter, for display.
        stage: "filter" (tiles are filtered in a single pass), "pass" (a few iterations are applied to the tiles),
            "write" (the result is written after the passes) or "pyramid" (coarser resolutions are written; `tile`,
            `done` and `total` then count chunks instead of tiles).
        tile: Index of the tile.
        done: Number of tiles that are complete in this stage or pass.
        total: Number of tiles in this stage or pass.
        part: Name of the running part of the filter, for display: "thinning", "levels 2 of 3"; "" if the filter has a
            single part.
        passes: Number of the running pass, from 1.
        iterations: Number of iterations that were complete before this pass.
        live: Number of tiles of this pass that may change further.
        changed: Number of voxels of this tile that the last iteration of the pass changed.
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
