"""Missing slices and finer grids of maps: interpolation, and a learned shape prior (NISF)."""

__all__ = [
    "between",
    "box",
    "fitting",
    "hearts",
    "options",
    "prior",
    "prior_file",
    "slices",
    "training",
    "validation",
]
