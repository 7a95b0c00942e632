"""Filters on maps larger than memory, tile by tile."""
