"""Conversion of a skeleton to a graph of branches, which is traced, pruned, measured and exported."""

__all__ = ["analyse", "cavities", "curve", "export", "frame", "graph", "image_kind", "links", "tracing"]
