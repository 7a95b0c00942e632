"""Maps larger than memory: filters run tile by tile, with the same result bit for bit as on the whole map."""

from softmorph_cli.tiled.filter_tiles import filter_tiles, resumable
from softmorph_cli.tiled.manifest import InterruptedRun
from softmorph_cli.tiled.plan import BASE, TilePlan, plan
from softmorph_cli.tiled.progress import OnTile, TileProgress
from softmorph_cli.tiled.tile_executor import TileExecutor

__all__ = [
    "BASE",
    "InterruptedRun",
    "OnTile",
    "TileExecutor",
    "TilePlan",
    "TileProgress",
    "filter_tiles",
    "plan",
    "resumable",
]
