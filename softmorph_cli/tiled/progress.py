"""How far a map filtered in tiles is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TileProgress:
    """Passed to the callback after every tile.

    Attributes:
        operation: What is running, for people.
        stage: "filter" (every tile at once), "pass" (a few iterations), "write" (what the passes left) or
            "pyramid" (coarser resolutions, of which chunks are counted).
        tile: Which tile was done.
        done: How many of this stage or pass are done.
        total: How many there are to do.
        part: The part under way, for people: "thinning", "levels 2 of 3"; "" for the only one.
        passes: The pass under way, from 1.
        iterations: Iterations complete before this pass.
        live: Tiles of this pass that may change further.
        changed: Voxels of this tile that the pass's last iteration altered.
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


Report = Callable[[TileProgress], object]
