"""The workers of a cluster, and one item at a time for each of them, whatever becomes of them."""

from __future__ import annotations

import pickle
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from softmorph_cli.cluster.worker import TOPIC, Facts, busy, carry_out, facts, unseen
from softmorph_cli.errors import ClusterError

Item = TypeVar("Item")
Value = TypeVar("Value")

_TICK: Final = 1.0
# Seconds for a result to come that is ready, and for items that were stopped to end.
_FETCH: Final = 5.0
_GRACE: Final = 5.0
_OFTEN: Final = 0.1
_PACKAGE: Final = "softmorph-cli"


@dataclass(frozen=True)
class Lost:
    """An item that nobody could do: each worker that had it died.

    Attributes:
        deaths: How many.
    """

    deaths: int


@dataclass
class _Piece:
    """An item on its way."""

    item: Any
    deaths: int = 0
    future: Any = None


class Cluster:
    """A cluster of Dask.

    Args:
        client: Dask's client.
        name: What messages call the cluster.
        memory: Bytes that an item may take, where the workers do not say.
        tell: Called with what a person may want to know.
        patience: Seconds to wait for a worker when there is none.
    """

    def __init__(
        self, client: Any, name: str, *, memory: int | None, tell: Callable[[str], None], patience: float
    ) -> None:
        """Keep them; nobody is asked yet."""
        self._client, self._name, self._memory = client, name, memory
        self._tell, self._patience = tell, patience
        self._facts: dict[str, Facts] = {}
        self._refused: set[str] = set()
        self._seen: list[Path] = []
        self._looked = self._last_alive = time.monotonic()

    @property
    def workers(self) -> int:
        """How many workers are there."""
        return len(self._facts)

    @property
    def threads(self) -> int:
        """CPU threads that an item may use: the least of all workers."""
        return min((one.threads for one in self._facts.values()), default=1)

    @property
    def memory(self) -> int | None:
        """Bytes that an item may take: the least of all workers; None where there is no limit."""
        limits = [one.memory for one in self._facts.values() if one.memory is not None]
        return min(limits, default=self._memory)

    def wait(self) -> None:
        """Wait for the first worker, and refuse those that cannot do the work.

        Raises:
            ClusterError: If none comes, or one lacks softmorph or has another version of it or of Python.
        """
        end, told = time.monotonic() + self._patience, False
        while not self._addresses():
            if time.monotonic() > end:
                raise self._empty()
            if not told:
                self._tell(
                    f"{self._name} has no worker yet; waiting up to {_duration(self._patience)} for one."
                )
                told = True
            time.sleep(min(_TICK, self._patience))
        self._look(strict=True)

    def check_folders(self, folders: Sequence[Path]) -> None:
        """Refuse folders that a worker does not see; workers that come later are looked at too.

        Raises:
            ClusterError: If one is not there for a worker.
        """
        self._seen = [folder.resolve() for folder in folders]
        for address, wrong in self._wrong_folders(list(self._facts)).items():
            raise ClusterError(f"{wrong} ({address})")

    def each(
        self,
        function: Callable[[Item], Value],
        items: Iterator[Item],
        *,
        tick: Callable[[], None] = lambda: None,
        heard: Callable[[Item, Any], None] = lambda item, value: None,
    ) -> Generator[tuple[Item, Value | Lost], None, None]:
        """Do every item, one at a time on each worker, and yield what came of it, in no order.

        An item is drawn from the iterator when a worker is free for it. One whose worker dies goes to another,
        as often as Dask allows (distributed.scheduler.allowed-failures). When the generator is closed, or
        anything is raised in it, everything under way ends.

        Args:
            function: What is done; importable where the workers are, as all it takes and returns can be pickled.
            items: The work.
            tick: Called about once a second.
            heard: Called with an item and what it `say`s on its way.

        Raises:
            ClusterError: If the scheduler is gone, or all workers are and none comes.
            Exception: What the function raises.
        """
        import dask

        allowed = int(dask.config.get("distributed.scheduler.allowed-failures"))
        run, number, exhausted = secrets.token_hex(6), 0, False
        at: dict[str, _Piece] = {}
        keys: dict[str, _Piece] = {}
        again: deque[_Piece] = deque()
        told: SimpleQueue[tuple[str, bytes | None]] = SimpleQueue()

        def begin(address: str, piece: _Piece) -> None:
            nonlocal number
            number += 1
            key = f"softmorph-{run}-{number}"
            work = pickle.dumps((function, piece.item))
            # Where it runs is said here, so that every worker has one, and one that dies is known by its item.
            piece.future = self._client.submit(carry_out, work, key=key, workers=[address], pure=False)
            at[address], keys[key] = piece, piece
            piece.future.add_done_callback(lambda _: told.put((key, None)))

        def end(piece: _Piece) -> None:
            for address in [address for address, one in at.items() if one is piece]:
                del at[address]
            keys.pop(piece.future.key, None)
            piece.future.release()

        def died(piece: _Piece) -> bool:
            """Whether it is lost."""
            with suppress(Exception):
                piece.future.cancel()
            end(piece)
            piece.deaths += 1
            if piece.deaths <= allowed:
                again.append(piece)
            return piece.deaths > allowed

        self._client.subscribe_topic(TOPIC, lambda event: told.put(event[1]))
        try:
            while True:
                self._look()
                for address in [address for address in at if address not in self._facts]:
                    piece = at[address]
                    if died(piece):
                        yield piece.item, Lost(piece.deaths)
                for address in [address for address in self._facts if address not in at]:
                    if again:
                        begin(address, again.popleft())
                        continue
                    if exhausted:
                        break
                    try:
                        item = next(items)
                    except StopIteration:
                        exhausted = True
                        break
                    begin(address, _Piece(item))
                if exhausted and not at and not again:
                    return
                tick()
                try:
                    key, word = told.get(timeout=_TICK)
                except Empty:
                    continue
                found = keys.get(key)
                if found is None:
                    continue
                if word is not None:
                    heard(found.item, pickle.loads(word))
                    continue
                status = found.future.status
                if status == "finished":
                    try:
                        value = found.future.result(timeout=_FETCH)
                    except (TimeoutError, OSError):
                        # It went with its worker, unless it is only slow.
                        told.put((key, None))
                        self._look(now=True)
                        continue
                    end(found)
                    yield found.item, value
                elif status == "error":
                    error = found.future.exception()
                    if type(error).__name__ == "KilledWorker":
                        if died(found):
                            yield found.item, Lost(found.deaths)
                        continue
                    end(found)
                    raise error
                else:
                    self._look(now=True)
        finally:
            self._stop(at)

    def _stop(self, at: dict[str, _Piece]) -> None:
        """Cancel what is under way, and wait a little for it to end."""
        with suppress(Exception):  # of a cluster that is gone, nothing is left to stop
            self._client.unsubscribe_topic(TOPIC)
            if not at:
                return
            self._client.cancel([piece.future for piece in at.values()])
            last = time.monotonic() + _GRACE
            while time.monotonic() < last:
                time.sleep(_OFTEN)
                alive = [address for address in self._addresses() if address in at]
                if not any(self._client.run(busy, workers=alive, on_error="ignore").values()):
                    return

    def _look(self, *, now: bool = False, strict: bool = False) -> None:
        """See who is there; about once a second is enough, unless it is asked for now."""
        moment = time.monotonic()
        if not (now or strict) and moment - self._looked < _TICK and self._facts:
            return
        self._looked = moment
        there = self._addresses()
        for address in [address for address in self._facts if address not in there]:
            del self._facts[address]
        new = [address for address in there if address not in self._facts and address not in self._refused]
        if new:
            self._admit(new, strict=strict)
        if self._facts:
            self._last_alive = moment
        elif moment - self._last_alive > self._patience:
            raise self._empty()

    def _admit(self, new: Sequence[str], *, strict: bool) -> None:
        """Ask workers what they are, and take those that can do the work."""
        wrong = self._wrong_versions(new)
        good = [address for address in new if address not in wrong]
        wrong |= self._wrong_folders(good)
        good = [address for address in good if address not in wrong]
        for address, said in wrong.items():
            if strict:
                raise ClusterError(f"{said} ({address})")
            self._refused.add(address)
            self._tell(f"a worker that came later gets no work: {said} ({address})")
        if good:
            found = self._client.run(facts, workers=good, on_error="ignore")
            self._facts |= found

    def _wrong_versions(self, addresses: Sequence[str]) -> dict[str, str]:
        """Return what is wrong with whom. Nothing of ours is sent: it might not be understood there."""
        import platform

        here, own = "{}.{}".format(*sys.version_info), version(_PACKAGE)
        pythons = self._client.run(platform.python_version, workers=list(addresses), on_error="ignore")
        packages = self._client.run(version, _PACKAGE, workers=list(addresses), on_error="return")
        wrong = {}
        for address, python in pythons.items():
            package = packages.get(address)
            if python.rpartition(".")[0] != here:
                wrong[address] = (
                    f"a worker runs Python {python}, and here it is {here}; use the same on all machines"
                )
            elif isinstance(package, Exception):
                wrong[address] = (
                    f"a worker has no softmorph; type there: pip install '{_PACKAGE}[cluster]=={own}'"
                )
            elif package != own:
                wrong[address] = (
                    f"a worker has softmorph {package}, and here it is {own}; type there: "
                    f"pip install '{_PACKAGE}[cluster]=={own}'"
                )
        return wrong

    def _wrong_folders(self, addresses: Sequence[str]) -> dict[str, str]:
        if not self._seen or not addresses:
            return {}
        found = self._client.run(unseen, self._seen, workers=list(addresses), on_error="ignore")
        return {
            address: f"a worker does not see {paths[0]}; use a folder that all machines share"
            for address, paths in found.items()
            if paths
        }

    def _addresses(self) -> list[str]:
        try:
            return list(self._client.nthreads())
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(f"{self._name} is gone: its scheduler no longer answers.") from error

    def _empty(self) -> ClusterError:
        return ClusterError(
            f"{self._name} has had no worker for {_duration(self._patience)}; start some with: dask worker ADDRESS"
        )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
