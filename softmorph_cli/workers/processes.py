"""An executor of processes on this machine, which share the cores; a process that dies loses only its current item.

`concurrent.futures` would lose all running items when one worker is killed, and not report which item this worker ran.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.system.interruption import block_sigint, ending_signals, send
from softmorph_cli.workers.executor import Executor, Function, Lost, OnProgress, Results, Tick
from softmorph_cli.workers.item import Cancelled, Link, linked

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_TICK: Final = 1.0
# Seconds for a cancelled item to remove its temporary files.
_GRACE: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
# The logger of the program, which is as quiet in a worker as in its parent.
_LOG: Final = "softmorph_cli"
# Kinds of messages of a worker: progress, a result, what the function raised.
_PROGRESS, _RESULT, _ERROR = range(3)


class Processes(Executor):
    """An executor of processes on this machine; SIGTERM raises `Cancelled` in the process of a cancelled item.

    Args:
        workers: Number of processes.
        threads: Number of CPU threads of each process.
    """

    in_process = False

    def __init__(self, workers: int, threads: int = 1) -> None:
        super().__init__(workers)
        self.threads = threads

    def _run(self, function: Function, items: Iterator[Any], tick: Tick, on_progress: OnProgress) -> Results:
        from multiprocessing.connection import wait

        slots: list[_Worker | None] = [None] * self.workers
        try:
            while True:
                for number, worker in enumerate(slots):
                    if worker is not None and worker.busy:
                        continue
                    try:
                        item = next(items)
                    except StopIteration:
                        break
                    if worker is not None and not worker.process.is_alive():
                        worker.end(0)
                        worker = None
                    if worker is None:
                        worker = slots[number] = _Worker(number, function, self.threads)
                    worker.give(item)
                busy = [worker for worker in slots if worker is not None and worker.busy]
                if not busy:
                    break
                ready = wait(
                    [handle for worker in busy for handle in (worker.connection, worker.process.sentinel)],
                    _TICK,
                )
                tick()
                for worker in busy:
                    if worker.connection not in ready and worker.process.sentinel not in ready:
                        continue
                    yield from worker.receive(on_progress)
                    if worker.dead:
                        slots[worker.number] = None
            for worker in slots:
                if worker is not None:
                    worker.dismiss()
        finally:
            left = [worker for worker in slots if worker is not None]
            for worker in left:
                worker.stop()
            deadline = time.monotonic() + _GRACE
            for worker in left:
                worker.end(deadline)


class _Worker:
    """A worker process, as seen from its parent: the process, the pipe to it, and the item that it runs.

    Args:
        number: Index of the worker, from 0.
        function: The function that the process applies to each item.
        threads: Number of CPU threads of the process.
    """

    def __init__(self, number: int, function: Function, threads: int) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self.number = number
        self.item: Any = None
        self.busy = self.dead = False
        self.connection, other_end = context.Pipe()
        # Not a daemon: a daemon may not start processes, and libraries may.
        self.process = context.Process(
            target=_work,
            args=(other_end, function, threads, logging.getLogger(_LOG).level),
            name=f"softmorph-{number}",
        )
        with block_sigint():
            self.process.start()
        other_end.close()

    def give(self, item: Any) -> None:
        self.item, self.busy = item, True
        with suppress(OSError):  # a dead process is noticed by its sentinel
            self.connection.send((item,))

    def receive(self, on_progress: OnProgress) -> Results:
        """Yield the item with its result if this has arrived, or with `Lost` if the process died; else nothing."""
        messages, dead = list[tuple[int, Any]](), not self.process.is_alive()
        try:
            while self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            dead = True
        for kind, value in messages:
            if kind == _PROGRESS:
                on_progress(self.item, value)
                continue
            self.busy = False
            if kind == _ERROR:
                raise value
            yield self.item, value
            return
        if dead:
            self.process.join()
            self.connection.close()
            self.dead, self.busy = True, False
            yield self.item, Lost(status=self.process.exitcode)

    def dismiss(self) -> None:
        with suppress(OSError):
            self.connection.send(None)

    def stop(self) -> None:
        if self.busy and self.process.is_alive():
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for the process to end, and kill it if it still runs at `deadline` (seconds of `time.monotonic`)."""
        with suppress(OSError):
            self.connection.close()
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _work(connection: Connection[Any, Any], function: Function, threads: int, level: int) -> None:
    """Apply `function` to each item that is received through `connection`, and send the result; end at None."""
    # For reading, measuring and linear algebra, whose threads no setting limits.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    logging.getLogger(_LOG).setLevel(level)
    signals = ending_signals()

    def stop(number: int, frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        # Raised in a callback of a library, the exception is lost, and Python or the library would print it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        raise Cancelled

    # stdout is for the results of the command: what a library prints goes to stderr.
    os.dup2(2, 1)
    _die_with_parent()
    # Where it could be blocked, `block_sigint` has done so while the process started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(Cancelled, EOFError, BrokenPipeError, ConnectionResetError):
        for each in signals:
            signal.signal(each, stop)
        threading.Thread(target=_follow_parent, daemon=True).start()
        while (given := connection.recv()) is not None:
            connection.send(_applied(connection, function, *given))
    # Without the clean-up of the interpreter, which takes time.
    os._exit(0)


def _applied(connection: Connection[Any, Any], function: Function, item: Any) -> tuple[int, Any]:
    try:
        with linked(Link(lambda value: connection.send((_PROGRESS, value)))):
            return _RESULT, function(item)
    except Exception as error:
        return _ERROR, error


def _die_with_parent() -> None:
    """Let Linux kill this process when its parent is killed, so that it does not write during a later command."""
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow_parent() -> None:
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    send(signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
