"""An engine runs the tasks of a batch on an executor of threads, processes or a cluster, and reports dead workers."""

from __future__ import annotations

import heapq
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from softmorph_cli.errors import ClusterError
from softmorph_cli.pipeline.batch.stale_temporaries import clear
from softmorph_cli.pipeline.batch.task import FileTask, Outcome, run_task
from softmorph_cli.workers import Executor, Lost, Processes, Threads, raise_if_cancelled, send_progress

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from softmorph_cli.filters.settings import Progress


@dataclass(frozen=True)
class WorkerStatus:
    """The status of a worker: the file that it processes, and the progress of the running step.

    Attributes:
        worker: Index of the worker, from 0.
        name: Name of the file, as in `FileJob.name`.
        progress: Progress of the running step; None while the file is read or written.
    """

    worker: int
    name: str
    progress: Progress | None = None


# Called with the status of a worker, and with None about once a second.
Watch = Callable[[WorkerStatus | None], None]


def do(task: FileTask, *, computing: AbstractContextManager[Any] | None = None) -> Outcome:
    """Run a task and return the outcome; the worker sends progress, and stops the task when this is cancelled.

    Args:
        task: The task.
        computing: A context manager, such as a lock, that is entered while a step runs; None if each process runs one
            task at a time.
    """
    return run_task(task, progress=_send, computing=computing)


def _send(progress: Progress) -> None:
    raise_if_cancelled()
    send_progress(progress)


def _with_task(task: FileTask, sent: FileTask, outcome: Outcome) -> Outcome:
    return replace(outcome, task=task)


@dataclass(frozen=True)
class Engine:
    """An engine that runs the tasks of a batch on an executor.

    Attributes:
        executor: The executor whose workers run the tasks.
        died: Function that returns the error message of a task whose workers died.
        function: Function that a worker calls to run a task.
        sent: Function that returns the form of a task that is sent to a worker, such as with absolute paths.
        received: Function that converts the outcome that a worker returned, given the task, the form of the task that
            was sent, and this outcome.
        leave: Function that is called when all tasks have ended.
    """

    executor: Executor
    died: Callable[[FileTask, Lost], str]
    function: Callable[[FileTask], Outcome] = do
    sent: Callable[[FileTask], FileTask] = lambda task: task
    received: Callable[[FileTask, FileTask, Outcome], Outcome] = _with_task
    leave: Callable[[], None] = lambda: None

    @property
    def workers(self) -> int:
        """The number of files that are processed at once; on a cluster more workers may join later."""
        return self.executor.workers

    def outcomes(self, tasks: Iterator[FileTask], watch: Watch) -> Generator[Outcome, None, None]:
        """Run the tasks, and yield the outcome of each task when the task ends, in any order.

        Args:
            tasks: The tasks, which are drawn lazily: only when a worker is free.
            watch: A callback that is called with the status of a worker, and with None about once a second.
        """
        running: dict[str, tuple[FileTask, int, float]] = {}
        free = list(range(self.workers))

        def sent() -> Iterator[FileTask]:
            for task in tasks:
                number = heapq.heappop(free) if free else len(running)
                running[task.name] = task, number, time.monotonic()
                watch(WorkerStatus(number, task.name))
                yield self.sent(task)

        def on_progress(task: FileTask, progress: Progress) -> None:
            watch(WorkerStatus(running[task.name][1], task.name, progress))

        coming = self.executor.map_unordered(
            self.function, sent(), tick=lambda: watch(None), on_progress=on_progress
        )
        try:
            with closing(coming):
                for given, value in coming:
                    task, number, started = running.pop(given.name)
                    heapq.heappush(free, number)
                    if isinstance(value, Lost):
                        clear([task.target])
                        yield Outcome(task, self.died(task, value), seconds=time.monotonic() - started)
                    else:
                        yield self.received(task, given, value)
        except ClusterError as error:
            advice = "what is done stays done, and the same command with --resume goes on"
            raise ClusterError(f"{str(error).removesuffix('.')}; {advice}.") from error
        finally:
            # Ends workers that did not stop in time, before their temporary files are removed.
            self.leave()


def thread_engine(workers: int) -> Engine:
    """Return an engine of threads that share one device: one file is filtered while others are read and written."""
    return Engine(Threads(workers), _died, partial(do, computing=Lock()))


def process_engine(workers: int, threads: int, memory: int | None = None) -> Engine:
    """Return an engine of processes, each of which uses `threads` threads and `memory` bytes (None: no limit)."""

    def sent(task: FileTask) -> FileTask:
        return replace(task, threads=threads, memory=memory)

    return Engine(Processes(workers, threads), _died, sent=sent)


def _died(task: FileTask, lost: Lost) -> str:
    status = lost.status
    if status is None or status >= 0:
        return f"{task.source}: the worker ended with status {status}; try the file by itself with softmorph chain."
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    if name == "SIGKILL":
        how = "was killed (SIGKILL), most likely because memory ran out; use fewer --workers, or cut out a part with "
        return f"{task.source}: the worker {how}--region."
    return (
        f"{task.source}: the worker died of {name}; try the file by itself with softmorph chain, and if it dies "
        "again, report it as a bug."
    )
