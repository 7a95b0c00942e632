"""Maps larger than memory: filters run tile by tile, bit for bit what the whole map would give."""

from softmorph_cli.tiled.plan import Plan, plan
from softmorph_cli.tiled.progress import TileProgress
from softmorph_cli.tiled.run import filter_tiles

__all__ = ["Plan", "TileProgress", "filter_tiles", "plan"]
