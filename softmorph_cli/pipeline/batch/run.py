"""`carry_out` runs a batch: it decides which files are processed, processes them, and writes manifest and summary."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from softmorph_cli.errors import FileError, SoftmorphError, UsageError
from softmorph_cli.pipeline.batch import (
    all_files,
    earlier_versions,
    lock,
    manifest,
    measured_files,
    plan,
    stale_temporaries,
    summary,
)
from softmorph_cli.pipeline.batch.differences import differences
from softmorph_cli.pipeline.batch.engine import Engine, WorkerStatus
from softmorph_cli.pipeline.batch.manifest import BEGUN, DONE, FAILED, BatchManifest, Record
from softmorph_cli.pipeline.batch.plan import FileJob
from softmorph_cli.pipeline.batch.recipe import Recipe, fingerprint_of
from softmorph_cli.pipeline.batch.request import BatchRequest
from softmorph_cli.pipeline.batch.resources import choose
from softmorph_cli.pipeline.batch.task import FileTask, Outcome
from softmorph_cli.pipeline.result_files import stored_type
from softmorph_cli.system.files import check_writable, make_folder
from softmorph_cli.system.printable import typed

NEW, REDO, SKIP = "new", "redo", "skip"
# Complete results that `--resume` alone does not replace.
_KEPT_WITHOUT_FORCE: Final = {
    manifest.OTHER_PARAMETERS: "made with other parameters",
    manifest.OUTPUT_CHANGED: "changed by something else since a batch wrote it",
}


@dataclass(frozen=True)
class PlannedFile:
    """An input file of a batch, with the decision whether it is processed.

    Attributes:
        job: The input file and the path of the result.
        action: The decision: "new" (process), "redo" (process again) or "skip".
        why: The reason why the file is processed again or skipped, in a few words.
        record: The last record of the file in the manifests; None if there is none.
        ours: Whether a batch is known to have written the existing result.
        made_with: The parameters that the existing result was made with; None if no file says it.
    """

    job: FileJob
    action: str
    why: str = ""
    record: Record | None = None
    ours: bool = False
    made_with: Mapping[str, Any] | None = None


class Watcher(Protocol):
    """A watcher shows the progress of a batch to the user."""

    def begin(self, files: int, workers: int) -> None:
        """Receive the numbers of files to process and of workers, when the batch begins."""

    def sign(self, sign: WorkerStatus | None) -> None:
        """Receive the status of a worker when it changes, and None about once a second."""

    def outcome(self, outcome: Outcome) -> None:
        """Receive the outcome of a file when the file is done or has failed."""

    def note(self, message: str) -> None:
        """Receive a note for the user."""


MakeEngine = Callable[[Sequence[FileJob], Recipe, int | None], tuple[Engine, str | None]]


def all_jobs(batch: BatchRequest) -> tuple[list[FileJob], list[FileJob]]:
    """Return the jobs of this part of the batch, and the jobs of all other parts.

    Raises:
        SoftmorphError: If the folders, names or formats are not suitable (`plan.jobs`), or the output type does not
            suit the values.
    """
    stored = stored_type(batch.recipe.filters, batch.selection.target, batch.recipe.writing)
    every = plan.jobs(batch.selection, stored)
    from softmorph_cli.io.nnunet import check_reference

    check_reference(batch.recipe.reading.like, [job.source for job in every])
    own = plan.part_of(every, batch.parts, batch.part)
    names = {job.name for job in own}
    return own, [job for job in every if job.name not in names]


def _continued(batch: BatchRequest, records: Collection[Record]) -> set[str]:
    """Return the fingerprints of all parameters in the manifests that give the same results as this batch.

    Raises:
        UsageError: If results in the output folder were made by a version with other default methods.
    """
    folder = batch.selection.target
    wanted = earlier_versions.comparable(batch.recipe.parameters)
    same, done = {batch.recipe.fingerprint}, {one.fingerprint for one in records if one.state == DONE}
    for parameters in manifest.batches(folder):
        fingerprint = fingerprint_of(parameters)
        if earlier_versions.comparable(parameters) == wanted:
            same.add(fingerprint)
        elif (
            fingerprint in done and (advice := earlier_versions.advice(batch.recipe, parameters)) is not None
        ):
            raise UsageError(f"{folder} {advice} to continue it, or choose another output folder.")
    return same


def decide(batch: BatchRequest, jobs: Sequence[FileJob]) -> list[PlannedFile]:
    """Decide for each file whether it is processed, processed again or skipped, and return the decisions.

    Raises:
        FileError: If results exist that may not be replaced.
        UsageError: If the batch that is resumed was run by a version with other default methods.
    """
    folder = batch.selection.target
    listed = summary.listed(folder)
    _check_summary(batch, ours=bool(listed) or manifest.exists(folder))
    records, ours = manifest.known(folder)
    fingerprints = _continued(batch, records.values()) if batch.resume else set()
    recipes = {fingerprint_of(one): one for one in manifest.batches(folder)} if batch.resume else {}
    items = []
    for job in jobs:
        record, below = records.get(job.name), _below(job, folder)
        own = below in ours
        if batch.resume and record is not None and record.target == below:
            why = manifest.unchanged(record, job.source, job.target, fingerprints, _reference(batch, job))
            why = why or _beside_missing(batch, job)
            made_with = recipes.get(record.fingerprint)
            action = SKIP if why is None else REDO
            items.append(PlannedFile(job, action, why or "done already", record, own, made_with))
            continue
        if not job.target.exists():
            items.append(PlannedFile(job, NEW, "", None, own))
            continue
        made_with = None if own else _lost(job, below, listed)
        lost = None if made_with is None else _why_lost(made_with, batch.recipe)
        why = (lost or "other input") if batch.resume else "exists"
        items.append(PlannedFile(job, REDO, why, None, own or lost is not None, made_with))
    if not batch.force:
        _refuse_existing(batch, items)
        _refuse_tables(batch, records, items)
    return items


def _beside_missing(batch: BatchRequest, job: FileJob) -> str | None:
    """Return why a file whose result is up to date is processed again for what is beside the result; None if not."""
    preview, kept = batch.preview_of(job), batch.kept_of(job)
    if preview is not None and not preview.exists():
        return "picture missing"
    return "not measured" if kept is not None and not measured_files.is_current(kept, batch.recipe) else None


def _lost(
    job: FileJob, below: str, listed: Mapping[tuple[str, ...], summary.ListedResult]
) -> Mapping[str, Any] | None:
    """Return what an existing result that no manifest lists was made with; None if no summary lists it either.

    Args:
        job: The input file and the path of the result.
        below: The path of the result relative to the output folder.
        listed: The results that the summaries in the output folder list, by the parts of their paths.
    """
    parts = Path(below).parts
    for path, found in listed.items():
        if path[-len(parts) :] == parts and job.target.lstat().st_mtime_ns <= found.when:
            return found.parameters
    return None


def _why_lost(made_with: Mapping[str, Any], recipe: Recipe) -> str:
    same = earlier_versions.comparable(made_with) == earlier_versions.comparable(recipe.parameters)
    return manifest.NOT_LISTED if same else manifest.OTHER_PARAMETERS


def _check_summary(batch: BatchRequest, *, ours: bool) -> None:
    """Raise an error if the summary could not be written; `ours` tells that a batch has used the folder before."""
    folder = batch.selection.target
    made = (*summary.paths(folder, batch.tag), *batch.tables.values())
    if batch.report is not None:
        check_writable(batch.report, force=batch.force or batch.resume)
    for path in made if folder.is_dir() else ():
        if path.is_symlink():
            if not batch.force:
                raise FileError(f"{path} is a symbolic link, which is not followed here; remove it.")
        elif path.exists() and not path.is_file():
            raise FileError(
                f"{path} is no file, and the batch takes its name; rename it, or choose another output folder."
            )
        else:
            check_writable(path, force=batch.force or ours)


def _reference(batch: BatchRequest, job: FileJob) -> Path | None:
    """Return the reference image for an input, from the folder that the reading option `like` names, or None."""
    folder = batch.recipe.reading.like
    if folder is None or not Path(folder).is_dir():
        return None
    from softmorph_cli.io.nnunet import image_in

    with suppress(SoftmorphError):
        return image_in(Path(folder), job.source)
    return None


def _below(job: FileJob, folder: Path) -> str:
    return job.target.relative_to(folder).as_posix()


def _refuse_existing(batch: BatchRequest, items: Sequence[PlannedFile]) -> None:
    folder = batch.selection.target
    there = [item for item in items if item.action != SKIP and _is_there(item.job.target)]
    foreign = [item.job.target for item in there if not item.ours]
    if foreign:
        count = f"{len(foreign)} file{'s' if len(foreign) > 1 else ''}"
        raise FileError(
            f"{plan.first_few(foreign)}: {count} that no batch in {folder} is known to have made, and that would be "
            "replaced; add --force, choose another output folder, or give the results another name with --suffix."
        )
    for why, how in _KEPT_WITHOUT_FORCE.items():
        other = [item for item in there if item.why == why]
        if other:
            files = plan.first_few([item.job.target for item in other])
            count = f"{len(other)} result{'s were' if len(other) > 1 else ' was'}"
            raise FileError(f"{files}: {count} {how}{_what_differs(batch, other[0])}. {_either(batch)}")
    if there and not batch.resume:
        count = f"{len(there)} result{'s are' if len(there) > 1 else ' is'} there already"
        raise FileError(
            f"{plan.first_few([item.job.target for item in there])}: {count}; add --resume to skip what is done, or "
            "--force to do all again."
        )


def _refuse_tables(batch: BatchRequest, records: Mapping[str, Record], items: Sequence[PlannedFile]) -> None:
    """Refuse to replace the tables of another batch, whose results have other names."""
    folder = batch.selection.target
    others = [
        item
        for item in items
        if (record := records.get(item.job.name)) is not None and record.target != _below(item.job, folder)
    ]
    if others or not batch.resume:
        for path in filter(_is_there, batch.tables.values()):
            check_writable(path)


def _what_differs(batch: BatchRequest, item: PlannedFile) -> str:
    """Return what the parameters of a result were and are, in brackets; empty if they are not known or are the same."""
    found = differences(item.made_with, batch.recipe.parameters) if item.made_with is not None else []
    return f" ({'; '.join(found)})" if found else ""


def _either(batch: BatchRequest) -> str:
    """Return what to type to keep results that a batch would replace, and what to type to replace them."""
    if not batch.words:
        return "Add --force beside --resume to replace what is there, or choose another output folder."
    folder = batch.selection.target
    number = next(n for n in itertools.count(2) if not folder.with_name(f"{folder.name}-{n}").exists())
    other = folder.with_name(f"{folder.name}-{number}")
    place = min(n for n, word in enumerate(batch.words) if Path(word) == folder)
    kept = [*batch.words[:place], str(other), *batch.words[place + 1 :]]
    return f"To keep what is there: {typed(*kept)}; to replace it: {typed(*batch.words, '--force')}"


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def carry_out(batch: BatchRequest, watcher: Watcher, engine: MakeEngine = choose) -> summary.BatchSummary:
    """Process all files of a batch, write manifest and summary, and return the summary.

    Args:
        batch: The batch as requested by the user.
        watcher: An object that shows the progress to the user.
        engine: Function that makes the engine, and returns it with a note for the user or None.

    Raises:
        SoftmorphError: If the request is invalid, or results may not be written; errors of single files are listed in
            the summary instead.
    """
    jobs, others = all_jobs(batch)
    folder = batch.selection.target
    make_folder(folder)
    with lock.held(folder, batch.tag):
        items = decide(batch, jobs)
        todo = [item for item in items if item.action != SKIP]
        others_targets = [path for job in others for path in (job.target, *batch.beside(job))]
        own_targets = [path for item in todo for path in (item.job.target, *batch.beside(item.job))]
        stale_temporaries.clear(own_targets, others_targets)
        entries = {item.job.name: _begun(item) for item in items}
        if todo:
            chosen, note = engine([item.job for item in todo], batch.recipe, batch.workers)
            if note:
                watcher.note(note)
            if again := sum(item.why == manifest.NOT_LISTED for item in todo):
                made = "results are" if again > 1 else "result is"
                watcher.note(f"{again} {made} done again, which the summary lists and the manifest does not.")
            # What cannot be made would fail each file, after its result was written.
            for beside in {path.parent for item in todo for path in batch.beside(item.job)}:
                make_folder(beside, parents=True)
            watcher.begin(len(todo), chosen.workers)
            path = folder / manifest.name_of(batch.parts, batch.part)
            try:
                with BatchManifest(path, batch.recipe.parameters) as lines:
                    _do(batch, todo, chosen, lines, watcher, entries)
            finally:
                stale_temporaries.clear(own_targets, others_targets)
        done = summary.BatchSummary(batch.recipe.parameters, list(entries.values()))
        summary.save(done, folder, batch.tag)
        if batch.recipe.keeps:
            all_files.write(batch, entries)
    return done


def _begun(item: PlannedFile) -> summary.FileEntry:
    before = item.record.row if item.record is not None and item.action == SKIP else {}
    return summary.FileEntry(
        input=str(item.job.source),
        output=str(item.job.target),
        status="skipped" if item.action == SKIP else summary.NOT_RUN,
        row=before,
    )


def _do(
    batch: BatchRequest,
    items: Sequence[PlannedFile],
    engine: Engine,
    lines: BatchManifest,
    watcher: Watcher,
    entries: dict[str, summary.FileEntry],
) -> None:
    fingerprint, folder = batch.recipe.fingerprint, batch.selection.target
    seen: dict[str, dict[str, Any]] = {}
    failed = any_done = False

    def ended(outcome: Outcome) -> None:
        nonlocal failed, any_done
        if outcome.wrong_call and not any_done:
            # Every file would fail in the same way.
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
            lines.write(record)
        entries[task.name] = summary.FileEntry(
            input=str(task.source),
            output=str(task.target),
            status="done" if outcome.error is None else "failed",
            row=row,
        )
        watcher.outcome(outcome)

    def tasks() -> Iterator[FileTask]:
        for item in items:
            if failed and batch.fail_fast:
                return
            job = item.job
            task = FileTask(
                *(job.name, job.source, job.target, batch.recipe, batch.force or item.ours),
                kept=batch.kept_of(job),
                preview=batch.preview_of(job),
            )
            if not task.force and _is_there(job.target):
                # Created while the batch ran, by something else.
                ended(Outcome(task, error=f"{job.target} exists already; add --force to replace it."))
                continue
            try:
                seen[job.name] = manifest.identity(job.source, _reference(batch, job))
            except OSError as error:
                ended(Outcome(task, error=f"{job.source} cannot be read: {error.strerror or error}."))
                continue
            lines.write(Record(job.name, _below(job, folder), BEGUN))
            yield task

    with closing(engine.outcomes(tasks(), watcher.sign)) as outcomes:
        for outcome in outcomes:
            ended(outcome)
