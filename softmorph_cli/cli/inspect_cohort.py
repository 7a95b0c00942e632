"""softmorph inspect of several files: one table of branches, one of components and one of cases."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from softmorph_cli.cli import answer, branches, filtering, report
from softmorph_cli.cli.batch_progress import watching
from softmorph_cli.cli.cohort_results import CohortResults
from softmorph_cli.cli.command import complain_of
from softmorph_cli.errors import InputError, SoftmorphError, UsageError
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.cli.batch_progress import BatchProgress
    from softmorph_cli.cli.inspect_options import Curve, InspectOutput
    from softmorph_cli.io.options import ReadOptions
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.skeleton.graph import SkeletonGraph
    from softmorph_cli.skeleton.tracing import Tracing
    from softmorph_cli.volume import Volume

_Add = Callable[[Path, "SkeletonGraph", Sequence[str]], None]


def is_folder(source: Path) -> bool:
    """Return whether a path is a folder of files; an empty name is not."""
    return source != Path() and filtering.is_folder(source)


def files_of(sources: Sequence[Path], reading: ReadOptions, *, recursive: bool = False) -> list[Path]:
    """Return the named files, and those in the named folders that can be read, each once and in order.

    With `recursive`, files in the folders of a named folder are found too.

    Raises:
        FileError: If a folder holds no file that can be read.
    """
    from softmorph_cli.pipeline.batch.plan import FileSelection, inputs

    found: list[Path] = []
    for source in sources:
        if is_folder(source):
            names = inputs(FileSelection(source, source, recursive=recursive, apart=tuple(reading.files)))
            found += [source / name for name in names]
        else:
            found.append(source)
    return [*dict.fromkeys(found)]


def check(files: Sequence[Path], curve: Curve, output: InspectOutput, reading: ReadOptions) -> None:
    """Refuse what goes with one file only, and outputs that cannot be written, before anything is read."""
    from softmorph_cli.io.nnunet import check_reference
    from softmorph_cli.pipeline.steps.page import check_page
    from softmorph_cli.skeleton import export

    several = [name for name in output.texts if name not in export.cases.TABLES]
    several += [*output.images, *(name for name in output.others if name not in ("report", "json_file"))]
    several += output.given
    if curve.map_file is not None:
        several.append("map")
    if several:
        option = f"--{several[0].replace('_', '-')}"
        raise UsageError(f"{option} goes with one file: name one with it, or leave {option} out.")
    if curve.root is not None and curve.root.isdigit():
        raise UsageError(
            f"--root {curve.root} is a branch of one file: name one file with it, or take --root widest."
        )
    check_reference(reading.like, files)
    outputs = [path for path in output.texts.values() if path != report.STDOUT]
    if output.report is not None:
        check_page(output.report)
    outputs += [path for path in (output.report, output.json_file) if path is not None]
    for path in files:
        filtering.check_side_outputs(path, reading.files, outputs, None, force=output.force)


def inspect_all(
    files: Sequence[Path],
    tracing: Tracing,
    output: InspectOutput,
    reading: ReadOptions,
    *,
    quiet: bool,
    verbose: bool,
) -> None:
    """Inspect one file after another, write the tables, and print a row for each case.

    A file that fails is told and stops no other; the exit status is then 1. Only one map is in memory at a time.
    """
    cohort = _Cohort(tracing, reading)
    kept = CohortResults(
        reading=reading, document=output.json or output.json_file is not None, page=output.report is not None
    )
    with (
        watching(
            quiet=quiet,
            verbose=verbose,
            interrupted="no table was written.",
            listed="--summary PATH lists them",
        ) as watcher,
        _tables(output.texts, force=output.force) as add,
    ):
        watcher.begin(len(files), 1)
        for path in files:
            try:
                found = cohort.inspect(path, watcher)
            except (SoftmorphError, MemoryError) as error:
                kept.failed.append((str(path), complain_of(error, path, verbose=verbose)))
                watcher.ended(path, failed=True)
                continue
            for one in found:
                add(path, one.graph, one.warnings)
                kept.add(path, one)
                cohort.lines.append(_line(path, one.graph))
            watcher.ended(
                path,
                notes=[note for one in found for note in one.notes],
                warnings=[warning for one in found for warning in one.warnings],
            )
        failed = watcher.failed
        if failed == len(files):
            raise typer.Exit(1)
        answer.give(kept.as_dict(), output)
        if output.report is not None:
            page = kept.as_page(_title(files))
            report.deliver(page, output.report, force=output.force)
    if not (quiet or output.json) and report.STDOUT not in output.texts.values():
        unit = sign(cohort.unit)
        columns = ("", *_COUNTS, f"length ({unit})", f"radius ({unit})", "certainty")
        done = f"{len(files):,} files" if not failed else f"{len(files) - failed:,} of {len(files):,} files"
        report.table(done, columns, cohort.lines, err=False, figures=len(columns) - 1)
    if failed:
        raise typer.Exit(1)


def _title(files: Sequence[Path]) -> str:
    """Return the name of the folder that holds all files, and their number."""
    import os

    folder = Path(os.path.commonpath([path.absolute().parent for path in files])).name
    return f"{folder}, {len(files):,} files"


_COUNTS = ("components", "cycles", "end points", "junctions", "branches")


@dataclass
class _Cohort:
    """The files of a study, whose lengths are all in the unit of the first.

    Attributes:
        tracing: How each image is traced.
        reading: How each file is read.
        lines: The lines of the printed table.
        measured: Whether a file has been measured.
        unit: The unit of its lengths, which is that of the tables: "mm", "um", "nm", "voxels" or, in 2D, "pixels".
    """

    tracing: Tracing
    reading: ReadOptions
    lines: list[list[str]] = field(default_factory=list)
    measured: bool = False
    unit: str = ""

    def inspect(self, path: Path, watcher: BatchProgress) -> list[analyse.Inspection]:
        """Read a file and inspect each class that it holds."""
        from softmorph_cli.pipeline.batch.engine import WorkerStatus
        from softmorph_cli.pipeline.steps.inspecting import classes_of

        watcher.sign(WorkerStatus(0, path.name))
        volume = filtering.read_volume(path, self.reading)
        found = []
        for image, changed in map(self._in_unit, classes_of(volume)):
            about = self.tracing.settle(image)
            one = self.tracing.run(
                image, progress=lambda progress: watcher.sign(WorkerStatus(0, path.name, progress))
            )
            notes = (*volume.notes, *changed, *about, *one.notes)
            found.append(replace(one, notes=notes))
        # Not before the whole file succeeded.
        self.measured, self.unit = True, found[0].graph.frame.suffix
        return found

    def _in_unit(self, image: Volume) -> tuple[Volume, tuple[str, ...]]:
        """Return an image with its voxel size in the unit of the tables, and a note if that is another one."""
        from softmorph_cli.skeleton.frame import Frame
        from softmorph_cli.system.units import COUNTED, MILLIMETRES, millimetres

        own = Frame.of(image).suffix
        if not self.measured or own == self.unit:
            return image, ()
        if own in COUNTED.values() or self.unit in COUNTED.values():
            raise InputError(
                f"its lengths are in {own} and those of the files before it in {self.unit}: one table cannot hold "
                "both; give it a command of its own."
            )
        # An affine is in mm where the header names no unit.
        scale = (millimetres(image.unit) or MILLIMETRES[own]) / MILLIMETRES[self.unit]
        sizes = None if image.spacing is None else tuple(size * scale for size in image.spacing)
        note = f"its lengths, in {sign(own)}, are given in {sign(self.unit)} as those of the first file."
        return replace(image, spacing=sizes, unit=self.unit), (note,)


@contextmanager
def _tables(paths: Mapping[str, Path], *, force: bool) -> Iterator[_Add]:
    """Yield a function that adds the rows of a graph to each table; the files take their places at the end."""
    from softmorph_cli.skeleton import export
    from softmorph_cli.system.files import replacing

    with ExitStack() as stack:
        streams: dict[str, TextIO] = {}
        for name, path in paths.items():
            if path == report.STDOUT:
                streams[name] = io.StringIO()
                continue
            temporary = stack.enter_context(replacing(path, force=force))
            # Unpaired surrogates are how Python keeps file names that are not UTF-8.
            opened = temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            streams[name] = stack.enter_context(opened)
        columns: dict[str, list[str]] = {}

        def add(path: Path, graph: SkeletonGraph, warnings: Sequence[str]) -> None:
            for name, stream in streams.items():
                head = name not in columns
                if head:
                    columns[name] = export.cases.header(name, graph)
                rows = export.cases.rows(name, path, graph, warnings)
                stream.write(export.cases.table_text(rows, columns[name], head=head))

        yield add
        for stream in streams.values():
            if isinstance(stream, io.StringIO):
                report.deliver(stream.getvalue(), report.STDOUT, force=force)


def _line(path: Path, graph: SkeletonGraph) -> list[str]:
    """Return the line of one case in the printed table."""
    counts = (
        len(graph.components),
        graph.cycles,
        len(graph.end_points),
        len(graph.junctions),
        len(graph.branches),
    )
    spreads = [graph.spread(quantity) for quantity in ("radius", "certainty")]
    return [
        f"{path}, {graph.name}" if graph.name else str(path),
        *(f"{count:,}" for count in counts),
        report.number(graph.length),
        *("-" if spread is None else branches.short(spread.mean) for spread in spreads),
    ]
