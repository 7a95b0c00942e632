"""One item after the other, by this process itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from softmorph_cli.workers.executor import Executor, Item, Lost, OnProgress, Value
from softmorph_cli.workers.item import Link, linked


class Serial(Executor):
    """The calling thread."""

    in_process = True
    workers = 1

    def map_unordered(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        tick: Callable[[], None] = lambda: None,
        on_progress: OnProgress[Item] = lambda item, value: None,
    ) -> Generator[tuple[Item, Value | Lost], None, None]:
        """Yield each item with its result; see `Executor`."""
        for item in items:
            tick()
            with linked(Link(lambda value, item=item: on_progress(item, value))):  # type: ignore[misc]
                value = function(item)
            yield item, value
