"""softmorph inspect."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import answer, branches, common, filtering, inspect_cohort, report
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.inspect_options import TABLE, Curve, InspectOutput
from softmorph_cli.cli.options import ReadOne
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import ReadOptions, WriteOptions
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.system.printable import csv_text

if TYPE_CHECKING:
    from softmorph_cli.plots.preview import Backdrop
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.volume import Volume


def inspect(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Probability map or skeleton; several, or a folder, become the rows of one table.",
            show_default=False,
        ),
    ],
    *,
    top: Annotated[int, Parameter("Branches in the table; 0 for all of them.", "N", group=TABLE)] = 10,
    sort: Annotated[
        str,
        Parameter(
            "The table's order: length (longest first), tortuosity, radius, certainty (least first).",
            "KEY",
            group=TABLE,
            words=tuple(branches.ORDERS),
        ),
    ] = "length",
    recursive: Annotated[
        bool, Parameter("Of a folder: read the folders in it too.", flags=("--recursive",))
    ] = False,
    curve: Curve,
    output: InspectOutput,
    reading: ReadOne,
    quiet: Annotated[bool, common.QUIET] = False,
    verbose: Annotated[bool, common.VERBOSE] = False,
) -> None:
    """What is in this skeleton or map: branches with length, radius and certainty, pictures, exports.

    A map's exact centreline is traced, that of skeletonize --hard with cavities filled and thinned to one voxel; the
    map's values along it say how certain each branch is.

    Of several files, --csv, --summary and --components are tables with the file and the class of each row, and --report
    is one page of all cases. A file that fails does not stop the others; the exit status is then 1.
    """
    if top < 0:
        raise UsageError(f"--top {top}: give a number of branches, or 0 for all.")
    branches.check_order(sort)
    from softmorph_cli.skeleton.tracing import Tracing

    tracing = Tracing(**{name: value for name, value in vars(curve).items() if name != "map_file"})
    report.check_stdout({"--json": output.json} | {f"--{name}": path for name, path in output.texts.items()})
    if len(sources) > 1 or inspect_cohort.is_folder(sources[0]):
        if (top, sort) != (10, "length"):
            raise UsageError(
                "--top and --sort are of the table of one file's branches: name one file with them, or leave them out."
            )
        files = inspect_cohort.files_of(sources, reading, recursive=recursive)
        inspect_cohort.check(files, curve, output, reading)
        inspect_cohort.inspect_all(files, tracing, output, reading, quiet=quiet, verbose=verbose)
        return
    source = sources[0]
    if recursive:
        raise UsageError(f"--recursive is of folders, and {source} is a file: leave it out.")
    _check(source, curve, output, reading)
    if sys.stdout.isatty():
        from softmorph_cli.plots.graphics import mode

        mode()  # raises for an invalid SOFTMORPH_PICTURES
    from softmorph_cli.pipeline import describe
    from softmorph_cli.skeleton import analyse, export

    started = time.perf_counter()
    with reporting(quiet=quiet) as progress:

        def stage(name: str) -> None:
            if progress is not None:
                progress.stage(name, analyse.STAGES.index(name), len(analyse.STAGES))

        stage("reading")
        volume = _read(source, reading) if curve.map_file is None else _read_skeleton(source, reading)
        notes = list(volume.notes)
        notes += tracing.settle(volume)
        reference = None
        if curve.map_file is not None:
            tracing.check_reference()
            reference = _read(curve.map_file, reading)
            notes += [f"{curve.map_file}: {message}" for message in reference.notes]
        _check_images(output, volume.axes)
        backdrop = None
        if output.preview is not None:
            from softmorph_cli.plots.preview import settle

            backdrop = settle(output, volume, reading, str(source))
            if backdrop is not None and tracing.resample is not None:
                backdrop = backdrop.isotropic(volume)
        which = describe.which(volume, reading.time)
        read_seconds = time.perf_counter() - started

        started = time.perf_counter()
        try:
            found = tracing.run(volume, reference, progress, stage)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        inspect_seconds = time.perf_counter() - started
        branches.check_known(found.graph, sort)
        stage("writing")
        found = replace(found, parameters={k: v for k, v in found.parameters.items() if v is not None})
        warnings = [*found.warnings, *_write_images(found, output)]
        content = {
            "input": documents.described(volume) | {"path": str(source), "read_with": reading.as_json},
            "map": {"path": str(curve.map_file)} if curve.map_file else None,
            "parameters": found.parameters,
        }
        found = replace(found, warnings=tuple(warnings))
        _draw(found, output, source, which, backdrop)
        warnings += _write_texts(found, source, output)
        notes += found.notes
        content |= export.document(found.graph)
        seconds = {"read": read_seconds, "inspect": inspect_seconds}
        # Last, so that it contains every warning.
        document = documents.document("inspect", content, seconds=seconds, notes=notes, warnings=warnings)
        answer.give(document, output)
    if not quiet:
        for message in notes:
            note(message)
    for message in warnings:
        warn(message)
    if not (output.json or quiet or any(path == report.STDOUT for path in output.texts.values())):
        _show(found, f"{source}{which}", top=top, sort=sort)


def _read(path: Path, reading: ReadOptions) -> Volume:
    from softmorph_cli.io import select

    volume = filtering.read_volume(path, reading)
    try:
        return select.single(volume)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_skeleton(path: Path, reading: ReadOptions) -> Volume:
    """Return a skeleton that is read beside its map: options on values are ignored, others used if needed."""
    try:
        return _read(path, reading.only("space"))
    except InputError:
        return _read(path, reading.only("axes", "space", "file"))


def _check(source: Path, curve: Curve, output: InspectOutput, reading: ReadOptions) -> None:
    """Refuse outputs that cannot be written, before anything is read."""
    files = [path for path in output.texts.values() if path != report.STDOUT]
    files += output.others.values()
    if output.report is not None:
        from softmorph_cli.pipeline.steps.page import check_page

        check_page(output.report)
    read = [*reading.files, *([curve.map_file] if curve.map_file is not None else [])]
    images = list(output.images.values())
    filtering.check_side_outputs(
        source, read, files, output.preview, force=output.force, images=images, pictures=output
    )
    _check_images(output, None)
    if output.color == "generation" and curve.root is None:
        raise UsageError("--color generation is counted from a root: add --root widest.")


def _check_images(output: InspectOutput, axes: str | None) -> None:
    from softmorph_cli.io.formats import check_target

    for name, path in output.images.items():
        kind = "mask" if name == "skeleton" else "labels"
        check_target(path, WriteOptions(output_type=kind, force=output.force), axes=axes)


def _write_images(found: analyse.Inspection, output: InspectOutput) -> list[str]:
    from softmorph_cli.io.writing import write, write_labels
    from softmorph_cli.skeleton import export

    warnings = []
    for name, path in output.images.items():
        made = {
            "command": "softmorph inspect",
            "version": __version__,
            "parameters": {
                "image": name,
                **({"class": found.graph.name} if found.graph.name else {}),
                **found.parameters,
            },
        }
        image = export.image(found.graph, name)
        if name == "skeleton":
            mask = found.volume.with_array(image.astype(found.volume.array.dtype))
            warnings += write(mask, path, output_type="mask", force=output.force, provenance=made)
        else:
            options = WriteOptions(force=output.force, provenance=made)
            warnings += write_labels(image, found.volume, path, options)
    return warnings


def _write_texts(found: analyse.Inspection, source: Path, output: InspectOutput) -> list[str]:
    """Write the exports, and return the new warnings."""
    from softmorph_cli.skeleton import export

    warnings: list[str] = []
    for name in export.TEXTS:
        if name in output.texts:
            text, lost = export.text(found.graph, name)
            warnings += lost
            report.deliver(text, output.texts[name], force=output.force)
    for name in (name for name in ("summary", "components") if name in output.texts):
        columns = export.cases.header(name, found.graph)
        rows = export.cases.rows(name, source, found.graph, found.warnings)
        text = csv_text(rows, columns)
        report.deliver(text, output.texts[name], force=output.force)
    return warnings


def _draw(
    found: analyse.Inspection, output: InspectOutput, source: Path, which: str, backdrop: Backdrop | None
) -> None:
    if output.preview is None and output.report is None:
        return
    from softmorph_cli.plots.graph_preview import preview_graph

    title = f"softmorph inspect {source.name}{which}"
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.parameters.items())
    if output.preview is not None:
        picture = preview_graph(
            *(found.volume, found.graph),
            title=title,
            subtitle=words,
            look=output.of_file(output.preview),
            backdrop=backdrop,
            color=output.color,
        )
        picture.save(output.preview, force=output.force)
    if output.report is not None:
        from softmorph_cli.pipeline.steps.page import page_of

        report.deliver(page_of(found, source, which), output.report, force=output.force)


def _show(found: analyse.Inspection, title: str, *, top: int, sort: str) -> None:
    """Print the picture and the tables of an inspection, as plain lines where stdout is no terminal."""
    if sys.stdout.isatty():
        branches.picture(found)
    report.table(title, ("", ""), branches.summary(found.graph), err=False, footer=branches.words(found))
    columns, lines = branches.table(found.graph, top=top, sort=sort)
    if lines:
        left = len(found.graph.branches) - len(lines)
        more = "1 more branch" if left == 1 else f"{left:,} more branches"
        footer = f"{more}; --top 0 shows all, --csv PATH writes them" if left else ""
        report.table(
            branches.heading(sort), columns, lines, err=False, footer=footer, figures=len(columns) - 1
        )
    columns, lines = branches.components(found.graph)
    if lines:
        report.table("components, longest first", columns, lines, err=False)
