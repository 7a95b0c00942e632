"""softmorph stats."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softmorph_cli.cli import answer, common, filtering, report
from softmorph_cli.cli.command import complain_of, note
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import FileError, SoftmorphError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import READ, ReadOptions
from softmorph_cli.plots.options import PICTURES, PREVIEW, ViewOptions
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.system.printable import csv_text, typed
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.metrics.statistics import Statistics


@dataclass(frozen=True)
class _Measured:
    """The statistics and the geometry of a measured map, without its voxels."""

    path: Path
    shape: tuple[int, ...]
    axes: str
    spatial_axes: str
    spacing: tuple[float, ...] | None
    unit: str | None
    found: Statistics
    parts: list[tuple[str, Statistics]]
    described: dict[str, Any]
    notes: tuple[str, ...]
    place: dict[str, Any]

    @property
    def voxel_size(self) -> str:
        sizes = " × ".join(f"{s:g}" for s in self.spacing) if self.spacing else "unknown"
        return f"{sizes} {sign(self.unit or '')}".rstrip()

    @property
    def document(self) -> dict[str, Any]:
        return {"input": self.described, "statistics": self.found.as_dict()}


def stats(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help=f"Probability maps: {READ}; several become the rows of one table.",
            show_default=False,
        ),
    ],
    *,
    reading: ReadOptions,
    csv: Annotated[
        Path | None,
        Parameter(
            "Write a table with one row for each file and channel; - prints it on stdout.",
            "PATH|-",
            first=True,
        ),
    ] = None,
    json_file: Annotated[Path | None, common.JSON_FILE] = None,
    preview: Annotated[
        Path | None, Parameter("Draw the map (of one file).", PREVIEW, group=PICTURES, first=True)
    ] = None,
    pictures: ViewOptions,
    force: Annotated[bool, common.FORCE] = False,
    json: Annotated[bool, common.JSON] = False,
    quiet: Annotated[bool, common.QUIET] = False,
    verbose: Annotated[bool, common.VERBOSE] = False,
) -> None:
    """Statistics of probability maps: expected volume, components, certainty. Nothing is filtered.

    How far the volume may be from the expected one depends on how voxels depend on each other. Its standard deviation
    is given for independent voxels, whose errors average out, and for comonotone ones, where one threshold drawn
    between 0 and 1 decides for all: no dependence gives a larger one. The errors of a network usually lie between
    the two. The quantiles are those of comonotone voxels: the volumes above 0.95, 0.5 and 0.05.

    A file that fails does not stop the others; the exit status is then 1.
    """
    report.check_stdout({"--json": json, "--csv": csv})
    if preview is not None and len(sources) > 1:
        raise UsageError(
            f"--preview draws one map and {len(sources)} files are named: give one file with it, "
            "or leave it out."
        )
    from softmorph_cli.io.nnunet import check_reference

    check_reference(reading.like, sources)
    outputs = [path for path in (csv, json_file, preview) if path is not None and path != report.STDOUT]
    for source in sources:
        filtering.check_side_outputs(source, reading.files, outputs, preview, force=force, pictures=pictures)

    failed: list[dict[str, Any]] = []
    started = time.perf_counter()
    if len(sources) == 1:
        measured = [_measure(sources[0], reading, preview, pictures, force=force)]
        notes = list(measured[0].notes)
        content = measured[0].document
    else:
        measured, failed = _measure_all(sources, reading, quiet=quiet, verbose=verbose)
        notes = [f"{one.path}: {message}" for one in measured for message in one.notes]
        content = {"files": [one.document for one in measured], "failed": failed}
    for message in () if quiet else notes:
        note(message)
    seconds = {"measure": time.perf_counter() - started}
    document = documents.document("stats", content, seconds=seconds, notes=notes)
    answer.give(document, answer.Wanted(json, json_file if measured else None, force))
    if measured:
        if csv is not None:
            report.deliver(_as_csv(measured), csv, force=force)
        if not (json or quiet or csv == report.STDOUT):
            if len(sources) == 1:
                _show_one(measured[0])
            else:
                _show_all(measured, len(sources))
    if failed:
        raise typer.Exit(1)


def _measure(
    path: Path,
    reading: ReadOptions,
    preview: Path | None = None,
    pictures: ViewOptions | None = None,
    *,
    force: bool = False,
) -> _Measured:
    """Return the statistics of one file, whose voxels are released from memory on return."""
    from softmorph_cli.api.analysis import statistics
    from softmorph_cli.pipeline.steps.statistics import geometry, parts

    try:
        volume = filtering.read_volume(path, reading)
    except FileError:
        if path != Path() and filtering.is_folder(path):
            command = f"softmorph stats {_pattern(path)}"
            raise FileError(f"{path} is a folder; name the files in it: {command}") from None
        raise
    found = statistics(volume)
    if preview is not None and pictures is not None:
        from softmorph_cli.plots.preview import preview as draw
        from softmorph_cli.plots.preview import settle

        title, backdrop = f"softmorph stats {path.name}", settle(pictures, volume, reading, str(path))
        draw(volume, None, preview, title=title, force=force, look=pictures, backdrop=backdrop)
    return _Measured(
        path=path,
        shape=volume.array.shape,
        axes=volume.axes,
        spatial_axes=volume.spatial_axes,
        spacing=volume.spacing,
        unit=volume.unit,
        found=found,
        parts=parts(volume, found),
        described=documents.described(volume),
        notes=volume.notes,
        place=geometry(volume),
    )


def _measure_all(
    paths: Sequence[Path], reading: ReadOptions, *, quiet: bool, verbose: bool
) -> tuple[list[_Measured], list[dict[str, Any]]]:
    """Return the statistics of several files, and entries of the JSON for the files that failed."""
    measured: list[_Measured] = []
    failed: list[dict[str, Any]] = []
    with reporting(quiet=quiet) as progress:
        for number, path in enumerate(paths, start=1):
            if progress is not None:
                progress.stage(f"file {number} of {len(paths)}: {path.name}", number - 1, len(paths))
            try:
                one = _measure(path, reading)
            except UsageError:
                raise
            except (SoftmorphError, MemoryError) as error:
                reason = complain_of(error, path, verbose=verbose)
                failed.append({"input": {"path": str(path)}, "error": {"message": reason}})
                continue
            measured.append(one)
    return measured, failed


def _pattern(folder: Path) -> str:
    """Return a shell pattern that matches the maps in a folder."""
    from softmorph_cli.io.formats import FORMATS, suffix_of

    known = {suffix for family in FORMATS for suffix in family.suffixes}
    try:
        found = Counter(s for path in folder.iterdir() if (s := suffix_of(path)) in known)
    except OSError:
        found = Counter()
    suffix = max(sorted(found), key=lambda s: found[s], default=".nii.gz")
    return f"{typed(folder)}/*{suffix}"


def _as_csv(measured: Sequence[_Measured]) -> str:
    from softmorph_cli.pipeline.steps import statistics

    rows = [
        statistics.row_of(name, part, one.place) | {"file": one.path}
        for one in measured
        for name, part in one.parts
    ]
    return csv_text(rows, statistics.columns_of(rows))


def _show_one(one: _Measured) -> None:
    shown = [one.found, *one.found.per_channel]
    lines = [
        *report.rows(shown),
        ["mean", *(f"{s.mean:.4g}" for s in shown)],
        ["smallest value", *(f"{s.min:.4g}" for s in shown)],
        ["entropy (bits)", *(report.number(s.entropy_bits) for s in shown)],
        ["voxels in all", *(f"{sum(s.histogram.counts):,}" for s in shown)],
    ]
    footer = f"{' × '.join(map(str, one.shape))} ({one.axes}), voxel size {one.voxel_size}"
    called = one.described["channel"]
    title = f"{one.path}, {called}" if called else str(one.path)
    names = [name for name, _ in one.parts] if one.found.per_channel else []
    report.table(title, ("", "whole map", *names), lines, err=False, footer=footer)


def _show_all(measured: Sequence[_Measured], asked: int) -> None:
    if not sys.stdout.isatty():
        for one in measured:
            _show_one(one)
        return
    rows = [(one, name, part) for one in measured for name, part in one.parts]
    connectivities = sorted({part.connectivity for _, _, part in rows})
    channels = any(name for _, name, _ in rows)
    # A common unit is in the column's head, different ones follow their numbers.
    mixed = len({part.volume_unit for _, _, part in rows}) > 1
    expected = "expected" if mixed else report.expected_of(rows[0][2].volume_unit).replace(" ", "\n", 1)
    figures = (
        f"{expected}\n±inde-\npendent,\n±como-\nnotone",
        "5 %\n50 %\n95 % como-\nnotone",
        "voxels\n> 0.5",
        "compo-\nnents\n> 0.5",
        "mean",
        "largest\nvalue",
        "entropy\n(bits)",
    )
    lines = [
        [
            str(one.path),
            *([name] if channels else []),
            " × ".join(map(str, one.shape[-len(one.spatial_axes) :])),
            one.voxel_size,
            f"{report.number(part.expected_volume)}{f' {sign(part.volume_unit)}' if mixed else ''}\n"
            f"±{report.number(part.volume_std_independent)}\n±{report.number(part.volume_std_comonotone)}",
            report.quantiles(part).replace(" / ", "\n"),
            f"{part.voxels_above_half:,}",
            f"{part.components_above_half:,}",
            f"{part.mean:.4g}",
            f"{part.max:.4g}",
            report.number(part.entropy_bits),
        ]
        for one, name, part in rows
    ]
    title = f"{asked} files" if len(measured) == asked else f"{len(measured)} of {asked} files"
    columns = ("file", *(["channel"] if channels else []), "size", "voxel size", *figures)
    footer = f"components are {'- or '.join(map(str, connectivities))}-connected"
    report.table(title, columns, lines, err=False, footer=footer, figures=len(figures))
