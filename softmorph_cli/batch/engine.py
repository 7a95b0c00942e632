"""Who does the work: the one interface of all engines."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from softmorph_cli.batch.task import Outcome, Task

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress


@dataclass(frozen=True)
class Sign:
    """What a worker is at.

    Attributes:
        worker: Its number, from 0.
        name: The file.
        progress: How far the step under way is; None while it reads or writes.
    """

    worker: int
    name: str
    progress: Progress | None = None


# Called with what a worker is at, and with None about once a second, so that something can be shown.
Watch = Callable[[Sign | None], None]


class Engine(Protocol):
    """Does tasks, several at once.

    Attributes:
        workers: How many at once.
    """

    @property
    def workers(self) -> int: ...  # noqa: D102

    def outcomes(self, tasks: Iterator[Task], watch: Watch) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task as it comes.

        A task is taken from the iterator when a worker is free for it, never long before. When the generator is
        closed, or anything is raised in it, everything under way ends and no half-written file is left.

        Args:
            tasks: The work.
            watch: Told what the workers are at.
        """
        ...
