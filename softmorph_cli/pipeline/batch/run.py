"""A batch: what has to be done, doing it, and writing down what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from softmorph_cli.errors import FileError, SoftmorphError, UsageError
from softmorph_cli.pipeline.batch import earlier_versions, lock, manifest, plan, stale_temporaries, summary
from softmorph_cli.pipeline.batch.engine import Engine, Sign
from softmorph_cli.pipeline.batch.manifest import BEGUN, DONE, FAILED, Manifest, Record
from softmorph_cli.pipeline.batch.plan import Choice, Job
from softmorph_cli.pipeline.batch.recipe import Recipe, fingerprint_of
from softmorph_cli.pipeline.batch.resources import choose
from softmorph_cli.pipeline.batch.task import Outcome, Task
from softmorph_cli.system.files import check_writable

NEW, REDO, SKIP = "new", "redo", "skip"
_NOT_RUN: Final = "not run"
# Results that are finished, and that a batch to go on with does not replace unasked.
_NOT_OURS_TO_REPLACE: Final = {
    manifest.OTHER_PARAMETERS: "made with other parameters",
    manifest.OUTPUT_CHANGED: "changed by something else since a batch wrote it",
}


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        choice: Which files.
        recipe: What is done to them.
        resume: Whether files that are done already are skipped.
        force: Whether results that are there may be replaced.
        fail_fast: Whether the first failure ends the batch.
        workers: How many at once; None to decide.
        parts: Into how many parts the files are split.
        part: Which of them this is, from 0.
    """

    choice: Choice
    recipe: Recipe
    resume: bool = False
    force: bool = False
    fail_fast: bool = False
    workers: int | None = None
    parts: int = 1
    part: int = 0

    @property
    def tag(self) -> str:
        """What stands in the names of this part's own files."""
        return manifest.tag(self.parts, self.part)


@dataclass(frozen=True)
class Item:
    """A file and what happens to it.

    Attributes:
        job: The file.
        action: "new", "redo" or "skip".
        why: Why it is done again, or skipped.
        record: What the manifest says of it.
        ours: Whether the target is a batch's own.
    """

    job: Job
    action: str
    why: str = ""
    record: Record | None = None
    ours: bool = False


class Watcher(Protocol):
    """Whoever shows how far a batch is."""

    def begin(self, files: int, workers: int) -> None:
        """So many files are to be done, by so many workers."""

    def sign(self, sign: Sign | None) -> None:
        """A worker is at something; None: about a second has gone by."""

    def outcome(self, outcome: Outcome) -> None:
        """A file is done, or failed."""

    def note(self, message: str) -> None:
        """Something a person may want to know."""


MakeEngine = Callable[[Sequence[Job], Recipe, int | None], tuple[Engine, str | None]]


def stored_as(recipe: Recipe, target: Path) -> str | None:
    """Return the type that results are stored as.

    Raises:
        UsageError: If a step is wrong, or the type does not go with what the last gives.
    """
    return recipe.outputs(target).stored(recipe.filters)


def all_jobs(order: Order) -> tuple[list[Job], list[Job]]:
    """Return the files of this part, and those of the others.

    Raises:
        SoftmorphError: As `plan.jobs`, or if the steps are wrong.
    """
    stored = stored_as(order.recipe, order.choice.target)
    every = plan.jobs(order.choice, stored)
    from softmorph_cli.io.nnunet import check_reference

    check_reference(order.recipe.reading.like, [job.source for job in every])
    own = plan.part_of(every, order.parts, order.part)
    names = {job.name for job in own}
    return own, [job for job in every if job.name not in names]


def _continued(order: Order, records: Collection[Record]) -> set[str]:
    """Return the fingerprints of earlier batches whose results are those of this one.

    Raises:
        UsageError: If what is done in the folder had other default methods.
    """
    folder = order.choice.target
    wanted = earlier_versions.comparable(order.recipe.told)
    same, done = {order.recipe.fingerprint}, {one.fingerprint for one in records if one.state == DONE}
    for told in manifest.batches(folder):
        mark = fingerprint_of(told)
        if earlier_versions.comparable(told) == wanted:
            same.add(mark)
        elif mark in done and (advice := earlier_versions.advice(order.recipe, told)) is not None:
            raise UsageError(f"{folder} {advice} to continue it, or choose another output folder.")
    return same


