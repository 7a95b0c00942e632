"""Charts with axes: curves of time against size, persistence diagrams."""

__all__ = ["curves", "persistence"]
