"""Basic services: atomic writing, locks, cache folder, memory and threads, signals, units, parameters, safe text."""

__all__ = [
    "cache",
    "descriptors",
    "files",
    "interruption",
    "lengths",
    "machine",
    "parameters",
    "printable",
    "temporaries",
    "units",
]