def decide(order: Order, jobs: Sequence[Job]) -> list[Item]:
    """Return what happens to each file.

    Raises:
        FileError: If results are there that may not be replaced.
        UsageError: If an earlier batch is resumed that had other default methods.
    """
    folder = order.choice.target
    listed = summary.listed(folder)
    _check_summary(order, ours=bool(listed) or manifest.exists(folder))
    records, ours = manifest.known(folder)
    fingerprints = _continued(order, records.values()) if order.resume else set()
    items = []
    for job in jobs:
        record, below = records.get(job.name), _below(job, folder)
        own = below in ours
        if order.resume and record is not None and record.target == below:
            why = manifest.unchanged(record, job.source, job.target, fingerprints, _reference(order, job))
            items.append(Item(job, SKIP if why is None else REDO, why or "done already", record, own))
            continue
        if not job.target.exists():
            items.append(Item(job, NEW, "", None, own))
            continue
        lost = None if own else _lost(job, below, listed, order.recipe)
        why = (lost or "other input") if order.resume else "exists"
        items.append(Item(job, REDO, why, None, own or lost is not None))
    if not order.force:
        _refuse_existing(order, items)
    return items


def _lost(
    job: Job, below: str, listed: Mapping[tuple[str, ...], summary.Listed], recipe: Recipe
) -> str | None:
    """Return why a result that a summary lists, and no manifest, is made again; None where no summary lists it."""
    parts = Path(below).parts
    for path, found in listed.items():
        if path[-len(parts) :] == parts and job.target.lstat().st_mtime_ns <= found.when:
            same = earlier_versions.comparable(found.parameters) == earlier_versions.comparable(recipe.told)
            return manifest.NOT_LISTED if same else manifest.OTHER_PARAMETERS
    return None


def _check_summary(order: Order, *, ours: bool) -> None:
    """Refuse, before anything is computed, a folder whose summary could not be written in the end.

    Args:
        order: What is asked for.
        ours: Whether a batch has been in the folder.
    """
    folder = order.choice.target
    for path in summary.paths(folder, order.tag) if folder.is_dir() else ():
        if path.is_symlink():
            if not order.force:
                raise FileError(f"{path} is a symbolic link, which is not followed here; remove it.")
        elif path.exists() and not path.is_file():
            raise FileError(
                f"{path} is no file, and the summary takes its name; rename it, or choose another output folder."
            )
        else:
            check_writable(path, force=order.force or ours)


def _reference(order: Order, job: Job) -> Path | None:
    """Return the image of a case where these lie in a folder; None where there is none, which reading says."""
    folder = order.recipe.reading.like
    if folder is None or not Path(folder).is_dir():
        return None
    from softmorph_cli.io.nnunet import image_in

    with suppress(SoftmorphError):
        return image_in(Path(folder), job.source)
    return None


def _below(job: Job, folder: Path) -> str:
    return job.target.relative_to(folder).as_posix()


def _refuse_existing(order: Order, items: Sequence[Item]) -> None:
    folder = order.choice.target
    there = [item for item in items if item.action != SKIP and _is_there(item.job.target)]
    foreign = [item.job.target for item in there if not item.ours]
    if foreign:
        count = f"{len(foreign)} file{'s' if len(foreign) > 1 else ''}"
        raise FileError(
            f"{plan.some(foreign)}: {count} that no batch in {folder} is known to have made, and that would be "
            "replaced; add --force, choose another output folder, or give the results another name with --suffix."
        )
    for why, how in _NOT_OURS_TO_REPLACE.items():
        other = [item.job.target for item in there if item.why == why]
        if other:
            count = f"{len(other)} result{'s were' if len(other) > 1 else ' was'}"
            raise FileError(
                f"{plan.some(other)}: {count} {how}; add --force beside --resume to do that again, or choose another "
                "output folder."
            )
    if there and not order.resume:
        count = f"{len(there)} result{'s are' if len(there) > 1 else ' is'} there already"
        raise FileError(
            f"{plan.some([item.job.target for item in there])}: {count}; add --resume to skip what is done, or "
            "--force to do all again."
        )


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def carry_out(order: Order, watcher: Watcher, engine: MakeEngine = choose) -> summary.Summary:
    """Do all files of an order, and write the summary.

    Args:
        order: What is asked for.
        watcher: Told what happens.
        engine: Makes who does the work.

    Raises:
        SoftmorphError: If anything is refused before the first result; a file that fails is told in the summary.
    """
    jobs, others = all_jobs(order)
    folder = order.choice.target
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder} cannot be made: {error.strerror or error}.") from error
    with lock.held(folder, order.tag):
        items = decide(order, jobs)
        todo = [item for item in items if item.action != SKIP]
        others_targets = [job.target for job in others]
        stale_temporaries.clear([item.job.target for item in todo], others_targets)
        entries = {item.job.name: _begun(item) for item in items}
        if todo:
            chosen, note = engine([item.job for item in todo], order.recipe, order.workers)
            if note:
                watcher.note(note)
            if again := sum(item.why == manifest.NOT_LISTED for item in todo):
                made = "results are" if again > 1 else "result is"
                watcher.note(f"{again} {made} done again, which the summary lists and the manifest does not.")
            watcher.begin(len(todo), chosen.workers)
            path = folder / manifest.name_of(order.parts, order.part)
            try:
                with Manifest(path, order.recipe.told) as book:
                    _do(order, todo, chosen, book, watcher, entries)
            finally:
                stale_temporaries.clear([item.job.target for item in todo], others_targets)
        done = summary.Summary(order.recipe.told, list(entries.values()))
        summary.save(done, folder, order.tag)
    return done


