"""Processes, each with its share of the cores; one that dies takes nothing but its own file along.

A pool of its own, because `concurrent.futures` gives up all that is under way when one worker is killed, and
cannot say whose file it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.batch.engine import Sign, Watch
from softmorph_cli.batch.leftovers import clear
from softmorph_cli.batch.task import Outcome, Task, run_task
from softmorph_cli.interruption import deaf, ending_signals, send

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress

_TICK: Final = 1.0
# Seconds between two signs of one worker, and seconds it has to take its temporary file away.
_OFTEN: Final = 0.2
_GRACE: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1


class ProcessEngine:
    """Processes on this machine.

    Args:
        workers: How many.
        threads: CPU threads of each.
        memory: Bytes that each may use; None where there is no limit.
    """

    def __init__(self, workers: int, threads: int, memory: int | None = None) -> None:
        """Keep the numbers; processes are started when there is work for them."""
        self.workers, self.threads, self.memory = workers, threads, memory

    def outcomes(self, tasks: Iterator[Task], watch: Watch) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task as it comes; see `Engine`."""
        places: list[_Worker | None] = [None] * self.workers
        try:
            while True:
                for number, worker in enumerate(places):
                    if worker is not None and worker.task is not None:
                        continue
                    task = next(tasks, None)
                    if task is None:
                        break
                    if worker is not None and not worker.process.is_alive():
                        worker.end(0)
                        worker = None
                    if worker is None:
                        worker = places[number] = _Worker(number, self.threads)
                    worker.give(replace(task, threads=self.threads, memory=self.memory))
                    watch(Sign(number, task.name))
                busy = [worker for worker in places if worker is not None and worker.task is not None]
                if not busy:
                    break
                ready = wait(
                    [place for worker in busy for place in (worker.connection, worker.process.sentinel)],
                    _TICK,
                )
                watch(None)
                for worker in busy:
                    if worker.connection not in ready and worker.process.sentinel not in ready:
                        continue
                    outcome = worker.hear(watch)
                    if worker.dead:
                        places[worker.number] = None
                    if outcome is not None:
                        yield outcome
            for worker in places:
                if worker is not None:
                    worker.dismiss()
        finally:
            left = [worker for worker in places if worker is not None]
            for worker in left:
                worker.stop()
            end = time.monotonic() + _GRACE
            for worker in left:
                worker.end(end)


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, number: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.task: Task | None = None
        self.started = 0.0
        self.dead = False
        self.connection, other_end = context.Pipe()
        # Not a daemon: those may not start processes, and nobody knows what a library does.
        self.process = context.Process(target=_work, args=(other_end, threads), name=f"softmorph-{number}")
        with deaf():
            self.process.start()
        other_end.close()

    def give(self, task: Task) -> None:
        self.task, self.started = task, time.monotonic()
        with suppress(OSError):  # it is dead: its sentinel says so
            self.connection.send(task)

    def hear(self, watch: Watch) -> Outcome | None:
        """Return the outcome, if the worker has come to one."""
        task = self.task
        assert task is not None
        try:
            while self.connection.poll():
                told = self.connection.recv()
                if isinstance(told, Outcome):
                    self.task = None
                    # Where it was asked for, not where the worker found it.
                    return replace(told, task=task)
                watch(Sign(self.number, task.name, told))
        except (EOFError, OSError):
            pass
        else:
            if self.process.is_alive():
                return None
        self.process.join()
        self.connection.close()
        self.dead, self.task = True, None
        clear([task.target])
        return Outcome(
            task, error=_died(task, self.process.exitcode), seconds=time.monotonic() - self.started
        )

    def dismiss(self) -> None:
        with suppress(OSError):
            self.connection.send(None)

    def stop(self) -> None:
        if self.task is not None and self.process.is_alive():
            self.process.terminate()

    def end(self, when: float) -> None:
        """Wait for the process, and kill it if it takes too long."""
        with suppress(OSError):
            self.connection.close()
        self.process.join(max(0.0, when - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self.task is not None:
            clear([self.task.target])
        self.process.close()


def _died(task: Task, status: int | None) -> str:
    name = "" if status is None or status >= 0 else _name(-status)
    if name == "SIGKILL":
        how = "was killed (SIGKILL), most likely because memory ran out; use fewer --workers, or cut out a part with "
        return f"{task.source}: the worker {how}--region."
    if name:
        return (
            f"{task.source}: the worker died of {name}; try the file by itself with softmorph chain, and if it dies "
            "again, report it as a bug."
        )
    return (
        f"{task.source}: the worker ended with status {status}; try the file by itself with softmorph chain."
    )


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class _Stopped(BaseException):
    """The parent wants no more, or is gone."""


def _work(connection: Connection[Any, Any], threads: int) -> None:
    """Do what comes, until None comes."""
    # For what asks the machine and not the settings: reading, measuring, linear algebra.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    heard = ending_signals()

    def stop(number: int, frame: object) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        # Where a library calls back from its own code, nobody hears what is raised, and it would be printed, by
        # Python or by the library.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        raise _Stopped

    # The results of the command are on stdout; what a library prints is none.
    os.dup2(2, 1)
    _die_with_parent()
    # Blocked by `deaf` where that can be.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(_Stopped, EOFError, BrokenPipeError, ConnectionResetError):
        for one in heard:
            signal.signal(one, stop)
        threading.Thread(target=_follow_parent, daemon=True).start()
        while (task := connection.recv()) is not None:
            connection.send(run_task(task, progress=_Telling(connection)))
    # What is left dies with the process; to sort it first takes time.
    os._exit(0)


class _Telling:
    """Tells the parent how far a step is, not too often."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.connection, self.last = connection, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self.last >= _OFTEN:
            self.last = time.monotonic()
            self.connection.send(progress)


def _die_with_parent() -> None:
    """Let the system kill this process when its parent is killed: the next batch then has the folder to itself."""
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    send(signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
