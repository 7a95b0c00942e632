"""Workers of a cluster: other processes here, or other machines that see the same folders."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli.batch.engine import Engine, Sign, Watch
from softmorph_cli.batch.leftovers import clear
from softmorph_cli.batch.plan import Choice, Job
from softmorph_cli.batch.recipe import Recipe
from softmorph_cli.batch.run import MakeEngine
from softmorph_cli.batch.sharing import shares
from softmorph_cli.batch.task import Outcome, Task, run_task
from softmorph_cli.cluster import Cluster, Lost, Stopped, Where, connected, say, stopped
from softmorph_cli.errors import ClusterError, UsageError
from softmorph_cli.filters.filter import Filter
from softmorph_cli.filters.operations import ApplyRule

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress


@contextmanager
def on_cluster(where: Where, choice: Choice, tell: Callable[[str], None]) -> Iterator[MakeEngine]:
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
            return ClusterEngine(cluster, stack.close), note

        yield make


class ClusterEngine:
    """Workers of a cluster.

    Args:
        cluster: It.
        leave: Ends the connection, and a cluster that was started here.
    """

    def __init__(self, cluster: Cluster, leave: Callable[[], None] = lambda: None) -> None:
        """Keep them."""
        self.cluster, self._leave = cluster, leave

    @property
    def workers(self) -> int:
        """How many files at once, for now: more workers may come."""
        return self.cluster.workers

    def outcomes(self, tasks: Iterator[Task], watch: Watch) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task as it comes; see `Engine`."""
        asked: dict[str, Task] = {}
        numbers: dict[str, int] = {}
        free = list(range(self.workers))

        def sent() -> Iterator[Task]:
            for task in tasks:
                asked[task.name] = task
                numbers[task.name] = heapq.heappop(free) if free else len(numbers)
                watch(Sign(numbers[task.name], task.name))
                yield _everywhere(task, self.cluster.memory)

        def heard(task: Task, progress: Any) -> None:
            watch(Sign(numbers[task.name], task.name, progress))

        try:
            with closing(self.cluster.each(_do, sent(), tick=lambda: watch(None), heard=heard)) as done:
                for task, value in done:
                    heapq.heappush(free, numbers.pop(task.name))
                    yield _told(asked.pop(task.name), task, value)
        except ClusterError as error:
            again = "what is done stays done, and the same command with --resume goes on"
            raise ClusterError(f"{str(error).removesuffix('.')}; {again}.") from error
        finally:
            # Before anybody clears up: what did not end in time is ended with its cluster.
            self._leave()


def _do(task: Task) -> Outcome:
    return run_task(task, progress=_go_on)


def _go_on(progress: Progress) -> None:
    if stopped():
        raise Stopped
    say(progress)


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


def _told(task: Task, sent: Task, value: Outcome | Lost) -> Outcome:
    """Return an outcome in the words of whoever asked for it."""
    if isinstance(value, Lost):
        clear([task.target])
        return Outcome(
            task,
            error=f"{task.source}: all {value.deaths} workers that had it died, most likely because memory ran out; "
            "use workers with more memory, or cut out a part with --region.",
        )

    def ours(text: str) -> str:
        text = text.replace(str(sent.source), str(task.source)).replace(str(sent.target), str(task.target))
        # A cluster that is there has no such option.
        return text.replace("use fewer --workers", "use fewer or larger workers")

    return replace(
        value,
        task=task,
        error=None if value.error is None else ours(value.error),
        warnings=tuple(map(ours, value.warnings)),
        notes=tuple(map(ours, value.notes)),
    )
