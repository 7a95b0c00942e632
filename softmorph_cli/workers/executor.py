"""The interface of all executors."""

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
    """Takes the place of an item's result where every worker that had the item died.

    Attributes:
        deaths: Number of workers that died.
        status: Exit status of the last one, negative for a signal; None where it is not known.
    """

    deaths: int = 1
    status: int | None = None


class Executor(ABC):
    """Applies a function to items, one at a time on each worker.

    Args:
        workers: Number of workers.

    Attributes:
        in_process: Whether the workers share this process's memory, so that nothing is pickled.
    """

    in_process: ClassVar[bool]

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers

    @property
    def workers(self) -> int:
        """The number of workers at present."""
        return self._workers

    def check_folders(self, read: Sequence[Path], written: Sequence[Path] = ()) -> None:
        """Refuse folders that a worker does not see; workers on this machine see all of them.

        Args:
            read: Folders, or files, that exist.
            written: Folders that exist and will be written to. On a cluster a file is created in each for a moment,
                which distinguishes it from a folder of the same name on another disk.

        Raises:
            ClusterError: If a worker does not see one.
            FileError: If nothing can be written into one of `written`.
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
        """Yield each item with its result as the results come.

        An item is drawn from the iterable when a worker is free for it, not before. When the generator is closed, or
        anything is raised in it, the running items are cancelled (see `raise_if_cancelled`) and waited for.

        Args:
            function: Applied to each item. Outside this process it has to be importable, and items and results have
                to be picklable.
            items: The items.
            tick: Called about once a second while workers are busy; by `Serial` between two items only.
            on_progress: Called with an item and what its worker passes to `send_progress`.

        Raises:
            Exception: What the function raises.
            ClusterError: If a cluster lost its scheduler, or all its workers.
        """
        return self._run(function, iter(items), tick, on_progress)

    @abstractmethod
    def _run(
        self, function: Function, items: Iterator[Any], tick: Tick, on_progress: OnProgress
    ) -> Results: ...
