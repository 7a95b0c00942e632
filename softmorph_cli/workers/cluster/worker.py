"""Code that runs in a worker's process: one item at a time, linked with the process that waits for its result."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softmorph_cli.workers.item import Cancelled, Link, linked

# One topic for all runs: the scheduler keeps the last thousand events of each topic for as long as it runs.
TOPIC: Final = "softmorph"
# Least time in seconds between two values of an item that the scheduler passes on.
_INTERVAL: Final = 0.5
_POLL: Final = 0.5
_THREADS: Final = "OMP_NUM_THREADS"

# A worker may have several of Dask's threads; an item uses all of them, so items of a process take turns.
_turn = threading.Lock()


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker offers to an item.

    Attributes:
        threads: CPU threads.
        memory: Bytes that an item may take; None where there is no limit.
    """

    threads: int
    memory: int | None


def apply_pickled(work: bytes) -> Any:
    """Return the result of the function for one item.

    Args:
        work: The function and the item, pickled, so that Dask does not search the item for tasks.

    Raises:
        Cancelled: If it is cancelled before it begins.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        # Dask cannot end a thread; it only marks the task and the worker.
        task = worker.state.tasks.get(key)
        wanted = task is not None and task.state in ("executing", "long-running")
        return not wanted or worker.status.name not in ("running", "paused", "closing_gracefully")

    while not _turn.acquire(timeout=_POLL):
        if cancelled():
            raise Cancelled
    try:
        link = Link(lambda value: worker.log_event(TOPIC, (key, pickle.dumps(value))), cancelled, _INTERVAL)
        with linked(link), _all_threads(worker.state.nthreads):
            function, item = pickle.loads(work)
            return function(item)
    finally:
        _turn.release()


@contextmanager
def _all_threads(threads: int) -> Iterator[None]:
    """Let libraries use all threads for one item, which Dask limits to a single one."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def busy() -> bool:
    """Whether an item runs in this process."""
    return _turn.locked()


def facts_of(dask_worker: Any) -> WorkerFacts:
    """Return the facts of this worker; Dask passes the argument of this name."""
    import dask

    limit = dask_worker.memory_manager.memory_limit
    # The nanny terminates a worker that takes more.
    share = dask.config.get("distributed.worker.memory.terminate") or 1.0
    taken = dask_worker.monitor.get_process_memory()
    memory = max(1, int(limit * share) - taken) if limit else None
    return WorkerFacts(dask_worker.state.nthreads, memory)


def unseen(paths: Sequence[Path]) -> list[Path]:
    """Return the paths that do not exist for this worker."""
    return [path for path in paths if not path.exists()]
