"""Runs steps on a file for every filtering command: checks, processing, summary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli.cli import answer, report
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.options import Large, Writing
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import NotReachedError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import ReadOptions, WriteOptions
from softmorph_cli.plots.options import PictureOptions, check_picture
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.filters.filter import Filter
    from softmorph_cli.filters.settings import Result
    from softmorph_cli.pipeline.process import Processed
    from softmorph_cli.tiled import TileProgress
    from softmorph_cli.volume import Volume


def read_volume(path: Path, reading: ReadOptions) -> Volume:
    """Read IN; its notes name classes for which a threshold of 0.5 and the most probable class differ."""
    from softmorph_cli.io import exclusive
    from softmorph_cli.io.reading import read_map

    volume = read_map(path, replace(reading, exclusive=True))
    return replace(volume, notes=(*volume.notes, *exclusive.class_notes(volume)))


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder and no Zarr store."""
    from softmorph_cli.system.files import is_store

    try:
        return path.is_dir() and not is_store(path)
    except OSError:  # a name too long
        return False


def run(
    command: str,
    steps: Sequence[Filter],
    source: Path,
    target: Path,
    reading: ReadOptions,
    writing: Writing,
    *,
    stages: Path | None = None,
) -> None:
    """Run steps on one file and print a summary.

    `command` is the name in documents; `stages` is a folder for the result of each step.
    """
    from softmorph_cli.pipeline.process import process

    _check_outputs(source, target, reading, writing, steps, stages=stages)
    with reporting(quiet=writing.quiet) as progress:
        processed = process(
            command,
            source,
            target,
            steps,
            writing,
            stages=stages,
            reading=reading,
            progress=progress,
            tell=_discard if writing.quiet else note,
        )
    _report(command, steps, target, processed, writing)


def run_tiled(
    command: str,
    step: Filter,
    source: Path,
    target: Path,
    reading: ReadOptions,
    writing: Writing,
    large: Large,
) -> None:
    """Run a step on one file tile by tile, or print the plan of such a run."""
    from softmorph_cli.pipeline.process_tiled import TiledProcess
    from softmorph_cli.system.units import bytes_of

    memory = None if large.memory is None else bytes_of(large.memory)
    if large.memory is not None and memory is None:
        raise UsageError(f"--memory {large.memory}: give a number and a unit, such as 4GB or 512MiB.")
    tell = _discard if writing.quiet else note
    process = TiledProcess(
        command,
        source,
        target,
        step,
        writing,
        reading,
        memory=memory,
        scratch=large.scratch,
        resume=large.resume,
        cluster=large.where(),
        tell=tell,
    )
    if large.dry_run and large.memory is None and large.scratch is None and process.cluster is None:
        raise UsageError("--dry-run tells how a map is cut: add --memory SIZE, such as --memory 4GB.")
    if large.dry_run:
        from softmorph_cli.pipeline import describe

        plan = process.plan()
        content = {"dry_run": True, "output": {"path": str(target)}, "tiles": describe.plan(plan)}
        answer.give(documents.document(command, content, seconds={}), answer.Wanted(writing.json, None))
        if not (writing.json or writing.quiet):
            report.table(f"{command} → {target}, not run", ("", ""), report.planned(plan), err=False)
        return
    # The document that --json prints is not kept in a file.
    if not writing.force and not writing.json and process.complete():
        tell(
            f"{target} is complete: this command made it, and its input has not changed since. --force makes it again."
        )
        return
    _check_outputs(source, target, reading, writing, [step], ours=process.finished_outputs())
    with reporting(quiet=writing.quiet) as bar:

        def show(progress: TileProgress) -> None:
            if bar is not None:
                bar.update(report.tile(progress), progress.done, progress.total)

        try:
            processed = process.run(show)
        except BaseException as error:
            if process.kept and "--resume" not in str(error):
                tell(f"what is done is kept in {large.scratch}: the same command with --resume goes on.")
            raise
    _report(command, [step], target, processed, writing)


