"""Code that runs in the process of a Dask worker: it runs one item at a time, and sends progress to the client."""

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
    """The resources that a worker has for an item.

    Attributes:
        threads: Number of CPU threads.
        memory: Bytes of memory that an item may use; None if memory is not limited.
    """

    threads: int
    memory: int | None


def apply_pickled(work: bytes) -> Any:
    """Unpickle a function and an item, and return the result of the function for this item.

    Args:
        work: The pickled pair of function and item; Dask would search an item that is not pickled for tasks.

    Raises:
        Cancelled: If the item is cancelled before the function begins.
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
    """Let libraries use all `threads` of the worker within the block, where Dask would limit them to one thread."""
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
    """Return whether an item runs in this process."""
    return _turn.locked()


def facts_of(dask_worker: Any) -> WorkerFacts:
    """Return the resources of this worker; Dask passes the worker as the argument named `dask_worker`."""
    import dask

    limit = dask_worker.memory_manager.memory_limit
    # The nanny terminates a worker that takes more.
    share = dask.config.get("distributed.worker.memory.terminate") or 1.0
    taken = dask_worker.monitor.get_process_memory()
    memory = max(1, int(limit * share) - taken) if limit else None
    return WorkerFacts(dask_worker.state.nthreads, memory)


def unseen(paths: Sequence[Path]) -> list[Path]:
    """Return those of the given paths that do not exist as seen from this worker."""
    return [path for path in paths if not path.exists()]
