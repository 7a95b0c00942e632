"""Boolean filters as data: rules, their expressions, and structuring elements."""

__all__ = [
    "catalog",
    "expression",
    "neighborhood",
    "picture",
    "ring",
    "rule",
    "rulefile",
    "simple_points",
    "structuring",
]
