"""Batches apply the same steps to all files of a folder: they select files, run workers and summarize the results."""

__all__ = ["all_files", "engine", "on_cluster", "plan", "recipe", "request", "run", "summary", "task"]
