"""Workers of a cluster: other processes here, or other machines that see the same folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Filter
from softmorph_cli.filters.operations import ApplyRule
from softmorph_cli.pipeline.batch.engine import Engine
from softmorph_cli.pipeline.batch.plan import Choice, Job
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.resources import shares
from softmorph_cli.pipeline.batch.run import MakeEngine
from softmorph_cli.pipeline.batch.task import Outcome, Task
from softmorph_cli.workers import Lost
from softmorph_cli.workers.cluster import Cluster, ClusterOptions, connected


@contextmanager
def on_cluster(where: ClusterOptions, choice: Choice, tell: Callable[[str], None]) -> Iterator[MakeEngine]:
    """Give what makes an engine of a cluster's workers, as `carry_out` takes it.

    The cluster is asked for, or started, when there is something to do.

    Args:
        where: Which cluster.
        choice: Which files: every worker has to see their folders.
        tell: Called with what a person may want to know while it takes long.
    """
    with ExitStack() as stack:

        def make(jobs: Sequence[Job], recipe: Recipe, workers: int | None) -> tuple[Engine, str | None]:
            note = None
            if where.scheduler is not None:
                entered = connected(where, tell=tell)
            else:
                if recipe.settings.device.startswith("cuda"):
                    raise UsageError(
                        "--local-cluster is for the CPU, whose cores its processes share: leave out "
                        f"--local-cluster to use --device {recipe.settings.device}, or add --device cpu."
                    )
                own = shares(jobs, recipe, workers)
                note = own.note
                here = replace(where, workers=own.workers)
                entered = connected(here, memory=own.memory, threads=own.threads, tell=tell)
            cluster = stack.enter_context(entered)
            # A file of it: on a machine where its disk is not mounted, the folder may be there and empty.
            read = [choice.source, *(job.source for job in jobs[:1]), *_files(recipe)]
            cluster.check_folders(read, [choice.target])
            return cluster_engine(cluster, stack.close), note

        yield make


def cluster_engine(cluster: Cluster, leave: Callable[[], None] = lambda: None) -> Engine:
    """Return the workers of a cluster.

    Args:
        cluster: It.
        leave: Ends the connection, and a cluster that was started here.
    """
    return Engine(
        cluster,
        _died,
        sent=lambda task: _everywhere(task, cluster.memory),
        received=_in_terms_of,
        leave=leave,
    )


def _died(task: Task, lost: Lost) -> str:
    return (
        f"{task.source}: all {lost.deaths} workers that had it died, most likely because memory ran out; "
        "use workers with more memory, or cut out a part with --region."
    )


def _everywhere(task: Task, memory: int | None) -> Task:
    """Return a task as any worker understands it."""
    return replace(
        task,
        source=task.source.absolute(),
        target=task.target.absolute(),
        recipe=_absolute(task.recipe),
        # That nothing is replaced was seen to just now. A worker that died may have finished the file before, and
        # the next must not stumble over it.
        force=True,
        # A worker knows its own; some may have more than others.
        threads=None,
        memory=memory,
    )


def _absolute(recipe: Recipe) -> Recipe:
    """Return a recipe whose files are found from any working folder."""
    filters = tuple(
        replace(one, rule=str(Path(str(one.rule)).absolute()))
        if isinstance(one, ApplyRule) and _rule_file(one)
        else one
        for one in recipe.filters
    )
    return replace(recipe, filters=filters, reading=recipe.reading.absolute())


def _files(recipe: Recipe) -> list[Path]:
    """Return the files that are read for every input."""
    return [*recipe.reading.files, *filter(None, map(_rule_file, recipe.filters))]


def _rule_file(chosen: Filter) -> Path | None:
    from softmorph_cli.rules.rulefile import named_file

    return named_file(chosen.rule) if isinstance(chosen, ApplyRule) and isinstance(chosen.rule, str) else None


def _in_terms_of(task: Task, sent: Task, outcome: Outcome) -> Outcome:
    """Return an outcome with the paths of the task that was asked for."""

    def ours(text: str) -> str:
        text = text.replace(str(sent.source), str(task.source)).replace(str(sent.target), str(task.target))
        # A cluster that is there has no such option.
        return text.replace("use fewer --workers", "use fewer or larger workers")

    return replace(
        outcome,
        task=task,
        error=None if outcome.error is None else ours(outcome.error),
        warnings=tuple(map(ours, outcome.warnings)),
        notes=tuple(map(ours, outcome.notes)),
    )
