"""What is done to a file: operations by name, one after another, between one read and one write."""

__all__ = ["batch", "chain", "describe", "outputs", "perform", "process", "process_tiled", "result_files"]
