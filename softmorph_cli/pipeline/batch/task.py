"""The processing of one file of a batch: a picklable task, and the function that carries it out."""

from __future__ import annotations

import math
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli.errors import SoftmorphError, SoftmorphWarning, UsageError
from softmorph_cli.io.options import VALUES, Option, ReadOptions
from softmorph_cli.metrics import volume_columns
from softmorph_cli.pipeline.batch import measured_files
from softmorph_cli.pipeline.batch.plan import FileJob
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.system.files import make_folder
from softmorph_cli.system.parameters import declared, named_as_options
from softmorph_cli.system.printable import typed

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress
    from softmorph_cli.metrics.statistics import Statistics
    from softmorph_cli.pipeline.process import Processed

Row = dict[str, Any]

# The options that say what the numbers of a file mean.
_VALUES = [
    f"--{name.replace('_', '-')}"
    for name, one in declared(ReadOptions).items()
    if isinstance(one.about, Option) and one.about.about == VALUES
]


@dataclass(frozen=True)
class FileTask(FileJob):
    """A task of a batch: an input file with all data that a worker needs to process it. It can be pickled.

    Attributes:
        recipe: The steps and options that are applied to the file.
        force: Whether an existing result may be replaced.
        threads: Number of CPU threads if the recipe sets none; None for what the machine allows.
        memory: Bytes of memory that may be used; None for what the machine allows.
        kept: The file in which what was measured is kept; None if nothing is.
        preview: The picture of input and result; None for none.
    """

    recipe: Recipe
    force: bool = False
    threads: int | None = None
    memory: int | None = None
    kept: Path | None = None
    preview: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task. It can be pickled.

    Attributes:
        task: The task.
        error: The reason why the task failed, in one sentence; None if the result was written as requested.
        row: The file's entry in the summary.
        output_size: Size of the result in bytes; None if the task failed.
        seconds: Run time of the task.
        warnings: Warnings for the user.
        notes: Notes for the user.
        traceback: The error's traceback, for `--verbose`; "" if the task succeeded.
        wrong_call: Whether the command itself is wrong, so that every file would fail.
    """

    task: FileTask
    error: str | None = None
    row: Row = field(default_factory=dict)
    output_size: int | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    traceback: str = ""
    wrong_call: bool = False


# Messages name command-line options, also where they are made in another thread or process.
@named_as_options()
def run_task(
    task: FileTask,
    *,
    progress: Callable[[Progress], None] | None = None,
    computing: AbstractContextManager[Any] | None = None,
) -> Outcome:
    """Read a file, run the steps and write the result; errors become part of the outcome.

    Args:
        task: The task.
        progress: A callback that is called after every sub-iteration. If it raises a BaseException that is no
            Exception, such as `Cancelled`, this ends the task and is raised.
        computing: A lock that is held while a step runs; None if no other task runs in this process.
    """
    started = time.perf_counter()
    notes: list[str] = []
    try:
        processed, caught = _run(task, progress, computing, notes.append)
        size = size_of(task.target)
    except Exception as error:
        return Outcome(
            task,
            error=_sentence(error, task),
            seconds=time.perf_counter() - started,
            notes=tuple(notes),
            traceback=traceback.format_exc(),
            wrong_call=isinstance(error, UsageError),
        )
    # A result that fell short is written; the file counts as failed, and its row says both.
    short = {} if processed.shortfall is None else {"not_reached": True}
    return Outcome(
        task,
        error=None if processed.shortfall is None else _named(processed.shortfall, task),
        row=_row(processed) | short,
        output_size=size,
        seconds=time.perf_counter() - started,
        warnings=tuple(dict.fromkeys((*processed.warnings, *caught))),
        notes=(*notes, *processed.notes),
    )


def _run(
    task: FileTask,
    progress: Callable[[Progress], None] | None,
    computing: AbstractContextManager[Any] | None,
    tell: Callable[[str], None],
) -> tuple[Processed, list[str]]:
    from softmorph_cli.pipeline.process import process

    recipe = task.recipe
    if recipe.settings.threads is None and task.threads is not None:
        recipe = recipe.on_threads(task.threads)
    for path in (task.target, task.preview):
        if path is not None:
            make_folder(path.parent, parents=True)
    with _caught(alone=computing is None) as caught:
        processed = process(
            "batch",
            task.source,
            task.target,
            recipe.filters,
            replace(recipe.writing, force=task.force, preview=task.preview),
            reading=recipe.reading,
            progress=progress,
            tell=tell,
            computing=computing,
            memory=task.memory,
            thumbnails=recipe.thumbnails,
        )
        if task.kept is not None:
            measured_files.save(task.kept, processed, recipe)
    return processed, [str(one.message) for one in caught if issubclass(one.category, SoftmorphWarning)]


@contextmanager
def _caught(*, alone: bool) -> Iterator[list[warnings.WarningMessage]]:
    # Warning filters are shared by all threads of a process.
    if not alone:
        yield []
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SoftmorphWarning)
        yield caught


def _sentence(error: Exception, task: FileTask) -> str:
    if isinstance(error, MemoryError):
        message = "out of memory: use fewer --workers, or cut out a part with --region."
    elif isinstance(error, SoftmorphError):
        message = str(error)
    elif isinstance(error, OSError):
        message = f"the system refused: {error}."
    else:
        message = f"{type(error).__name__}: {error} (a bug in softmorph: please report it with --verbose)."
    message = " ".join(message.split())
    if any(flag in message for flag in _VALUES):
        message = (
            f"{message.removesuffix('.')}; a batch reads all its files with the same options: where others need none, "
            f"run those like this one apart, with --glob {typed(escape(task.source.name))} and that option."
        )
    return _named(message, task)


def _named(message: str, task: FileTask) -> str:
    known = any(str(path) in message for path in (task.source, task.target))
    return message if known else f"{task.source}: {message}"


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files in a store together, in bytes.

    Raises:
        OSError: If the file does not exist.
    """
    if not path.is_dir():
        return path.stat().st_size
    return sum(Path(parent, name).stat().st_size for parent, _, names in os.walk(path) for name in names)


def _row(processed: Processed) -> Row:
    document = processed.document
    return {
        "shape": document["input"]["shape"],
        "axes": document["input"]["axes"],
        "output_shape": document["output"]["shape"],
        "iterations": [step["iterations"] for step in document["steps"]],
        "stop_reasons": [step["stop_reason"] for step in document["steps"]],
        "device": document["device"],
        **_invented(processed.invented),
        **{
            f"seconds_{name}": round(value, 4)
            for name, value in document["seconds"].items()
            if name != "total"
        },
        "before": _figures(processed.before),
        "after": _figures(processed.after),
    }


def _invented(steps: Sequence[Row]) -> Row:
    """Return how many slices the steps have invented, and the figures of the poorest fit; nothing without a step."""
    if not steps:
        return {}
    poorest = min(steps, key=lambda one: one.get("prior_agreement", math.inf))
    return {**poorest, "invented_slices": sum(one["invented_slices"] for one in steps)}


def _figures(found: Statistics) -> dict[str, Any]:
    return {
        **volume_columns.of(found),
        "voxels_above_half": found.voxels_above_half,
        "components_above_half": found.components_above_half,
        "connectivity": found.connectivity,
        "max": found.max,
    }
