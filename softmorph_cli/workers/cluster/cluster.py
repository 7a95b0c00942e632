"""One item at a time for each worker of a cluster, whatever becomes of the workers."""

from __future__ import annotations

import pickle
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from softmorph_cli.workers.cluster.members import Members
from softmorph_cli.workers.cluster.worker import TOPIC, busy, carry_out
from softmorph_cli.workers.executor import Executor, Item, Lost, OnProgress, Value

_TICK: Final = 1.0
# Seconds for a result to come that is ready, and for items that were stopped to end.
_FETCH: Final = 2.0
_GRACE: Final = 3.0
_OFTEN: Final = 0.1


class Cluster(Executor):
    """A cluster of Dask.

    Args:
        client: Dask's client.
        members: Its workers.
        memory: Bytes that an item may take, where the workers do not say.
    """

    in_process = False

    def __init__(self, client: Any, members: Members, memory: int | None = None) -> None:
        """Keep them."""
        self._client, self._members, self._memory = client, members, memory

    @property
    def workers(self) -> int:
        """The number of workers at present; more may come."""
        return len(self._members.facts)

    @property
    def threads(self) -> int:
        """CPU threads that an item may use: the least of all workers."""
        return min((one.threads for one in self._members.facts.values()), default=1)

    @property
    def memory(self) -> int | None:
        """Bytes that an item may take: the least of all workers; None where there is no limit."""
        limits = [one.memory for one in self._members.facts.values() if one.memory is not None]
        return min(limits, default=self._memory)

    def check_folders(self, read: Sequence[Path], written: Sequence[Path] = ()) -> None:
        """Refuse folders that a worker does not see; a worker that comes later and does not gets no work.

        Args:
            read: Folders, or files, that are there.
            written: Folders that are there and will be written to. A file is put there for a moment, so that a
                folder of the same name on another disk is told apart.

        Raises:
            ClusterError: If a worker does not see one.
            FileError: If nothing can be written into one of `written`.
        """
        self._members.check_folders(read, written)

    def map_unordered(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        tick: Callable[[], None] = lambda: None,
        on_progress: OnProgress[Item] = lambda item, value: None,
    ) -> Generator[tuple[Item, Value | Lost], None, None]:
        """Yield each item with its result; see `Executor`.

        An item whose worker dies goes to another, as often as Dask allows (distributed.scheduler.allowed-failures).
        It may have been done already, so doing it twice has to be as good as once.
        """
        source, round_ = iter(items), _Round(self._client, self._members, function)
        try:
            while True:
                self._members.look()
                yield from round_.bury()
                if not round_.fill(source):
                    return
                tick()
                yield from round_.listen(on_progress)
        finally:
            round_.close()


@dataclass(eq=False)
class _Piece:
    """An item on its way.

    Attributes:
        item: It.
        deaths: How many workers died of it, or with it.
        future: Dask's word for what will come of it.
    """

    item: Any
    deaths: int = 0
    future: Any = None


class _Round:
    """What is under way.

    Args:
        client: Dask's client.
        members: The workers.
        function: What is done with an item.
    """

    def __init__(self, client: Any, members: Members, function: Callable[[Any], Any]) -> None:
        import dask

        self._client, self._members, self._function = client, members, function
        self._allowed = int(dask.config.get("distributed.scheduler.allowed-failures"))
        self._name, self._number, self._exhausted = f"softmorph-{secrets.token_hex(6)}", 0, False
        # By the worker that has it, and by the key that Dask knows it by.
        self._at: dict[str, _Piece] = {}
        self._keys: dict[str, _Piece] = {}
        self._again: deque[_Piece] = deque()
        # Keys with what was said, or with None when something has become of them.
        self._told: SimpleQueue[tuple[str, bytes | None]] = SimpleQueue()
        client.subscribe_topic(TOPIC, lambda event: self._told.put(event[1]))

    def bury(self) -> Iterator[tuple[Any, Lost]]:
        """Take back what dead workers had, and yield what is lost."""
        for address in [address for address in self._at if address not in self._members.facts]:
            yield from self._died(self._at[address])

    def fill(self, items: Iterator[Any]) -> bool:
        """Give every free worker an item; say whether anything is left to wait for."""
        for address in self._members.facts:
            if address in self._at:
                continue
            if self._again:
                self._begin(address, self._again.popleft())
                continue
            if not self._exhausted:
                for item in items:
                    self._begin(address, _Piece(item))
                    break
                else:
                    self._exhausted = True
        return bool(self._at or self._again or not self._exhausted)

    def listen(self, on_progress: Callable[[Any, Any], None]) -> Iterator[tuple[Any, Any]]:
        """Wait up to a second for something to happen, and yield what came of an item."""
        try:
            key, said = self._told.get(timeout=_TICK)
        except Empty:
            return
        piece = self._keys.get(key)
        if piece is None:  # of another batch, or of a worker that was thought to be dead
            return
        if said is not None:
            on_progress(piece.item, pickle.loads(said))
        elif piece.future.status == "finished":
            try:
                value = piece.future.result(timeout=_FETCH)
            except (TimeoutError, OSError):
                # It is gone with its worker, or slow to come: ask again, unless the worker is found dead.
                self._told.put((key, None))
                self._members.look(now=True)
                return
            self._end(piece)
            yield piece.item, value
        elif piece.future.status == "error":
            error = piece.future.exception()
            if type(error).__name__ != "KilledWorker":
                raise error
            yield from self._died(piece)
        else:  # cancelled, by nobody here: the scheduler has lost it
            self._members.look(now=True)
            yield from self._died(piece)

    def close(self) -> None:
        """Tell what is under way to end, and wait a little for it."""
        with suppress(Exception):  # of a cluster that is gone, nothing is left to end
            self._client.unsubscribe_topic(TOPIC)
            if not self._at:
                return
            self._client.cancel([piece.future for piece in self._at.values()])
            last = time.monotonic() + _GRACE
            while time.monotonic() < last:
                time.sleep(_OFTEN)
                if not any(self._members.ask(busy, of=list(self._at)).values()):
                    return

    def _begin(self, address: str, piece: _Piece) -> None:
        self._number += 1
        key = f"{self._name}-{self._number}"
        work = pickle.dumps((self._function, piece.item))
        # We say where it runs: so every worker has one, and of one that dies it is known what it had.
        piece.future = self._client.submit(carry_out, work, key=key, workers=[address], pure=False)
        self._at[address] = self._keys[key] = piece
        piece.future.add_done_callback(lambda _: self._told.put((key, None)))

    def _end(self, piece: _Piece) -> None:
        self._at = {address: one for address, one in self._at.items() if one is not piece}
        self._keys.pop(piece.future.key, None)
        piece.future.release()

    def _died(self, piece: _Piece) -> Iterator[tuple[Any, Lost]]:
        piece.future.cancel()
        self._end(piece)
        piece.deaths += 1
        if piece.deaths <= self._allowed:
            self._again.append(piece)
        else:
            yield piece.item, Lost(piece.deaths)
