"""The files of a batch on an executor: what each kind of worker receives, and the errors of workers that died."""

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
    """What a worker is doing.

    Attributes:
        worker: Its number, from 0.
        name: The file's name.
        progress: Progress of the running step; None while the file is read or written.
    """

    worker: int
    name: str
    progress: Progress | None = None


# Called with the status of a worker, and with None about once a second.
Watch = Callable[[WorkerStatus | None], None]


def do(task: FileTask, *, computing: AbstractContextManager[Any] | None = None) -> Outcome:
    """Return the outcome of a task; inside a worker, send its progress and stop when it is cancelled."""
    return run_task(task, progress=_send, computing=computing)


def _send(progress: Progress) -> None:
    raise_if_cancelled()
    send_progress(progress)


def _with_task(task: FileTask, sent: FileTask, outcome: Outcome) -> Outcome:
    return replace(outcome, task=task)


@dataclass(frozen=True)
class Engine:
    """An executor for the tasks of a batch.

    Attributes:
        executor: Runs the tasks.
        died: Returns the error of a task whose workers died.
        function: Carries out a task.
        sent: Returns the form of a task that a worker receives.
        received: Given a task, the form that was sent and its outcome, returns the outcome of the task.
        leave: Called when the tasks end.
    """

    executor: Executor
    died: Callable[[FileTask, Lost], str]
    function: Callable[[FileTask], Outcome] = do
    sent: Callable[[FileTask], FileTask] = lambda task: task
    received: Callable[[FileTask, FileTask, Outcome], Outcome] = _with_task
    leave: Callable[[], None] = lambda: None

    @property
    def workers(self) -> int:
        """Number of files at once; on a cluster more workers may join."""
        return self.executor.workers

    def outcomes(self, tasks: Iterator[FileTask], watch: Watch) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task as it ends; see `Executor.map_unordered`."""
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
    """Return an engine of threads for one device: one file is computed while others are read and written."""
    return Engine(Threads(workers), _died, partial(do, computing=Lock()))


def process_engine(workers: int, threads: int, memory: int | None = None) -> Engine:
    """Return an engine of processes, each with this number of threads and bytes of memory (None: no limit)."""

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
