"""Runs compiled programs on the CPU or a GPU, by several backends with the protocols in `backend`."""

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
