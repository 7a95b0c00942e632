"""Filters for maps larger than memory run tile by tile; the result equals that of the whole map bit for bit."""

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
