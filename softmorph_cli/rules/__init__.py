"""Boolean filters as data: rules, the expressions of rules, and structuring elements."""

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
