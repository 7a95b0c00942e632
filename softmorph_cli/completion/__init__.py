"""Missing slices and finer grids of maps: interpolation, and a learned shape prior (NISF)."""

__all__ = [
    "between",
    "box",
    "fitting",
    "hearts",
    "network",
    "prior",
    "prior_file",
    "slices",
    "training",
    "validation",
]
