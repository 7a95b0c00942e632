"""The engine that runs a batch on the workers of a cluster, which all have to access the same folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Filter
from softmorph_cli.filters.operations.rules import ApplyRule
from softmorph_cli.pipeline.batch.engine import Engine
from softmorph_cli.pipeline.batch.plan import FileJob, FileSelection
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.resources import shares
from softmorph_cli.pipeline.batch.run import MakeEngine
from softmorph_cli.pipeline.batch.task import FileTask, Outcome
from softmorph_cli.pipeline.steps.repairing import Repair
from softmorph_cli.workers import Lost
from softmorph_cli.workers.cluster import Cluster, ClusterOptions, connected


@contextmanager
def on_cluster(
    options: ClusterOptions, selection: FileSelection, tell: Callable[[str], None]
) -> Iterator[MakeEngine]:
    """Yield a function that makes the engine for a cluster, for the argument `engine` of `carry_out`.

    The function connects to the cluster, or starts a cluster, when there are files to process, and checks that every
    worker can access the folders. The connection ends with the block.

    Args:
        options: The choice of the cluster.
        selection: The input folder, the output folder and the choice of files.
        tell: A callback that is called with notes for the user.
    """
    with ExitStack() as stack:

        def make(jobs: Sequence[FileJob], recipe: Recipe, workers: int | None) -> tuple[Engine, str | None]:
            note = None
            if options.scheduler is not None:
                entered = connected(options, tell=tell)
            else:
                if recipe.settings.device.startswith("cuda"):
                    raise UsageError(
                        "--local-cluster is for the CPU, whose cores its processes share: leave out "
                        f"--local-cluster to use --device {recipe.settings.device}, or add --device cpu."
                    )
                own = shares(jobs, recipe, workers)
                note = own.note
                here = replace(options, workers=own.workers)
                entered = connected(here, memory=own.memory, threads=own.threads, tell=tell)
            cluster = stack.enter_context(entered)
            # With one file of the folder: where its disk is not mounted, the folder may exist and be empty.
            read = [selection.source, *(job.source for job in jobs[:1]), *_files(recipe)]
            cluster.check_folders(read, [selection.target])
            return cluster_engine(cluster, stack.close), note

        yield make


def cluster_engine(cluster: Cluster, leave: Callable[[], None] = lambda: None) -> Engine:
    """Return an engine that runs tasks on the workers of a cluster; `leave` is called when all tasks have ended."""
    return Engine(
        cluster,
        _died,
        sent=lambda task: _for_any_machine(task, cluster.memory),
        received=_with_typed_paths,
        leave=leave,
    )


def _died(task: FileTask, lost: Lost) -> str:
    return (
        f"{task.source}: all {lost.deaths} workers that had it died, most likely because memory ran out; "
        "use workers with more memory, or cut out a part with --region."
    )


def _for_any_machine(task: FileTask, memory: int | None) -> FileTask:
    """Return a task that does not depend on the working directory and the resources of this process."""
    return replace(
        task,
        source=task.source.absolute(),
        target=task.target.absolute(),
        kept=None if task.kept is None else task.kept.absolute(),
        preview=None if task.preview is None else task.preview.absolute(),
        recipe=_absolute(task.recipe),
        # The target was checked when the task was made. A worker that died may have written it before, and the next
        # one has to replace it.
        force=True,
        # Each worker uses its own threads.
        threads=None,
        memory=memory,
    )


def _absolute(recipe: Recipe) -> Recipe:
    """Return a recipe in which the paths of rule files and of files for reading are absolute."""
    filters = tuple(
        replace(one, rule=str(Path(str(one.rule)).absolute()))
        if isinstance(one, ApplyRule) and _rule_file(one)
        else replace(one, priors=one.priors.absolute())
        if isinstance(one, Repair) and one.priors is not None
        else one
        for one in recipe.filters
    )
    return replace(recipe, filters=filters, reading=recipe.reading.absolute())


def _files(recipe: Recipe) -> list[Path]:
    """Return the files that are read for every input: files for the options of reading, and rule files."""
    return [*recipe.reading.files, *filter(None, map(_rule_file, recipe.filters))]


def _rule_file(chosen: Filter) -> Path | None:
    from softmorph_cli.rules.rulefile import named_file

    return named_file(chosen.rule) if isinstance(chosen, ApplyRule) and isinstance(chosen.rule, str) else None


def _with_typed_paths(task: FileTask, sent: FileTask, outcome: Outcome) -> Outcome:
    """Return an outcome whose messages contain the paths that the user typed, not the absolute paths that were sent."""

    def typed(text: str) -> str:
        text = text.replace(str(sent.source), str(task.source)).replace(str(sent.target), str(task.target))
        # That option is for workers of this machine only.
        return text.replace("use fewer --workers", "use fewer or larger workers")

    return replace(
        outcome,
        task=task,
        error=None if outcome.error is None else typed(outcome.error),
        warnings=tuple(map(typed, outcome.warnings)),
        notes=tuple(map(typed, outcome.notes)),
    )