def _discard(message: str) -> None:
    pass


def _report(
    command: str, steps: Sequence[Filter], target: Path, processed: Processed, writing: Writing
) -> None:
    for message in processed.warnings:
        warn(message)
    if not writing.quiet:
        for message in processed.notes:
            note(message)
        ran = "; ".join(_how_they_ran(steps, processed))
        reached = _reached(processed.document) if len(steps) == 1 else []
        seconds = ", ".join(
            f"{name} {value:.2f} s"
            for name, value in processed.document["seconds"].items()
            if name != "total"
        )
        rows = report.rows([processed.before, processed.after])
        footer = "; ".join(part for part in (ran, *reached, seconds) if part)
        report.table(f"{command} → {target}", ("", "before", "after"), rows, err=True, footer=footer)
    if writing.verbose:
        _report_details(steps, processed)
    # The file of --json-file is written together with OUT.
    answer.give(processed.document, answer.Wanted(writing.json, None))
    if processed.shortfall is not None:
        raise NotReachedError(processed.shortfall)


def _report_details(steps: Sequence[Filter], processed: Processed) -> None:
    from softmorph_cli.pipeline.steps.registry import changing
    from softmorph_cli.system import cache, machine

    last = changing(steps)[-1]
    threads = (last.settings.threads if last.settings else None) or machine.threads()
    where = f"{processed.document['device']} with {threads} threads"
    tiles = processed.document["steps"][-1].get("tiles")
    if tiles is not None and tiles["workers"] > 1:
        where = report.workers(tiles["workers"], tiles["threads"])
    note(f"ran on {where}; kernels are kept in {cache.root()}.")
    for step in processed.document["steps"]:
        parameters = ", ".join(f"{name} {value}" for name, value in step["parameters"].items()) or "defaults"
        note(f"in force: {parameters}.")


def _how_they_ran(steps: Sequence[Filter], processed: Processed) -> Iterator[str]:
    """Yield for each step how it ran, or what it measured."""
    results = iter(processed.results)
    for number, step in enumerate(steps, 1):
        found = processed.measured.get(number)
        yield _how_it_ran(step, next(results)) if found is None else f"{step.operation} ({found.words})"


def _how_it_ran(step: Filter, result: Result) -> str:
    if step.settings is None:
        short = (result.document or {}).get("short_bars")
        return step.operation if short is None else f"{step.operation} ({_shortened(**short)})"
    count = f"{result.iterations} iteration{'s' if result.iterations != 1 else ''}"
    lines = "; lines are not finished to one voxel" if result.finished is False else ""
    return f"{step.method_in_force}, {count} ({report.STOPPED[result.stop_reason]}{lines})"


def _shortened(count_before: Sequence[int], count_after: Sequence[int]) -> str:
    """Return the numbers of short bars before and after in words."""
    one, other = (" ".join(map(str, numbers)) for numbers in (count_before, count_after))
    return f"short bars {'b0 b1 b2'[: 3 * len(count_before) - 1]}: before {one}, after {other}"


def _reached(document: Mapping[str, Any]) -> list[str]:
    (step,) = document["steps"]
    if step["radius_reached"] is None:
        return []
    x = " × "
    reached = x.join(f"{r:g}" for r in step["radius_reached"])
    axes = document["output"]["axes"][-len(step["radius_reached"]) :].lower()
    return [f"radius reached {reached} {sign(step['radius_unit'])} ({x.join(axes)})"]


