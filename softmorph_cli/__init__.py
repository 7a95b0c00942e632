"""Soft morphology and skeletons for predicted probability maps."""

__version__ = "0.1.0"
