"""softmorph inspect."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import branches, common, filtering, report
from softmorph_cli.cli.command import command, note, warn
from softmorph_cli.cli.inspect_options import TABLE, Curve, Saving
from softmorph_cli.cli.options import ReadOne
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import ReadOptions, WriteOptions
from softmorph_cli.system import lengths

if TYPE_CHECKING:
    from softmorph_cli.skeleton.analyse import Choices, Inspection
    from softmorph_cli.skeleton.graph import SkeletonGraph
    from softmorph_cli.volume import Volume


@command
def inspect(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="Probability map, or a skeleton.", show_default=False),
    ],
    *,
    top: Annotated[
        int,
        typer.Option(metavar="N", help="Branches in the table; 0 for all of them.", rich_help_panel=TABLE),
    ] = 10,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="The table's order: length (longest first), tortuosity, radius, certainty (least first).",
            rich_help_panel=TABLE,
        ),
    ] = "length",
    curve: Curve,
    saving: Saving,
    reading: ReadOne,
    quiet: Annotated[bool, common.quiet(but="results, warnings and errors")] = False,
    verbose: Annotated[bool, common.verbose()] = False,
) -> None:
    """What is in this skeleton or map: branches with length, radius and certainty, pictures, exports.

    A map's exact centreline is traced, that of skeletonize --hard with cavities filled and thinned to one voxel; the
    map's values along it say how certain each branch is.
    """
    if top < 0:
        raise UsageError(f"--top {top}: give a number of branches, or 0 for all.")
    branches.check_order(sort)
    length = lengths.parse(curve.prune, "--prune") if curve.prune not in (None, "radius") else None
    if curve.resample not in (None, "iso"):
        raise UsageError(f"--resample {curve.resample}: only iso is known.")
    _check(source, curve, saving, reading)
    if sys.stdout.isatty():
        from softmorph_cli.plots.graphics import mode

        mode()  # refuses what SOFTMORPH_PICTURES may not be
    from softmorph_cli.filters.operations import uneven
    from softmorph_cli.pipeline import describe
    from softmorph_cli.skeleton.analyse import STAGES, Choices
    from softmorph_cli.skeleton.analyse import inspect as look
    from softmorph_cli.skeleton.frame import Frame
    from softmorph_cli.skeleton.kind import SKELETON, kind_of

    choices = Choices(
        kind=curve.kind or "map",
        threshold=curve.threshold,
        prune_inside=curve.prune == "radius",
        prune_cycles=curve.prune_cycles,
        levels=curve.levels,
        threads=curve.threads,
    )
    started = time.perf_counter()
    with reporting(quiet=quiet) as progress:

        def stage(name: str) -> None:
            if progress is not None:
                progress.stage(name, STAGES.index(name), len(STAGES))

        stage("reading")
        volume = _read(source, reading) if curve.map_file is None else _read_skeleton(source, reading)
        notes = list(volume.notes)
        if curve.kind is None:
            kind, about = kind_of(volume)
            choices = replace(choices, kind=kind)
            notes += about
        reference = None
        if curve.map_file is not None:
            if choices.kind != SKELETON:
                raise UsageError("--map goes with a skeleton: add --as skeleton, or leave it out.")
            reference = _read(curve.map_file, reading)
            notes += [f"{curve.map_file}: {message}" for message in reference.notes]
        _check_images(saving, volume.axes)
        given = documents.described(volume)
        which = describe.which(volume, reading.time)
        if curve.resample is not None:
            volume = _resampled(volume, source, choices)
        read_seconds = time.perf_counter() - started

        started = time.perf_counter()
        try:
            if length is not None:
                choices = replace(choices, prune=Frame.of(volume).length_of(length))
            found = look(volume, choices, reference=reference, progress=progress, stage=stage)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        inspect_seconds = time.perf_counter() - started
        branches.check_known(found.graph, sort)
        stage("writing")
        warnings = [*found.warnings]
        if choices.kind != SKELETON and curve.resample is None:
            warnings += uneven(volume)
        asked = {**found.parameters, "prune": curve.prune, "resample": curve.resample}
        found = replace(found, parameters={name: v for name, v in asked.items() if v is not None})
        warnings += _write_images(found, volume, saving)
        begin = {
            **documents.head(),
            "input": given | {"path": str(source), "read_with": reading.as_json},
            "map": str(curve.map_file) if curve.map_file else None,
            "parameters": found.parameters,
            "seconds": {"read": read_seconds, "inspect": inspect_seconds},
            "notes": [*notes, *found.notes],
        }
        found = replace(found, warnings=tuple(warnings))
        _draw(found, saving, source, which)
        warnings += _write_texts(found, begin, saving, volume)
    if not quiet:
        for message in (*notes, *found.notes):
            note(message)
    for message in warnings:
        warn(message)
    if not any(path == report.STDOUT for path in saving.texts.values()):
        _show(found, f"{source}{which}", top=top, sort=sort)


def _read(path: Path, reading: ReadOptions) -> Volume:
    from softmorph_cli.skeleton.kind import single

    volume = filtering.read_volume(path, reading)
    try:
        return single(volume)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_skeleton(path: Path, reading: ReadOptions) -> Volume:
    """Read a skeleton whose map is given too: options about values are meant for the map, others perhaps."""
    try:
        return _read(path, reading.only("space"))
    except InputError:
        return _read(path, reading.only("axes", "space", "file"))


def _check(source: Path, curve: Curve, saving: Saving, reading: ReadOptions) -> None:
    """Refuse, before anything is read, what cannot be written."""
    report.check_stdout({f"--{name}": path for name, path in saving.texts.items()})
    files = [path for path in saving.texts.values() if path != report.STDOUT]
    files += saving.others.values()
    if saving.report is not None and saving.report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {saving.report}: a report is a web page; end its name with .html.")
    read = [*reading.files, *([curve.map_file] if curve.map_file is not None else [])]
    images = list(saving.images.values())
    filtering.check_side_outputs(source, read, files, saving.preview, force=saving.force, images=images)
    _check_images(saving, None)


def _check_images(saving: Saving, axes: str | None) -> None:
    from softmorph_cli.io import check_target

    for name, path in saving.images.items():
        kind = "mask" if name == "skeleton" else "labels"
        check_target(path, WriteOptions(output_type=kind, force=saving.force), axes=axes)


def _resampled(volume: Volume, source: Path, choices: Choices) -> Volume:
    from softmorph_cli.filters.resample import isotropic

    if choices.kind != "map":
        raise UsageError("--resample iso goes with a map: a skeleton would come out broken.")
    if volume.spacing is None:
        raise InputError(f"{source} does not say how large its voxels are: leave out --resample iso.")
    made, kept = isotropic(volume), volume.source
    # Its header is that of another grid.
    return made if kept is None else replace(made, source=replace(kept, header=None, provenance={}))


def _write_images(found: Inspection, volume: Volume, saving: Saving) -> list[str]:
    from softmorph_cli.io import write, write_labels
    from softmorph_cli.skeleton import images

    warnings = []
    for name, path in saving.images.items():
        made = {
            "command": "softmorph inspect",
            "version": __version__,
            "parameters": {
                "image": name,
                **({"class": found.graph.name} if found.graph.name else {}),
                **found.parameters,
            },
        }
        if name == "skeleton":
            mask = volume.with_array(images.skeleton_image(found.graph).astype(volume.array.dtype))
            warnings += write(mask, path, output_type="mask", force=saving.force, provenance=made)
        else:
            draw = images.branch_labels if name == "branch_labels" else images.tagged
            warnings += write_labels(
                draw(found.graph), volume, path, WriteOptions(force=saving.force, provenance=made)
            )
    return warnings


def _write_texts(found: Inspection, begin: Mapping[str, Any], saving: Saving, volume: Volume) -> list[str]:
    """Write the exports, the JSON last, so that it holds every warning; return the new ones."""
    from softmorph_cli.skeleton.export.document import document
    from softmorph_cli.skeleton.export.graphml import graphml_text
    from softmorph_cli.skeleton.export.obj import obj_text
    from softmorph_cli.skeleton.export.swc import swc_text
    from softmorph_cli.skeleton.export.table import csv_text

    warnings: list[str] = []

    def swc(graph: SkeletonGraph) -> str:
        # The format knows the micrometre, and by custom the millimetre.
        text, cut = swc_text(graph, "um" if volume.unit in ("um", "nm") else "mm")
        warnings.extend(cut)
        return text

    def everything(graph: SkeletonGraph) -> str:
        return documents.as_json({**begin, **document(graph), "warnings": [*found.warnings, *warnings]})

    make: dict[str, Callable[[SkeletonGraph], str]] = {
        "csv": csv_text,
        "graphml": graphml_text,
        "swc": swc,
        "obj": obj_text,
        "json": everything,
    }
    for name, text in make.items():
        if name in saving.texts:
            report.deliver(text(found.graph), saving.texts[name], force=saving.force)
    return warnings


def _draw(found: Inspection, saving: Saving, source: Path, which: str) -> None:
    if not saving.others:
        return
    from softmorph_cli.plots.graph_preview import preview_graph

    title = f"softmorph inspect {source.name}{which}"
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.parameters.items())
    if saving.preview is not None:
        picture = preview_graph(found.volume, found.graph, title=title, subtitle=words)
        picture.save(saving.preview, force=saving.force)
    if saving.report is not None:
        from softmorph_cli.plots.html.inspection_page import inspection_page

        pictures = {
            "dark": preview_graph(found.volume, found.graph).png(),
            "light": preview_graph(found.volume, found.graph, theme="light").png(),
        }
        of = {"class": found.graph.name} if found.graph.name else {}
        facts = {"file": str(source), **of, "connectivity": str(3**found.volume.spatial_dims - 1)}
        page = inspection_page(found, title=f"{source.name}{which}", facts=facts, pictures=pictures)
        report.deliver(page, saving.report, force=saving.force)


def _show(found: Inspection, title: str, *, top: int, sort: str) -> None:
    """Print the picture and the tables; plain lines where stdout is no terminal."""
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
