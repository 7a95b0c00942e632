"""Files of a batch on an executor: what every kind of worker is given, and what is said of those that die."""

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
from softmorph_cli.pipeline.batch.task import Outcome, Task, run_task
from softmorph_cli.workers import Executor, Lost, Processes, Threads, raise_if_cancelled, send_progress

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from softmorph_cli.filters.settings import Progress


@dataclass(frozen=True)
class Sign:
    """What a worker is at.

    Attributes:
        worker: Its number, from 0.
        name: The file.
        progress: How far the step under way is; None while it reads or writes.
    """

    worker: int
    name: str
    progress: Progress | None = None


# Called with what a worker is at, and with None about once a second, so that something can be shown.
Watch = Callable[[Sign | None], None]


def do(task: Task, *, computing: AbstractContextManager[Any] | None = None) -> Outcome:
    """Return the outcome of a task, sending progress from inside a worker.

    Args:
        task: The work.
        computing: As for `run_task`.
    """
    return run_task(task, progress=_go_on, computing=computing)


def _go_on(progress: Progress) -> None:
    raise_if_cancelled()
    send_progress(progress)


def _as_it_is(task: Task, sent: Task, outcome: Outcome) -> Outcome:
    return replace(outcome, task=task)


@dataclass(frozen=True)
class Engine:
    """An executor, and what it takes to do a batch's files on it.

    Attributes:
        executor: Does the tasks.
        died: Returns what is wrong with a file whose workers died.
        function: Does a task.
        sent: Returns a task as a worker is given it.
        received: Returns an outcome in terms of the task that was asked for, not of the one that was sent.
        leave: Called when the tasks end.
    """

    executor: Executor
    died: Callable[[Task, Lost], str]
    function: Callable[[Task], Outcome] = do
    sent: Callable[[Task], Task] = lambda task: task
    received: Callable[[Task, Task, Outcome], Outcome] = _as_it_is
    leave: Callable[[], None] = lambda: None

    @property
    def workers(self) -> int:
        """How many files at once; on a cluster more workers may come."""
        return self.executor.workers

    def outcomes(self, tasks: Iterator[Task], watch: Watch) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task as it comes; see `Executor.map_unordered`.

        Args:
            tasks: The work.
            watch: Told what the workers are at.
        """
        asked: dict[str, tuple[Task, int, float]] = {}
        free = list(range(self.workers))

        def sent() -> Iterator[Task]:
            for task in tasks:
                number = heapq.heappop(free) if free else len(asked)
                asked[task.name] = task, number, time.monotonic()
                watch(Sign(number, task.name))
                yield self.sent(task)

        def on_progress(task: Task, progress: Progress) -> None:
            watch(Sign(asked[task.name][1], task.name, progress))

        coming = self.executor.map_unordered(
            self.function, sent(), tick=lambda: watch(None), on_progress=on_progress
        )
        try:
            with closing(coming):
                for given, value in coming:
                    task, number, started = asked.pop(given.name)
                    heapq.heappush(free, number)
                    if isinstance(value, Lost):
                        clear([task.target])
                        yield Outcome(task, self.died(task, value), seconds=time.monotonic() - started)
                    else:
                        yield self.received(task, given, value)
        except ClusterError as error:
            again = "what is done stays done, and the same command with --resume goes on"
            raise ClusterError(f"{str(error).removesuffix('.')}; {again}.") from error
        finally:
            # Before anybody clears up: what did not end in time is ended with its cluster.
            self.leave()


def thread_engine(workers: int) -> Engine:
    """Return threads around one device: one file is computed while others are read and written.

    Args:
        workers: How many.
    """
    return Engine(Threads(workers), _died, partial(do, computing=Lock()))


def process_engine(workers: int, threads: int, memory: int | None = None) -> Engine:
    """Return processes on this machine.

    Args:
        workers: How many.
        threads: CPU threads of each.
        memory: Bytes that each may use; None where there is no limit.
    """

    def sent(task: Task) -> Task:
        return replace(task, threads=threads, memory=memory)

    return Engine(Processes(workers, threads), _died, sent=sent)


def _died(task: Task, lost: Lost) -> str:
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
