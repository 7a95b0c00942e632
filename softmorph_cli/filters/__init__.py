"""Soft filters: operations, methods that make them soft, iteration and stopping."""

__all__ = [
    "arrays",
    "channels",
    "filter",
    "method",
    "modules",
    "operations",
    "resample",
    "run",
    "settings",
    "skeleton",
]
