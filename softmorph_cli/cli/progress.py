"""How far a filter is: a bar on a terminal, one line a minute elsewhere, nothing for what is quick."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress

PATIENCE = 1.0  # seconds before anything is shown on a terminal
MINUTE = 60.0


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Give a callback for `Settings.progress`, or None if nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        bar = _Bar()
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield _Lines()


def _words(progress: Progress) -> str:
    of = f" of {progress.iterations}" if progress.iterations else ""
    part = f", part {progress.part} of {progress.parts}" if progress.parts > 1 else ""
    return f"{progress.operation}: iteration {progress.iteration}{of}{part}, {progress.changed:,} voxels changing"


class _Bar:
    def __init__(self) -> None:
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self.started < PATIENCE:
            return
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            self.bar = RichProgress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.task = self.bar.add_task("", total=None)
            self.bar.start()
        # Until convergence nobody knows how far it is: then only the parts that are done can fill the bar.
        share = progress.iteration - 1 if progress.iterations else 0
        total = progress.parts * (progress.iterations or 1)
        done = (progress.part - 1) * (progress.iterations or 1) + share
        known = progress.iterations is not None or progress.parts > 1
        self.bar.update(
            self.task, description=_words(progress), total=total if known else None, completed=done
        )

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


class _Lines:
    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self.last >= MINUTE:
            self.last = time.monotonic()
            typer.echo(_words(progress), err=True)
