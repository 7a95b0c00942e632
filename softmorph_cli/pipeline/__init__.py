"""The pipeline that processes a file: it reads a map, applies one or several operations, and writes the result."""

__all__ = [
    "apply_filter",
    "batch",
    "chain",
    "describe",
    "outputs",
    "process",
    "process_tiled",
    "result_files",
    "steps",
    "subjects",
]
