"""Who works on the tiles: this process alone, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from softmorph_cli.tiles.site import Site
from softmorph_cli.tiles.window import ahead, give_back_memory

Item = TypeVar("Item")
Value = TypeVar("Value")


class Crew(Protocol):
    """Does what is asked of tiles, several at once where there are several to do it."""

    @property
    def workers(self) -> int:
        """How many tiles are worked on at once."""

    def each(
        self,
        site: Site,
        work: Callable[..., Value],
        items: Iterable[Item],
        read: Callable[[Site, Item], Any] | None = None,
    ) -> Generator[tuple[Item, Value], None, None]:
        """Do every item and yield what came of it, in any order; closing the generator ends all of it.

        Args:
            site: The run.
            work: What is done: a method of `Site`, called with the item and with what was read for it.
            items: The work; one is drawn when somebody is free for it.
            read: Reads for an item, a method of `Site` as well; for the next item meanwhile, where that helps.

        Raises:
            SoftmorphError: What the work raises, or if somebody is lost.
        """
        ...


class Alone:
    """This process; what is done on a tile is done by all its threads."""

    workers = 1

    def each(
        self,
        site: Site,
        work: Callable[..., Value],
        items: Iterable[Item],
        read: Callable[[Site, Item], Any] | None = None,
    ) -> Generator[tuple[Item, Value], None, None]:
        """Do one item after the other."""
        if read is None:
            for item in items:
                value = work(site, item)
                give_back_memory()
                yield item, value
        else:
            for item, found in ahead(partial(read, site), items):
                value = work(site, item, found)
                del found
                give_back_memory()
                yield item, value
