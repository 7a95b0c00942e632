"""Batches: which files of a folder are processed, by which workers, and with what result."""
