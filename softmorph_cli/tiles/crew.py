"""Who works on the tiles: this process alone, or the workers of a cluster."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from softmorph_cli.cluster import Cluster, Lost
from softmorph_cli.errors import ClusterError
from softmorph_cli.tiles.site import Site
from softmorph_cli.tiles.window import ahead, give_back_memory, share_one_heap

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


class Spread:
    """The workers of a cluster, a tile at a time for each of them.

    Args:
        cluster: It.
        read: Files and folders that every worker has to see.
        written: Folders that every worker has to see and that are written to.
        advice: What to do when the cluster is lost in the middle, as the end of a sentence.
    """

    def __init__(
        self,
        cluster: Cluster,
        read: Sequence[Path] = (),
        written: Sequence[Path] = (),
        advice: str = "start again",
    ) -> None:
        """Keep them; nobody is asked yet."""
        self._cluster, self._read, self._written, self._advice = cluster, read, written, advice
        self._run = secrets.token_hex(6)
        self._checked = False

    @property
    def workers(self) -> int:
        """How many there are, for now: more may come."""
        return self._cluster.workers

    def each(
        self,
        site: Site,
        work: Callable[..., Value],
        items: Iterable[Item],
        read: Callable[[Site, Item], Any] | None = None,
    ) -> Generator[tuple[Item, Value], None, None]:
        """Do items wherever a worker is free."""
        if not self._checked:
            self._cluster.check_folders(self._read, [*self._written, site.folder])
            self._checked = True
        order = _Order(self._run, site, work, read)
        try:
            with closing(self._cluster.each(order, iter(items))) as coming:
                for item, value in coming:
                    if isinstance(value, Lost):
                        raise ClusterError(
                            f"all {value.deaths} workers that had one of the tiles died, most likely because memory "
                            "ran out: give a smaller --memory."
                        )
                    yield item, value
        except ClusterError as error:
            raise ClusterError(f"{str(error).removesuffix('.')}; {self._advice}.") from error


class _Order:
    """What is done with every item. Pickled, it is short, and a process unpacks the site of a run only once.

    Args:
        run: A name that no other run has.
        site: The run.
        work: As for `Crew.each`.
        read: As for `Crew.each`.
    """

    def __init__(
        self,
        run: str,
        site: Site,
        work: Callable[..., Any],
        read: Callable[[Site, Any], Any] | None,
    ) -> None:
        self.run, self.site, self.work, self.read = run, site, work, read

    @cached_property
    def packed(self) -> bytes:
        # Not before there is something to do: whoever packs a target says that others may write to it now.
        return pickle.dumps(self.site)

    def __reduce__(self) -> tuple[Callable[..., _Order], tuple[object, ...]]:
        return _unpacked, (self.run, self.packed, self.work, self.read)

    def __call__(self, item: Any) -> Any:
        found = () if self.read is None else (self.read(self.site, item),)
        value = self.work(self.site, item, *found)
        del found
        give_back_memory()
        return value


def _unpacked(
    run: str, packed: bytes, work: Callable[..., Any], read: Callable[[Site, Any], Any] | None
) -> _Order:
    return _Order(run, _site(run, packed), work, read)


@lru_cache(maxsize=1)
def _site(run: str, packed: bytes) -> Site:
    share_one_heap()
    site = pickle.loads(packed)
    assert isinstance(site, Site)
    return site
