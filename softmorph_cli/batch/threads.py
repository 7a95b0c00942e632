"""Threads around one device: one file is computed while others are read and written."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from softmorph_cli.batch.engine import Sign, Watch
from softmorph_cli.batch.task import Outcome, Task, run_task

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress

_TICK: Final = 1.0
_OFTEN: Final = 0.2


class ThreadEngine:
    """Threads in this process, which owns the device.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        """Keep the number; threads are started when there is work for them."""
        self.workers = workers

    def outcomes(self, tasks: Iterator[Task], watch: Watch) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task as it comes; see `Engine`."""
        told: SimpleQueue[tuple[int, Outcome | Sign | BaseException]] = SimpleQueue()
        device, stopping = threading.Lock(), threading.Event()
        busy: dict[int, threading.Thread] = {}

        def work(number: int, task: Task) -> None:
            last = time.monotonic()

            def watch_it(progress: Progress) -> None:
                nonlocal last
                if stopping.is_set():
                    raise _Stopped
                if time.monotonic() - last >= _OFTEN:
                    last = time.monotonic()
                    told.put((number, Sign(number, task.name, progress)))

            try:
                told.put((number, run_task(task, progress=watch_it, computing=device)))
            except BaseException as error:
                told.put((number, error))

        try:
            while True:
                for number in range(self.workers):
                    if number not in busy:
                        task = next(tasks, None)
                        if task is None:
                            break
                        watch(Sign(number, task.name))
                        busy[number] = threading.Thread(target=work, args=(number, task), daemon=True)
                        busy[number].start()
                if not busy:
                    return
                try:
                    number, one = told.get(timeout=_TICK)
                except Empty:
                    watch(None)
                    continue
                if isinstance(one, Sign):
                    watch(one)
                    continue
                busy.pop(number).join()
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            # Between two sub-iterations a step notices; reading and writing come to their end.
            stopping.set()
            for thread in busy.values():
                thread.join()


class _Stopped(BaseException):
    """The batch ends before this file does."""
