"""Executors within this process: `Serial` runs one item after the other, `Threads` one item in each of its threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Final

from softmorph_cli.workers.executor import Executor, Function, OnProgress, Results, Tick
from softmorph_cli.workers.item import Link, linked

_TICK: Final = 1.0


class Serial(Executor):
    """An executor that runs all items one after the other in the calling thread."""

    in_process = True

    def _run(self, function: Function, items: Iterator[Any], tick: Tick, on_progress: OnProgress) -> Results:
        for item in items:
            tick()
            with linked(Link(lambda value, item=item: on_progress(item, value))):  # type: ignore[misc]
                value = function(item)
            yield item, value


class Threads(Executor):
    """An executor that runs items in threads of this process; a cancelled item ends when it calls `cancelled` next.

    Args:
        workers: Number of threads.
    """

    in_process = True

    def _run(self, function: Function, items: Iterator[Any], tick: Tick, on_progress: OnProgress) -> Results:
        stopping, running = threading.Event(), 0
        # An item with its future once it has ended, with a value that it sent before.
        events: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

        def work(item: Any) -> Any:
            with linked(Link(lambda value: events.put((item, value)), stopping.is_set)):
                return function(item)

        def start(item: Any, pool: ThreadPoolExecutor) -> None:
            pool.submit(work, item).add_done_callback(lambda future: events.put((item, future)))

        with ThreadPoolExecutor(self.workers) as pool:
            try:
                while True:
                    for item in islice(items, self.workers - running):
                        start(item, pool)
                        running += 1
                    if not running:
                        return
                    tick()
                    try:
                        item, event = events.get(timeout=_TICK)
                    except Empty:
                        continue
                    if isinstance(event, Future):
                        running -= 1
                        yield item, event.result()
                    else:
                        on_progress(item, event)
            finally:
                stopping.set()
