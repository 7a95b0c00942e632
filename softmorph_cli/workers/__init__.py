"""Executors apply one function to many items: in this thread, in other threads or processes, or on a Dask cluster."""

from softmorph_cli.workers.executor import Executor, Lost
from softmorph_cli.workers.in_process import Serial, Threads
from softmorph_cli.workers.item import Cancelled, cancelled, raise_if_cancelled, send_progress
from softmorph_cli.workers.processes import Processes

__all__ = [
    "Cancelled",
    "Executor",
    "Lost",
    "Processes",
    "Serial",
    "Threads",
    "cancelled",
    "cluster",
    "raise_if_cancelled",
    "send_progress",
]
