"""The interface of all executors, and the value that stands for the result of an item whose workers died."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")
Function = Callable[[Any], Any]
Tick = Callable[[], None]
OnProgress = Callable[[Any, Any], None]
Results = Generator[tuple[Any, Any], None, None]


@dataclass(frozen=True)
class Lost:
    """A placeholder for the result of an item, where every worker that ran this item died.

    Attributes:
        deaths: Number of workers that died while they ran the item.
        status: Exit status of the last worker that died, negative for a signal; None where this status is not known.
    """

    deaths: int = 1
    status: int | None = None


class Executor(ABC):
    """An executor applies a function to items, one item at a time on each worker (a thread, process or machine).

    Args:
        workers: Number of workers.

    Attributes:
        in_process: Whether the workers share the memory of this process, so that items and results are not pickled.
    """

    in_process: ClassVar[bool]

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers

    @property
    def workers(self) -> int:
        """The current number of workers."""
        return self._workers

    def check_folders(self, read: Sequence[Path], written: Sequence[Path] = ()) -> None:
        """Raise an error if a worker cannot access a folder; workers on this machine can access every folder.

        Args:
            read: Existing folders or files that the workers read.
            written: Existing folders that the workers write to. On a cluster a temporary file is created in each
                folder, so that a folder of the same name on another disk is not mistaken for it.

        Raises:
            ClusterError: If a worker cannot access one of the folders or files.
            FileError: If no file can be created in one of the folders `written`.
        """
        return

    def map_unordered(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        tick: Tick = lambda: None,
        on_progress: Callable[[Item, Any], None] = lambda item, value: None,
    ) -> Generator[tuple[Item, Value | Lost], None, None]:
        """Yield pairs of an item and the result of `function`, in the order in which the results arrive.

        Items are drawn from the iterable lazily: only when a worker is free. When the generator is closed, or an
        exception is raised in it, the running items are cancelled (`raise_if_cancelled` then raises in their workers)
        and the generator waits until they have ended.

        Args:
            function: The function that is applied to each item. Where the workers are other processes, the function
                has to be importable, and items and results have to be picklable.
            items: The items.
            tick: A callback that is called about once a second while workers are busy; by `Serial` only between items.
            on_progress: A callback that is called with an item and each value that its worker passes to
                `send_progress`.

        Raises:
            Exception: Any exception that the function raises.
            ClusterError: If a cluster lost its scheduler, or all its workers.
        """
        return self._run(function, iter(items), tick, on_progress)

    @abstractmethod
    def _run(
        self, function: Function, items: Iterator[Any], tick: Tick, on_progress: OnProgress
    ) -> Results: ...
