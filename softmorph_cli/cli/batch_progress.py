"""Progress of a batch: on a terminal a bar of the files and one for each worker, elsewhere a line a minute."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli.cli import report
from softmorph_cli.cli.command import complain, note, warn
from softmorph_cli.cli.progress import MINUTE, bar, iteration, share
from softmorph_cli.system.printable import printable

if TYPE_CHECKING:
    from softmorph_cli.pipeline.batch.engine import WorkerStatus
    from softmorph_cli.pipeline.batch.task import Outcome

_NAME_WIDTH = 32


# What `softmorph batch` says after an interruption, and where it lists all warnings.
_INTERRUPTED = "what is done stays done: the same command with --resume goes on."
_LISTED = "the JSON summary lists them"


@contextmanager
def watching(
    *, quiet: bool, verbose: bool, interrupted: str = _INTERRUPTED, listed: str = _LISTED
) -> Iterator[BatchProgress]:
    """Yield the progress of a batch, closed at the end.

    Args:
        quiet: Whether bars are omitted.
        verbose: Whether notes and tracebacks are added.
        interrupted: The note after an interruption.
        listed: Where the warnings are that are not printed.
    """
    progress = BatchProgress(quiet=quiet, verbose=verbose, listed=listed)
    try:
        yield progress
    except Exception:
        raise
    except BaseException:  # interrupted or terminated
        progress.close()
        progress.note(interrupted)
        raise
    finally:
        progress.close()


class BatchProgress:
    """The output of a batch on stderr: progress, warnings and errors."""

    def __init__(self, *, quiet: bool, verbose: bool, listed: str = _LISTED) -> None:
        self.quiet, self.verbose, self.listed = quiet, verbose, listed
        self.files = self.done = self.failed = 0
        self.started = self.last = time.monotonic()
        self.bars: _Bars | None = None
        self.repeats: Counter[str] = Counter()
        # Of each kind the first, as it is and without the names of files.
        self.first_warning: dict[str, tuple[str, str]] = {}
        self.with_other_numbers: Counter[str] = Counter()

    def begin(self, files: int, workers: int) -> None:
        """Start the progress bars for a number of files and workers."""
        self.files, self.started = files, time.monotonic()
        if not self.quiet and sys.stderr.isatty():
            self.bars = _Bars(files, workers)

    def sign(self, sign: WorkerStatus | None) -> None:
        """Show the progress of a worker; None, which comes about once a second, only triggers the line a minute."""
        if self.bars is not None and sign is not None:
            self.bars.sign(sign)
        elif self.bars is None and not self.quiet and time.monotonic() - self.last >= MINUTE:
            self.last = time.monotonic()
            typer.echo(self._line(), err=True)

    def outcome(self, outcome: Outcome) -> None:
        """Count a file that has been processed or has failed, and print its error and warnings."""
        task = outcome.task
        if outcome.traceback and self.verbose:
            report.echo(outcome.traceback, err=True)
        if outcome.error is not None:
            complain(outcome.error)
        notes = list(outcome.notes)
        if outcome.error is None:
            notes.append(f"→ {task.target} in {outcome.seconds:.2f} s")
        self.ended(
            task.source,
            failed=outcome.error is not None,
            notes=notes,
            warnings=outcome.warnings,
            target=task.target,
        )

    def ended(
        self,
        source: Path,
        *,
        failed: bool = False,
        notes: Sequence[str] = (),
        warnings: Sequence[str] = (),
        target: Path | None = None,
    ) -> None:
        """Count a file whose error has been printed, or that has been processed; print its notes and warnings."""
        self.done += 1
        self.failed += failed
        if self.verbose:
            for message in notes:
                note(f"{source} {message}" if message.startswith("→") else f"{source}: {message}")
        for message in warnings:
            plain = message.replace(str(source), "IN")
            if target is not None:
                plain = plain.replace(str(target), "OUT")
            # Warnings that differ in numbers only are printed once.
            general = re.sub(r"\d[\d.,]*", "N", plain)
            self.repeats[general] += 1
            if self.repeats[general] == 1:
                self.first_warning[general] = (message, plain)
                warn(message if str(source) in message else f"{source}: {message}")
            elif plain != self.first_warning[general][1]:
                self.with_other_numbers[general] += 1
        if self.bars is not None:
            self.bars.advance(self.failed)

    def note(self, message: str) -> None:
        """Print a note on stderr."""
        if not self.quiet:
            note(message)

    def close(self) -> None:
        """Remove the progress bars, and print how often warnings were repeated."""
        if self.bars is not None:
            self.bars.close()
            self.bars = None
        for general, count in self.repeats.items():
            if count > 1:
                files = f"{count - 1} more file{'s' if count > 2 else ''}"
                other = self.with_other_numbers[general]
                differ = f" ({other} with other numbers; {self.listed})" if other else ""
                warn(f"{files} with this warning{differ}: {self.first_warning[general][0]}")
        self.repeats.clear()
        self.with_other_numbers.clear()

    def _line(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        left = ""
        if self.done:
            seconds = (time.monotonic() - self.started) / self.done * (self.files - self.done)
            left = f"; about {_duration(seconds)} left"
        return f"{self.done} of {self.files} files{failed}{left}"


class _Bars:
    """The progress bars of a batch on a terminal."""

    def __init__(self, files: int, workers: int) -> None:
        from rich.progress import TimeElapsedColumn, TimeRemainingColumn

        self.bar = bar(TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))
        self.files, self.done = files, 0
        self.whole = self.bar.add_task(f"0 of {files} files", total=files)
        self.workers: list[Any] = []
        self._make_room(workers)
        self.bar.start()

    def _make_room(self, workers: int) -> None:
        self.workers += [
            self.bar.add_task("", total=None, visible=False) for _ in range(len(self.workers), workers)
        ]

    def sign(self, sign: WorkerStatus) -> None:
        self._make_room(sign.worker + 1)  # workers may join a cluster
        task = self.workers[sign.worker]
        if sign.progress is None:
            self.bar.reset(task, description=_short(sign.name), total=None, visible=True)
            return
        done, total = share(sign.progress)
        words = f"{_short(sign.name)} {iteration(sign.progress)}"
        self.bar.update(task, description=words, total=total, completed=done, visible=True)

    def advance(self, failed: int) -> None:
        self.done += 1
        words = f"{self.done} of {self.files} files" + (f", {failed} failed" if failed else "")
        self.bar.update(self.whole, description=words, completed=self.done)

    def close(self) -> None:
        self.bar.stop()


def _short(name: str) -> str:
    shown = name if len(name) <= _NAME_WIDTH else "…" + name[1 - _NAME_WIDTH :]
    return printable(shown)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
