"""The public Python functions, which take NumPy arrays, torch tensors, `Volume`s or paths and return typed results."""

__all__ = [
    "analysis",
    "filters",
    "images",
    "interpolation",
    "pictures",
    "priors",
    "repairs",
    "simplification",
]
