"""Progress of a filter: a bar on a terminal, one line a minute elsewhere, nothing of short runs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli.system.printable import printable

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress

PATIENCE = 1.0  # seconds before anything is shown on a terminal
MINUTE = 60.0


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Bar | Lines | None]:
    """Give a callback for `Settings.progress`, or None if nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        bar = Bar()
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield Lines()


def bar(*after: Any, before: Sequence[Any] = ()) -> Any:
    """Return rich's progress on stderr: the given columns before and after words and a bar."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    words = TextColumn("{task.description}", markup=False)
    console = Console(stderr=True)
    return Progress(*before, words, BarColumn(bar_width=24), *after, console=console, transient=True)


def share(progress: Progress) -> tuple[int, int | None]:
    """Return how much of how much is done; None where a filter runs until it is stable, in one part."""
    each = progress.iterations or 1
    begun = progress.iteration - 1 if progress.iterations else 0
    known = progress.iterations is not None or progress.parts > 1
    return (progress.part - 1) * each + begun, progress.parts * each if known else None


def iteration(progress: Progress) -> str:
    """Return "close: iteration 2 of 5"."""
    of = f" of {progress.iterations}" if progress.iterations else ""
    return f"{progress.operation}: iteration {progress.iteration}{of}"


def _words(progress: Progress) -> str:
    part = f", part {progress.part} of {progress.parts}" if progress.parts > 1 else ""
    changing = "" if progress.changed is None else f", {progress.changed:,} voxels changing"
    return f"{iteration(progress)}{part}{changing}"


class Bar:
    """A progress bar on a terminal, which is shown for work of more than a second."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None
        self.timer: threading.Timer | None = None
        # The timer's thread and the working thread share one bar.
        self.lock = threading.Lock()
        self.stages: tuple[str, int, int] | None = None

    def __call__(self, progress: Progress) -> None:
        """Show the progress of a filter."""
        if self.stages is not None:
            name, done, total = self.stages
            self._show(_words(replace(progress, operation=name)), done, total)
            return
        self._show(_words(progress), *share(progress))

    def stage(self, name: str, done: int, total: int) -> None:
        """Show the name of the stage that begins, and how many stages of the total are done."""
        self.stages = name, done, total
        self._show(name, done, total)
        if self.bar is None and self.timer is None:
            # A part may be a single call without progress.
            self.timer = threading.Timer(PATIENCE, lambda: self.stage(*(self.stages or (name, done, total))))
            self.timer.daemon = True
            self.timer.start()

    def update(self, words: str, done: int, total: int) -> None:
        """Show the progress of work: `words`, which contain the numbers, and a bar of `done` of `total`."""
        self._show(words, done, total)

    def _show(self, words: str, done: int, total: int | None) -> None:
        if time.monotonic() - self.started < PATIENCE:
            return
        with self.lock:
            if self.bar is None:
                self._start()
            self.bar.update(self.task, description=printable(words), total=total, completed=done)

    def _start(self) -> None:
        from rich.progress import SpinnerColumn, TimeElapsedColumn

        self.bar = bar(TimeElapsedColumn(), before=[SpinnerColumn()])
        self.task = self.bar.add_task("", total=None)
        self.bar.start()

    def close(self) -> None:
        """Remove the progress bar."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer.join()
        if self.bar is not None:
            self.bar.stop()


class Lines:
    """Progress as a line of text a minute, for output to no terminal."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Print the progress of a filter."""
        self.update(_words(progress))

    def stage(self, name: str, done: int, total: int) -> None:
        """Print the name of the stage that begins, and its number among all stages."""
        self.update(f"{name} ({done + 1} of {total})")

    def update(self, words: str, done: int = 0, total: int = 0) -> None:
        """Print the progress of work as `words`, which contain the numbers."""
        if time.monotonic() - self.last >= MINUTE:
            self.last = time.monotonic()
            typer.echo(printable(words), err=True)