def _check_outputs(
    source: Path,
    target: Path,
    reading: ReadOptions,
    outputs: Writing,
    steps: Sequence[Filter],
    *,
    stages: Path | None = None,
    ours: Collection[Path] = (),
) -> None:
    """Refuse outputs that cannot be written; `ours` are files of an interrupted run, which this run resumes."""
    from softmorph_cli.filters.method import find
    from softmorph_cli.io.formats import check_target, suffix_of
    from softmorph_cli.pipeline.result_files import make_stages, stage_paths, stored_type
    from softmorph_cli.pipeline.steps.inspecting import Inspect
    from softmorph_cli.pipeline.steps.measuring import Measuring
    from softmorph_cli.pipeline.steps.page import check_page
    from softmorph_cli.pipeline.steps.registry import changing

    kind = stored_type(steps, target, outputs)

    def may(path: Path) -> bool:
        return outputs.force or path in ours

    check_target(target, replace(outputs, output_type=kind, force=may(target)))
    if outputs.standard_error is not None:
        settings = changing(steps)[-1].settings
        if settings is None or find(settings.method).name != "sampled":
            raise UsageError("--standard-error goes with --method sampled: other methods have none.")
        check_target(outputs.standard_error, WriteOptions(force=may(outputs.standard_error)))
    if outputs.filled is not None:
        _check_filled(steps)
        check_target(outputs.filled, WriteOptions(output_type="mask", force=may(outputs.filled)))
    if outputs.report is not None:
        check_page(outputs.report)
        if not any(isinstance(step, Inspect) for step in steps):
            raise UsageError(
                "--report is the page of a step inspect: add it to the steps, or leave --report out."
            )
    beside = [path for path in (outputs.json_file, outputs.preview, outputs.report) if path is not None]
    beside += [path for step in steps if isinstance(step, Measuring) for path in step.outputs.values()]
    images = [path for path in (outputs.standard_error, outputs.filled) if path is not None]
    paths = [] if stages is None else stage_paths(stages, steps, suffix_of(target))
    check_side_outputs(
        source,
        [*reading.files, *(path for step in steps for path in step.files)],
        beside,
        outputs.preview,
        force=may,
        target=target,
        images=[*images, *paths],
        pictures=outputs,
    )
    if stages is not None:
        make_stages(stages, paths, force=outputs.force)


def _check_filled(steps: Sequence[Filter]) -> None:
    """Refuse `--filled` unless one step invents voxels, and these are voxels of OUT."""
    filling = [number for number, step in enumerate(steps) if step.operation == "interpolate"]
    if not filling:
        raise UsageError("--filled goes with a step interpolate: no other step invents slices.")
    if len(filling) > 1:
        raise UsageError(
            "--filled is of one step interpolate: name all slices and the grid in one step, such as "
            "interpolate:missing=5:9,12."
        )
    for step in steps[filling[0] + 1 :]:
        if step.operation == "resample" or getattr(step, "resample", None) is not None:
            raise UsageError(
                f"--filled is on the grid of the step interpolate, which {step.operation} changes: name the grid in "
                "the step interpolate, as in interpolate:missing=empty,spacing=iso."
            )


def check_side_outputs(
    source: Path,
    others: Sequence[Path],
    outputs: Sequence[Path],
    preview: Path | None,
    *,
    force: bool | Callable[[Path], bool],
    target: Path | None = None,
    images: Sequence[Path] = (),
    pictures: PictureOptions | None = None,
) -> None:
    """Refuse, before anything is computed, outputs that cannot be written or that are named twice.

    Args:
        source: IN.
        others: Other files that are read: a mask, a reference.
        outputs: Files beside OUT, `preview` among them.
        preview: The picture, if there is one.
        force: Whether existing files, or this one, may be replaced.
        target: OUT, if there is one; it alone may replace IN.
        images: Files that `check_target` has checked: only their names are compared.
        pictures: The options of `preview`.
    """
    from softmorph_cli.system.files import check_writable

    check_picture("preview", preview)
    if pictures is not None and preview is None and (given := pictures.given):
        raise UsageError(f"{named(given[0])} is of the picture: add --preview PATH.png, or leave it out.")
    for path in outputs:
        check_writable(path, force=force(path) if callable(force) else force)
    used = [source, *others]
    for path in (*outputs, *images) if target is None else (target, *outputs, *images):
        taken = [one for one in used if one.resolve() == path.resolve()]
        if taken and not (path == target and taken == [source]):
            raise UsageError(f"{path} is named twice: give every input and output its own path.")
        used.append(path)
