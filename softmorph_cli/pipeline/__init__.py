"""What is done to a file: operations by name, one after another, between one read and one write."""

__all__ = [
    "apply_filter",
    "batch",
    "chain",
    "describe",
    "outputs",
    "process",
    "process_tiled",
    "result_files",
]
