"""The parts of a topological repair: the current map, pieces of its mask, moves, searches, and link functions."""

__all__ = ["current_map", "link", "moves", "pieces", "searches"]
