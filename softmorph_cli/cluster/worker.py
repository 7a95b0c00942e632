"""What runs in a worker's process: one item at a time, with a word to whoever waits for it."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# One topic for all: the scheduler keeps the last thousand events of each topic for as long as it lives.
TOPIC: Final = "softmorph"
_OFTEN: Final = 0.5
_LOOK: Final = 0.5
_THREADS: Final = "OMP_NUM_THREADS"

# A worker may have several of Dask's threads; an item uses all of them, so items of a process take turns.
_turn = threading.Lock()


class Stopped(BaseException):
    """Nobody waits for this item any more."""


@dataclass
class _Here:
    """The item under way in this process.

    Attributes:
        worker: Dask's worker.
        key: Dask's name of the item.
        said: When the last word was sent, in seconds of a monotonic clock.
    """

    worker: Any
    key: str
    said: float

    @property
    def stopped(self) -> bool:
        # Dask cannot end a thread: it marks the task, and the worker, and leaves the rest to us.
        task = self.worker.state.tasks.get(self.key)
        wanted = task is not None and task.state in ("executing", "long-running")
        return not wanted or self.worker.status.name not in ("running", "paused", "closing_gracefully")


_here: _Here | None = None


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


def say(value: object) -> None:
    """Send a value to whoever waits for the item that runs in this process; not more than twice a second.

    Outside an item nothing happens.

    Args:
        value: Anything that can be pickled, and small.
    """
    here, now = _here, time.monotonic()
    if here is not None and now - here.said >= _OFTEN:
        here.said = now
        here.worker.log_event(TOPIC, (here.key, pickle.dumps(value)))


def stopped() -> bool:
    """Whether nobody waits for the item that runs in this process: it should end soon, and leave nothing behind."""
    return _here is not None and _here.stopped


def carry_out(work: bytes) -> Any:
    """Do one item.

    Args:
        work: The function and the item, pickled: Dask would look into the item for work of its own.

    Raises:
        Stopped: If nobody waits for it any more before it begins.
    """
    from distributed import get_worker

    global _here
    worker = get_worker()
    here = _Here(worker, worker.get_current_task(), time.monotonic())
    while not _turn.acquire(timeout=_LOOK):
        if here.stopped:
            raise Stopped
    try:
        _here = here
        with _all_threads(worker.state.nthreads):
            function, item = pickle.loads(work)
            return function(item)
    finally:
        _here = None
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
    return _here is not None


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
