"""Compiled programs on a device: a backend for each, behind the protocols of `backend`."""

__all__ = [
    "backend",
    "bitplanes",
    "level_sets",
    "numba_cpu",
    "origins",
    "source_cache",
    "thread_pool",
    "warm",
]
