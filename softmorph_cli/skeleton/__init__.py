"""From a skeleton to a graph of branches: traced, pruned, measured, exported."""

__all__ = ["analyse", "curve", "export", "frame", "graph", "image_kind", "links", "selection"]