def _begun(item: Item) -> summary.Entry:
    before = item.record.row if item.record is not None and item.action == SKIP else {}
    return summary.Entry(
        input=str(item.job.source),
        output=str(item.job.target),
        status="skipped" if item.action == SKIP else _NOT_RUN,
        row=before,
    )


def _do(
    order: Order,
    items: Sequence[Item],
    engine: Engine,
    book: Manifest,
    watcher: Watcher,
    entries: dict[str, summary.Entry],
) -> None:
    fingerprint, folder = order.recipe.fingerprint, order.choice.target
    seen: dict[str, dict[str, Any]] = {}
    failed = any_done = False

    def tell(outcome: Outcome) -> None:
        nonlocal failed, any_done
        if outcome.wrong_call and not any_done:
            # It would be said of every file.
            raise UsageError(str(outcome.error))
        failed = failed or outcome.error is not None
        any_done = any_done or outcome.error is None
        task = outcome.task
        row = {
            **outcome.row,
            "seconds": round(outcome.seconds, 4),
            "error": outcome.error,
            "warnings": list(outcome.warnings),
        }
        if task.name in seen:
            record = Record(
                task.name,
                task.target.relative_to(folder).as_posix(),
                DONE if outcome.error is None else FAILED,
                identity=seen.pop(task.name),
                fingerprint=fingerprint,
                output_size=outcome.output_size,
                row=row,
            )
            book.write(record)
        entries[task.name] = summary.Entry(
            input=str(task.source),
            output=str(task.target),
            status="done" if outcome.error is None else "failed",
            row=row,
        )
        watcher.outcome(outcome)

    def tasks() -> Iterator[Task]:
        for item in items:
            if failed and order.fail_fast:
                return
            job = item.job
            task = Task(job.name, job.source, job.target, order.recipe, order.force or item.ours)
            if not task.force and _is_there(job.target):
                # It came while the batch ran, so it is not the batch's own.
                tell(Outcome(task, error=f"{job.target} exists already; add --force to replace it."))
                continue
            try:
                seen[job.name] = manifest.identity(job.source, _reference(order, job))
            except OSError as error:
                tell(Outcome(task, error=f"{job.source} cannot be read: {error.strerror or error}."))
                continue
            book.write(Record(job.name, _below(job, folder), BEGUN))
            yield task

    with closing(engine.outcomes(tasks(), watcher.sign)) as outcomes:
        for ended in outcomes:
            tell(ended)


def summarize(order: Order) -> summary.Summary:
    """Merge what all parts have written down, and write the summary of the whole.

    Raises:
        FileError: If there is no manifest.
        UsageError: If one part is named.
    """
    folder = order.choice.target
    if order.parts > 1:
        raise UsageError("--summarize merges all parts: leave out --num-parts and --part-id.")
    records, _ = manifest.known(folder)
    if not records:
        raise FileError(f"{folder} holds no manifest of a batch; run the batch, or name its output folder.")
    entries = {
        name: summary.Entry(
            input=str(order.choice.source / name),
            output=str(folder / record.target),
            status={DONE: "done", FAILED: "failed"}.get(record.state, "not finished"),
            row=record.row,
        )
        for name, record in records.items()
    }
    if order.choice.source.is_dir():
        for job in plan.jobs(order.choice, None):
            entries.setdefault(job.name, summary.Entry(str(job.source), str(job.target), _NOT_RUN, {}))
    told = order.recipe.told if order.recipe.filters else {}
    done = summary.Summary(told, [entries[name] for name in sorted(entries)])
    summary.save(done, folder, "")
    return done
