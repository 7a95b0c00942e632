"""Batches: which files of a folder are processed, by which workers, and with what result."""

__all__ = ["engine", "on_cluster", "plan", "recipe", "run", "summary", "task"]
