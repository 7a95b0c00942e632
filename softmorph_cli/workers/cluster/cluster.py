"""An executor on a Dask cluster: each worker runs one item at a time, and items of workers that died are repeated."""

from __future__ import annotations

import pickle
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from softmorph_cli.workers.cluster.members import Members
from softmorph_cli.workers.cluster.worker import TOPIC, apply_pickled, busy
from softmorph_cli.workers.executor import Executor, Function, Lost, OnProgress, Results, Tick

_TICK: Final = 1.0
# Seconds to fetch a finished result, and for cancelled items to end.
_FETCH: Final = 2.0
_GRACE: Final = 3.0
_POLL: Final = 0.1


class Cluster(Executor):
    """An executor that runs one item at a time on each worker of a Dask cluster.

    Args:
        client: A `distributed.Client` that is connected to the cluster.
        members: The workers of the cluster, with their resources.
        memory: Bytes of memory that an item may use, where Dask sets no memory limit for the workers.
    """

    in_process = False

    def __init__(self, client: Any, members: Members, memory: int | None = None) -> None:
        super().__init__()
        self._client, self._members, self._memory = client, members, memory

    @property
    def workers(self) -> int:
        """The current number of workers; more workers may join later."""
        return len(self._members.facts)

    @property
    def threads(self) -> int:
        """The number of CPU threads that an item may use: the minimum over all workers."""
        return min((one.threads for one in self._members.facts.values()), default=1)

    @property
    def memory(self) -> int | None:
        """The bytes of memory that an item may use: the minimum over all workers; None if memory is not limited."""
        limits = [one.memory for one in self._members.facts.values() if one.memory is not None]
        return min(limits, default=self._memory)

    def check_folders(self, read: Sequence[Path], written: Sequence[Path] = ()) -> None:
        """Raise an error if a worker cannot access a folder; a worker that joins later and cannot gets no items."""
        self._members.check_folders(read, written)

    def _run(self, function: Function, items: Iterator[Any], tick: Tick, on_progress: OnProgress) -> Results:
        # An item whose worker dies goes to another, as often as Dask allows (distributed.scheduler.allowed-failures).
        # It may have been done already, so doing it twice must have the effect of doing it once.
        run = _Run(self._client, self._members, function)
        try:
            while True:
                self._members.update()
                yield from run.recover()
                if not run.fill(items):
                    return
                tick()
                yield from run.listen(on_progress)
        finally:
            run.close()


@dataclass(eq=False)
class _Submitted:
    """An item that was submitted to a worker.

    Attributes:
        item: The item.
        deaths: Number of workers that died while they ran the item.
        future: The `distributed.Future` of the item's result.
    """

    item: Any
    deaths: int = 0
    future: Any = None


class _Run:
    """The state of one call of `map_unordered`: which items run on which workers, and which have to be repeated.

    Args:
        client: A `distributed.Client` that is connected to the cluster.
        members: The workers of the cluster.
        function: The function that is applied to each item.
    """

    def __init__(self, client: Any, members: Members, function: Function) -> None:
        import dask

        self._client, self._members, self._function = client, members, function
        self._allowed = int(dask.config.get("distributed.scheduler.allowed-failures"))
        self._name, self._number, self._exhausted = f"softmorph-{secrets.token_hex(6)}", 0, False
        # Running items by the address of their worker, and by Dask's key.
        self._at: dict[str, _Submitted] = {}
        self._keys: dict[str, _Submitted] = {}
        self._again: deque[_Submitted] = deque()
        # Keys with a value that was sent, or with None when the state of the future has changed.
        self._events: SimpleQueue[tuple[str, bytes | None]] = SimpleQueue()
        client.subscribe_topic(TOPIC, lambda event: self._events.put(event[1]))

    def recover(self) -> Iterator[tuple[Any, Lost]]:
        """Queue the items of workers that have left, to be repeated; yield items that too many workers died of."""
        for address in [address for address in self._at if address not in self._members.facts]:
            yield from self._died(self._at[address])

    def fill(self, items: Iterator[Any]) -> bool:
        """Submit an item to every free worker, and return whether any item is running or waiting."""
        for address in self._members.facts:
            if address in self._at:
                continue
            if self._again:
                self._begin(address, self._again.popleft())
                continue
            if not self._exhausted:
                for item in items:
                    self._begin(address, _Submitted(item))
                    break
                else:
                    self._exhausted = True
        return bool(self._at or self._again or not self._exhausted)

    def listen(self, on_progress: OnProgress) -> Iterator[tuple[Any, Any]]:
        """Wait up to a second for one event of a running item; if the item has ended, yield it with its result."""
        try:
            key, sent = self._events.get(timeout=_TICK)
        except Empty:
            return
        piece = self._keys.get(key)
        if piece is None:  # of another run, or of a worker that was believed to be dead
            return
        if sent is not None:
            on_progress(piece.item, pickle.loads(sent))
        elif piece.future.status == "finished":
            try:
                value = piece.future.result(timeout=_FETCH)
            except (TimeoutError, OSError):
                # Lost with its worker, or slow to arrive: fetched again, unless the worker has left.
                self._events.put((key, None))
                self._members.update(now=True)
                return
            self._end(piece)
            yield piece.item, value
        elif piece.future.status == "error":
            error = piece.future.exception()
            if type(error).__name__ != "KilledWorker":
                raise error
            yield from self._died(piece)
        else:  # cancelled by the scheduler, which has lost it
            self._members.update(now=True)
            yield from self._died(piece)

    def close(self) -> None:
        """Cancel the running items, and wait up to `_GRACE` seconds until they have ended."""
        with suppress(Exception):  # the cluster may no longer exist
            self._client.unsubscribe_topic(TOPIC)
            if not self._at:
                return
            self._client.cancel([piece.future for piece in self._at.values()])
            last = time.monotonic() + _GRACE
            while time.monotonic() < last:
                time.sleep(_POLL)
                if not any(self._members.ask(busy, of=list(self._at)).values()):
                    return

    def _begin(self, address: str, piece: _Submitted) -> None:
        self._number += 1
        key = f"{self._name}-{self._number}"
        work = pickle.dumps((self._function, piece.item))
        # The worker is chosen here, so that each has one item, and the item of one that dies is known.
        piece.future = self._client.submit(apply_pickled, work, key=key, workers=[address], pure=False)
        self._at[address] = self._keys[key] = piece
        piece.future.add_done_callback(lambda _: self._events.put((key, None)))

    def _end(self, piece: _Submitted) -> None:
        self._at = {address: one for address, one in self._at.items() if one is not piece}
        self._keys.pop(piece.future.key, None)
        piece.future.release()

    def _died(self, piece: _Submitted) -> Iterator[tuple[Any, Lost]]:
        piece.future.cancel()
        self._end(piece)
        piece.deaths += 1
        if piece.deaths <= self._allowed:
            self._again.append(piece)
        else:
            yield piece.item, Lost(piece.deaths)
