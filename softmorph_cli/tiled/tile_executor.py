"""`TileExecutor` runs the tiles of a tiled run on any executor: in this process, other processes or a cluster."""

from __future__ import annotations

import pickle
import secrets
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from softmorph_cli.errors import ClusterError
from softmorph_cli.system.machine import share_one_heap, trim_heap
from softmorph_cli.system.parameters import in_shell, named_as_options
from softmorph_cli.tiled.tile_worker import TileWorker
from softmorph_cli.workers import Executor, Lost, Serial

Item = TypeVar("Item")
Value = TypeVar("Value")
Read = Callable[[TileWorker, Any], Any]


@dataclass(frozen=True)
class TileExecutor:
    """An executor for the tiles of a tiled run.

    Attributes:
        executor: The executor that calls a function for each tile.
        read: Files and folders that every worker has to be able to read.
        written: Folders that every worker has to be able to write to.
        advice: Advice for the user if the cluster is lost, as the end of a sentence.
        run: A unique name of the run.
    """

    executor: Executor = field(default_factory=Serial)
    read: Sequence[Path] = ()
    written: Sequence[Path] = ()
    advice: str = "start again"
    run: str = field(default_factory=partial(secrets.token_hex, 6))

    @property
    def workers(self) -> int:
        """The number of tiles that are filtered at once; on a cluster more workers may join later."""
        return self.executor.workers

    def check(self, worker: TileWorker) -> None:
        """Raise an error if a worker cannot access the files and folders of the run.

        Raises:
            ClusterError: If a worker cannot access a file or folder.
            FileError: If no file can be created in a folder that is written to.
        """
        self.executor.check_folders(self.read, [*self.written, worker.folder])

    def map_unordered(
        self,
        worker: TileWorker,
        method: Callable[..., Value],
        items: Iterable[Item],
        read: Read | None = None,
    ) -> Generator[tuple[Item, Value], None, None]:
        """Yield pairs of an item and its result, in the order in which the results arrive.

        Closing the generator cancels the items that are still running.

        Args:
            worker: The map, filter, plan and targets of the run.
            method: A method of `TileWorker`, which is called with an item and, if `read` is given, the input of this.
            items: The items, such as tile indices, which are drawn lazily: only when a worker is free.
            read: A method of `TileWorker` that reads the input of an item. If the workers share this process, a
                thread reads the input of the next item ahead.

        Raises:
            SoftmorphError: If the method raises this error, or all workers that ran one of the tiles died.
        """
        function = _TileFunction(self.run, worker, method, read)
        given: Iterable[Any] = items
        if read is not None and self.executor.in_process:
            given = _read_ahead(partial(read, worker), items)
        try:
            with closing(self.executor.map_unordered(function, given)) as coming:
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
    """An item with its input (`values`), which is released when `take` returns it."""

    item: Item
    values: Any

    def take(self) -> Any:
        values, self.values = self.values, None
        return values


def _read_ahead(read: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[_Loaded[Item]]:
    """Yield items with their input, while a thread reads the input of the next item ahead."""

    def load(item: Item) -> _Loaded[Item]:
        return _Loaded(item, read(item))

    with ThreadPoolExecutor(1, thread_name_prefix="softmorph-ahead") as thread:
        loading: deque[Future[_Loaded[Item]]] = deque()
        for item in items:
            loading.append(thread.submit(load, item))
            if len(loading) > 1:
                yield loading.popleft().result()
        if loading:
            yield loading.popleft().result()


class _TileFunction:
    """A picklable function that applies a method of `TileWorker` to an item; a process unpickles this worker once."""

    def __init__(self, run: str, worker: TileWorker, method: Callable[..., Any], read: Read | None) -> None:
        self.run, self.worker, self.method, self.read = run, worker, method, read
        self.wording = named_as_options if in_shell() else nullcontext

    @cached_property
    def packed(self) -> bytes:
        # Not before there is an item: pickling a target lets other processes write to it.
        return pickle.dumps(self.worker)

    def __reduce__(self) -> tuple[Callable[..., _TileFunction], tuple[object, ...]]:
        return _unpacked, (self.run, self.packed, self.method, self.read, self.wording)

    def __call__(self, item: Any) -> Any:
        with self.wording():
            if self.read is None:
                value = self.method(self.worker, item)
            elif isinstance(item, _Loaded):
                value = self.method(self.worker, item.item, item.take())
            else:
                value = self.method(self.worker, item, self.read(self.worker, item))
        trim_heap()
        return value


def _unpacked(
    run: str,
    packed: bytes,
    method: Callable[..., Any],
    read: Read | None,
    wording: Callable[[], AbstractContextManager[None]],
) -> _TileFunction:
    # Messages of another process name parameters as those of this one do.
    with wording():
        return _TileFunction(run, _worker(run, packed), method, read)


@lru_cache(maxsize=1)
def _worker(run: str, packed: bytes) -> TileWorker:
    share_one_heap()
    worker = pickle.loads(packed)
    assert isinstance(worker, TileWorker)
    return worker
