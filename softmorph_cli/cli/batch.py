"""softmorph batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from softmorph_cli.cli import answer, common, report
from softmorph_cli.cli.batch_progress import watching
from softmorph_cli.cli.chain import Pipeline, Steps, chosen_steps
from softmorph_cli.cli.command import typed_words
from softmorph_cli.cli.options import Machines, Results
from softmorph_cli.errors import NotReachedError, UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io import documents
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.plots.options import PICTURES, PictureOptions
from softmorph_cli.system.files import check_writable
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.system.printable import message, printable

if TYPE_CHECKING:
    from softmorph_cli.filters.filter import Filter
    from softmorph_cli.pipeline.batch.request import BatchRequest
    from softmorph_cli.pipeline.batch.run import PlannedFile, Watcher
    from softmorph_cli.pipeline.batch.summary import BatchSummary
    from softmorph_cli.workers.cluster import ClusterOptions

_RUN = "How the batch runs"
_PARTS = "Parts of a batch, for array jobs"
# The most files of which the last lines of a batch say the same.
_NAMED = 5


@dataclass(frozen=True)
class Files:
    """The options of `softmorph batch` that select input files and name the results."""

    panel: ClassVar = "Which files"

    glob: Annotated[
        str | None,
        Parameter(
            "Pattern of file names, such as 'case_*.nii.gz'; with a / in it, of paths below IN_DIR. "
            "(default: all files that can be read; of nnU-Net's outputs the .npz)",
            "PATTERN",
        ),
    ] = None
    recursive: Annotated[
        bool,
        Parameter(
            "Read the folders in IN_DIR too; OUT_DIR gets folders of the same names.",
            flags=("--recursive",),
            first=True,
        ),
    ] = False
    suffix: Annotated[
        str,
        Parameter(
            "Names of results: _skeleton is added before the format, .tif is another format, _s.nii.gz is both."
            " (default: the input's name)",
            "TEXT",
            first=True,
        ),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class Pictures(PictureOptions):
    """The options of `softmorph batch` for pictures of the files, and the page of them all."""

    preview: Annotated[
        Path | None,
        Parameter(
            "Folder for a picture of each file, input and result; created if missing.", "DIR", group=PICTURES
        ),
    ] = None
    report: Annotated[
        Path | None,
        Parameter(
            "One page of all files: a table, distributions, a small picture of each, failures; of a batch in parts it "
            "is written with --summarize.",
            "PATH.html",
            group=PICTURES,
            first=True,
        ),
    ] = None

    def check(self, source: Path, steps: Sequence[Filter]) -> None:
        """Refuse names that are wrong, and tables of single files."""
        from softmorph_cli.pipeline.steps.measuring import Measuring
        from softmorph_cli.pipeline.steps.page import check_page

        if self.preview is None and (given := self.given):
            raise UsageError(f"--{given[0]} is of the pictures: add --preview DIR, or leave it out.")
        if self.report is not None:
            check_page(self.report)
        if self.preview is not None and source.resolve() in (
            self.preview.resolve(),
            *self.preview.resolve().parents,
        ):
            raise UsageError(
                f"--preview {self.preview} lies in {source}, and pictures become inputs; name a folder outside it."
            )
        for step in steps:
            if isinstance(step, Measuring) and step.outputs:
                (path, *_) = step.outputs.values()
                raise UsageError(
                    f"step {step.operation}: {path} is a table of one file, and a batch writes the tables of all files "
                    f"into OUT_DIR as {', '.join(f'{name}.csv' for name in step.table_names())}: leave {path} out."
                )


@dataclass(frozen=True)
class Running:
    """The options of `softmorph batch` for workers, resuming, and splitting a batch into parts."""

    workers: Annotated[
        int | None,
        Parameter(
            "Number of files processed at once; they share the cores. (default: as many as cores and "
            "memory allow; with CUDA 3, which take turns on the device; --threads are those of each)",
            "N",
            flags=("--workers", "-w"),
            group=_RUN,
        ),
    ] = None
    resume: Annotated[
        bool,
        Parameter(
            "Skip files that are done with the same parameters and have not changed since.",
            group=_RUN,
            first=True,
        ),
    ] = False
    fail_fast: Annotated[
        bool, Parameter("Start no further file after one has failed. (default: continue)", group=_RUN)
    ] = False
    dry_run: Annotated[
        bool,
        Parameter("Print what would be done to each file; write nothing.", group=_RUN),
    ] = False
    num_parts: Annotated[
        int | None,
        Parameter(
            "Split the files into N parts and do one of them; the others may run at the same time.",
            "N",
            group=_PARTS,
        ),
    ] = None
    part_id: Annotated[int | None, Parameter("Which part, from 0 to N - 1.", "I", group=_PARTS)] = None
    summarize: Annotated[
        bool,
        Parameter(
            "Compute nothing: merge what all parts have done into summary.csv and summary.json.", group=_PARTS
        ),
    ] = False


def batch(
    source: Annotated[
        Path, typer.Argument(metavar="IN_DIR", help="Folder of probability maps.", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT_DIR",
            help="Folder for the results, summary.csv and summary.json; created if missing.",
            show_default=False,
        ),
    ],
    steps: Steps = None,
    *,
    pipeline: Pipeline = None,
    files: Files,
    pictures: Pictures,
    running: Running,
    reading: ReadOptions,
    settings: Settings,
    machines: Machines,
    results: Results,
    json_file: Annotated[Path | None, common.JSON_FILE] = None,
) -> None:
    """Run the steps of a chain on every file of a folder, several at once; one that fails stops no other.

    Steps inspect and stats measure the map between two steps; their tables of all files, branches.csv, cases.csv,
    components.csv and stats.csv, are written into OUT_DIR at the end.

    The exit status is 1 if any file failed, 3 if all results are there and some are poorer than requested. After an
    interruption the same command with --resume goes on.
    """
    chosen = chosen_steps(steps, pipeline, settings)
    pictures.check(source, chosen)
    order = _order(source, target, chosen, pipeline, files, running, reading, settings, results)
    order = replace(
        order,
        previews=pictures.preview,
        report=pictures.report,
        recipe=replace(
            order.recipe,
            thumbnails=pictures.report is not None,
            writing=replace(
                order.recipe.writing,
                light=pictures.light,
                dpi=pictures.dpi,
                orientation=pictures.orientation,
            ),
        ),
    )
    where = machines.where(running.workers)
    wanted = answer.Wanted(results.json, json_file, results.force)
    if json_file is not None:
        check_writable(json_file, force=results.force)
    if running.dry_run:
        _print_plan(order, results, wanted)
        return
    from softmorph_cli.pipeline.batch.all_files import summarize
    from softmorph_cli.pipeline.batch.run import carry_out

    if running.summarize:
        summary = summarize(order)
    else:
        with watching(quiet=results.quiet, verbose=results.verbose) as watcher:
            summary = carry_out(order, watcher) if where is None else _carry_out_on(where, order, watcher)
    answer.give(summary.document, wanted)
    if not (results.json or results.quiet):
        _report(summary, order)
    if summary.bad:
        short = all(entry.row.get("not_reached") for entry in summary.bad)
        raise typer.Exit(NotReachedError.exit_code if short else 1)


def _carry_out_on(where: ClusterOptions, order: BatchRequest, watcher: Watcher) -> BatchSummary:
    from softmorph_cli.pipeline.batch.on_cluster import on_cluster
    from softmorph_cli.pipeline.batch.run import carry_out

    with on_cluster(where, order.selection, watcher.note) as engine:
        return carry_out(order, watcher, engine)


def _order(
    source: Path,
    target: Path,
    chosen: list[Filter],
    pipeline: Path | None,
    files: Files,
    running: Running,
    reading: ReadOptions,
    settings: Settings,
    results: Results,
) -> BatchRequest:
    from softmorph_cli.pipeline.batch.plan import FileSelection
    from softmorph_cli.pipeline.batch.recipe import Recipe
    from softmorph_cli.pipeline.batch.request import BatchRequest
    from softmorph_cli.pipeline.chain import check
    from softmorph_cli.pipeline.outputs import OutputOptions

    if (running.num_parts is None) != (running.part_id is None):
        raise UsageError("--num-parts N and --part-id I go together, such as --num-parts 10 --part-id 0.")
    if not running.summarize:
        check(chosen)
    recipe = Recipe(
        filters=tuple(chosen),
        settings=settings,
        pipeline=pipeline,
        reading=reading,
        writing=OutputOptions.of(results),
    )
    return BatchRequest(
        selection=FileSelection(
            source, target, files.glob, files.recursive, files.suffix, tuple(reading.files)
        ),
        recipe=recipe,
        resume=running.resume,
        force=results.force,
        fail_fast=running.fail_fast,
        workers=running.workers,
        parts=running.num_parts if running.num_parts is not None else 1,
        part=running.part_id or 0,
        words=typed_words(),
    )


def _print_plan(order: BatchRequest, results: Results, wanted: answer.Wanted) -> None:
    from softmorph_cli.pipeline.batch.run import all_jobs, decide

    items = decide(order, all_jobs(order)[0])
    planned = [
        {
            "input": {"path": str(i.job.source)},
            "output": {"path": str(i.job.target)},
            "action": i.action,
            "why": i.why,
        }
        for i in items
    ]
    answer.give(documents.document("batch", {"dry_run": True, "files": planned}, seconds={}), wanted)
    if results.json or results.quiet:
        return
    for item in items:
        report.echo(printable(_line(item)))
    counts = ", ".join(
        f"{sum(item.action == action for item in items)} {action}" for action in ("new", "redo", "skip")
    )
    if not results.quiet:
        typer.echo(f"{counts}; nothing was written.", err=True)


def _line(item: PlannedFile) -> str:
    why = f" ({item.why})" if item.why else ""
    return f"{item.action:<4} {item.job.source} → {item.job.target}{why}"


def _report(summary: BatchSummary, order: BatchRequest) -> None:
    counts = summary.counts
    always = ("done", "skipped", "failed")
    lines = [[name, f"{counts[name]:,}"] for name in always]
    lines += [[name, f"{count:,}"] for name, count in sorted(counts.items()) if name not in always]
    from softmorph_cli.pipeline.batch.summary import paths

    table, _ = paths(order.selection.target, order.tag)
    footer = f"a row for each file: {table}"
    # A batch that is only summarized names no steps; its parts say which tables there are.
    if written := [path.name for path in summary.tables or order.tables.values() if path.exists()]:
        footer += f"; tables: {', '.join(written)}"
    if order.report is not None and order.parts == 1:
        footer += f"; page: {order.report}"
    report.table(f"batch → {order.selection.target}", ("", "files"), lines, err=False, footer=footer)
    for entry in summary.bad:
        if entry.error is not None:
            report.echo(message(f"failed: {entry.error}"))
    _name("the prior fits less than requested", [one.input for one in summary.entries if one.poor_fit])
    _name(
        "the prior is below the interpolation of logits on slices left out",
        [one.input for one in summary.entries if one.below_logit],
    )


def _name(what: str, files: list[str]) -> None:
    """Print the first files of which a sentence is true, and how many more there are."""
    if files:
        more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
        report.echo(message(f"{what}: {', '.join(files[:_NAMED])}{more}"))
