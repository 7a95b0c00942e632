"""A tile's work on any executor."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from softmorph_cli.errors import ClusterError
from softmorph_cli.system.parameters import in_shell, named_as_options
from softmorph_cli.tiled.region_backend import ahead, give_back_memory, share_one_heap
from softmorph_cli.tiled.tile_worker import Site
from softmorph_cli.workers import Executor, Lost, Serial

Item = TypeVar("Item")
Value = TypeVar("Value")
Read = Callable[[Site, Any], Any]


@dataclass(frozen=True)
class Crew:
    """An executor, and what its workers need to work on the tiles of a run.

    Attributes:
        executor: Does the work.
        read: Files and folders that every worker has to see.
        written: Folders that every worker has to see and that are written to.
        advice: What to do when the workers are lost in the middle, as the end of a sentence.
        run: A name that no other run has.
    """

    executor: Executor = field(default_factory=Serial)
    read: Sequence[Path] = ()
    written: Sequence[Path] = ()
    advice: str = "start again"
    run: str = field(default_factory=partial(secrets.token_hex, 6))

    @property
    def workers(self) -> int:
        """How many tiles are worked on at once; on a cluster more workers may come."""
        return self.executor.workers

    def check(self, site: Site) -> None:
        """Refuse a run whose folders a worker does not see.

        Raises:
            ClusterError: If so.
            FileError: If nothing can be written into one of them.
        """
        self.executor.check_folders(self.read, [*self.written, site.folder])

    def each(
        self, site: Site, work: Callable[..., Value], items: Iterable[Item], read: Read | None = None
    ) -> Generator[tuple[Item, Value], None, None]:
        """Yield each item with its result as the results come; closing the generator cancels the others.

        Args:
            site: The run.
            work: A method of `Site`, called with the item and with what was read for it.
            items: The work; one is drawn when a worker is free for it.
            read: Reads for an item, a method of `Site` as well. In this process the next item is read meanwhile.

        Raises:
            SoftmorphError: What the work raises, or if a tile is lost.
        """
        tile_work = _TileWork(self.run, site, work, read)
        given: Iterable[Any] = items
        if read is not None and self.executor.in_process:
            given = _read_ahead(partial(read, site), items)
        try:
            with closing(self.executor.map_unordered(tile_work, given)) as coming:
                for item, value in coming:
                    if isinstance(value, Lost):
                        raise ClusterError(
                            f"all {value.deaths} workers that had one of the tiles died, most likely because memory "
                            "ran out: give a smaller --memory."
                        )
                    yield item.item if isinstance(item, _Loaded) else item, value
        except ClusterError as error:
            raise ClusterError(f"{str(error).removesuffix('.')}; {self.advice}.") from error


@dataclass
class _Loaded(Generic[Item]):
    """An item with what was read for it, which is let go of as soon as the work is done."""

    item: Item
    found: Any

    def take(self) -> Any:
        found, self.found = self.found, None
        return found


def _read_ahead(read: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[_Loaded[Item]]:
    for item, found in ahead(read, items):
        loaded = _Loaded(item, found)
        del found
        yield loaded


class _TileWork:
    """What is done with every item. Pickled, it is short, and a process unpacks the site of a run only once.

    Args:
        run: A name that no other run has.
        site: The run.
        work: As for `Crew.each`.
        read: As for `Crew.each`.
    """

    def __init__(self, run: str, site: Site, work: Callable[..., Any], read: Read | None) -> None:
        self.run, self.site, self.work, self.read = run, site, work, read
        self.wording = named_as_options if in_shell() else nullcontext

    @cached_property
    def packed(self) -> bytes:
        # Not before there is something to do: whoever packs a target says that others may write to it now.
        return pickle.dumps(self.site)

    def __reduce__(self) -> tuple[Callable[..., _TileWork], tuple[object, ...]]:
        return _unpacked, (self.run, self.packed, self.work, self.read, self.wording)

    def __call__(self, item: Any) -> Any:
        with self.wording():
            if self.read is None:
                value = self.work(self.site, item)
            elif isinstance(item, _Loaded):
                value = self.work(self.site, item.item, item.take())
            else:
                value = self.work(self.site, item, self.read(self.site, item))
        give_back_memory()
        return value


def _unpacked(
    run: str,
    packed: bytes,
    work: Callable[..., Any],
    read: Read | None,
    wording: Callable[[], AbstractContextManager[None]],
) -> _TileWork:
    # Messages of another process name parameters as those of this one do.
    with wording():
        return _TileWork(run, _site(run, packed), work, read)


@lru_cache(maxsize=1)
def _site(run: str, packed: bytes) -> Site:
    share_one_heap()
    site = pickle.loads(packed)
    assert isinstance(site, Site)
    return site
