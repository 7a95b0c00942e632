"""What runs in a worker's process: one item at a time, linked with the process that waits for its result."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softmorph_cli.workers.item import Cancelled, Link, linked

# One topic for all: the scheduler keeps the last thousand events of each topic for as long as it lives.
TOPIC: Final = "softmorph"
# Seconds between two values of an item that the scheduler passes on.
_OFTEN: Final = 0.5
_LOOK: Final = 0.5
_THREADS: Final = "OMP_NUM_THREADS"

# A worker may have several of Dask's threads; an item uses all of them, so items of a process take turns.
_turn = threading.Lock()


@dataclass(frozen=True)
class Facts:
    """What a worker is.

    Attributes:
        host: Name of its machine.
        threads: CPU threads of it.
        memory: Bytes that an item may take; None where there is no limit.
    """

    host: str
    threads: int
    memory: int | None


def carry_out(work: bytes) -> Any:
    """Do one item.

    Args:
        work: The function and the item, pickled: Dask would look into the item for work of its own.

    Raises:
        Cancelled: If it is cancelled before it begins.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        # Dask cannot end a thread: it marks the task, and the worker, and leaves the rest to us.
        task = worker.state.tasks.get(key)
        wanted = task is not None and task.state in ("executing", "long-running")
        return not wanted or worker.status.name not in ("running", "paused", "closing_gracefully")

    while not _turn.acquire(timeout=_LOOK):
        if cancelled():
            raise Cancelled
    try:
        link = Link(lambda value: worker.log_event(TOPIC, (key, pickle.dumps(value))), cancelled, _OFTEN)
        with linked(link), _all_threads(worker.state.nthreads):
            function, item = pickle.loads(work)
            return function(item)
    finally:
        _turn.release()


@contextmanager
def _all_threads(threads: int) -> Iterator[None]:
    """Undo, for one item, that Dask tells libraries to use a single thread."""
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


def facts(dask_worker: Any) -> Facts:
    """Say what this worker is; Dask gives it."""
    import dask

    limit = dask_worker.memory_manager.memory_limit
    # Whoever takes more is ended by its nanny.
    share = dask.config.get("distributed.worker.memory.terminate") or 1.0
    taken = dask_worker.monitor.get_process_memory()
    memory = max(1, int(limit * share) - taken) if limit else None
    return Facts(socket.gethostname(), dask_worker.state.nthreads, memory)


def unseen(paths: Sequence[Path]) -> list[Path]:
    """Return those of the paths that are not there for this worker."""
    return [path for path in paths if not path.exists()]
