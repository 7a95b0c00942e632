"""Threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

from softmorph_cli.workers.executor import Executor, Item, Lost, OnProgress, Value
from softmorph_cli.workers.item import Link, linked

_TICK: Final = 1.0


class Threads(Executor):
    """Threads of this process. A cancelled item ends where it asks whether it is cancelled.

    Args:
        workers: How many.
    """

    in_process = True

    def __init__(self, workers: int) -> None:
        """Keep the number; a thread is started for each item."""
        self._workers = workers

    @property
    def workers(self) -> int:
        """The number of threads."""
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
        source, stopping = iter(items), threading.Event()
        events: SimpleQueue[tuple[_Running, bool, Any]] = SimpleQueue()
        running: list[_Running] = []

        def work(one: _Running) -> None:
            try:
                link = Link(lambda value: events.put((one, False, value)), stopping.is_set)
                with linked(link):
                    one.value = function(one.item)
            except BaseException as error:
                one.error = error
            events.put((one, True, None))

        try:
            while True:
                while len(running) < self._workers:
                    try:
                        one = _Running(next(source))
                    except StopIteration:
                        break
                    one.thread = threading.Thread(target=work, args=(one,), daemon=True)
                    running.append(one)
                    one.thread.start()
                if not running:
                    return
                tick()
                try:
                    one, ended, value = events.get(timeout=_TICK)
                except Empty:
                    continue
                if not ended:
                    on_progress(one.item, value)
                    continue
                one.thread.join()
                running.remove(one)
                if one.error is not None:
                    raise one.error
                yield one.item, one.value
        finally:
            stopping.set()
            for one in running:
                one.thread.join()


@dataclass(eq=False)
class _Running:
    """An item under way, and how it ended."""

    item: Any
    thread: threading.Thread = field(init=False)
    value: Any = None
    error: BaseException | None = None
