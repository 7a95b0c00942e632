"""Benchmarks of the filters on this machine: drawn maps, workloads, timing and peak memory."""

__all__ = ["description", "measure", "workloads"]
