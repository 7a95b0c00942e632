"""Processes of this machine, each with its share of the cores; one that dies takes nothing but its own item along.

A pool of its own: `concurrent.futures` gives up all that is under way when one worker is killed, and cannot say whose
item it was.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.system.interruption import block_sigint, ending_signals, send
from softmorph_cli.workers.executor import Executor, Item, Lost, OnProgress, Value
from softmorph_cli.workers.item import Cancelled, Link, linked

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_TICK: Final = 1.0
# Seconds that a cancelled item has to remove its temporary files.
_GRACE: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
# What a worker's message is: progress, a result, or what the function raised.
_PROGRESS, _RESULT, _ERROR = range(3)


class Processes(Executor):
    """Processes on this machine. A cancelled item's process gets SIGTERM, which raises `Cancelled` in it.

    Args:
        workers: How many.
        threads: CPU threads of each.
    """

    in_process = False

    def __init__(self, workers: int, threads: int = 1) -> None:
        """Keep the numbers; processes are started when there are items for them."""
        self._workers, self.threads = workers, threads

    @property
    def workers(self) -> int:
        """The number of processes."""
        return self._workers

    def map_unordered(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        tick: Callable[[], None] = lambda: None,
        on_progress: OnProgress[Item] = lambda item, value: None,
    ) -> Generator[tuple[Item, Value | Lost], None, None]:
        """Yield each item with its result; see `Executor`."""
        from multiprocessing.connection import wait

        source = iter(items)
        places: list[_Worker | None] = [None] * self._workers
        try:
            while True:
                for number, worker in enumerate(places):
                    if worker is not None and worker.busy:
                        continue
                    try:
                        item = next(source)
                    except StopIteration:
                        break
                    if worker is not None and not worker.process.is_alive():
                        worker.end(0)
                        worker = None
                    if worker is None:
                        worker = places[number] = _Worker(number, function, self.threads)
                    worker.give(item)
                busy = [worker for worker in places if worker is not None and worker.busy]
                if not busy:
                    break
                ready = wait(
                    [place for worker in busy for place in (worker.connection, worker.process.sentinel)],
                    _TICK,
                )
                tick()
                for worker in busy:
                    if worker.connection not in ready and worker.process.sentinel not in ready:
                        continue
                    yield from worker.receive(on_progress)
                    if worker.dead:
                        places[worker.number] = None
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

    def __init__(self, number: int, function: Callable[[Any], Any], threads: int) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self.number = number
        self.item: Any = None
        self.busy = self.dead = False
        self.connection, other_end = context.Pipe()
        # Not a daemon: those may not start processes, and nobody knows what a library does.
        self.process = context.Process(
            target=_work, args=(other_end, function, threads), name=f"softmorph-{number}"
        )
        with block_sigint():
            self.process.start()
        other_end.close()

    def give(self, item: Any) -> None:
        self.item, self.busy = item, True
        with suppress(OSError):  # it is dead: its sentinel says so
            self.connection.send((item,))

    def receive(self, on_progress: Callable[[Any, Any], None]) -> Generator[tuple[Any, Any], None, None]:
        """Yield the item with its result, or with `Lost`, once there is one."""
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

    def end(self, when: float) -> None:
        """Wait for the process, and kill it if it takes too long."""
        with suppress(OSError):
            self.connection.close()
        self.process.join(max(0.0, when - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _work(connection: Connection[Any, Any], function: Callable[[Any], Any], threads: int) -> None:
    """Apply the function to what comes, until None comes."""
    # For what asks the machine and not the settings: reading, measuring, linear algebra.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    heard = ending_signals()

    def stop(number: int, frame: object) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        # Where a library calls back from its own code, nobody hears what is raised, and it would be printed, by
        # Python or by the library.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        raise Cancelled

    # The results of the command are on stdout; what a library prints is none.
    os.dup2(2, 1)
    _die_with_parent()
    # Blocked by `block_sigint` where that can be.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(Cancelled, EOFError, BrokenPipeError, ConnectionResetError):
        for one in heard:
            signal.signal(one, stop)
        threading.Thread(target=_follow_parent, daemon=True).start()
        while (given := connection.recv()) is not None:
            connection.send(_applied(connection, function, *given))
    # What is left dies with the process; to sort it first takes time.
    os._exit(0)


def _applied(connection: Connection[Any, Any], function: Callable[[Any], Any], item: Any) -> tuple[int, Any]:
    try:
        with linked(Link(lambda value: connection.send((_PROGRESS, value)))):
            return _RESULT, function(item)
    except Exception as error:
        return _ERROR, error


def _die_with_parent() -> None:
    """Let the system kill this process when its parent is killed: the next run then has the folder to itself."""
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
