"""softmorph evaluate."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import answer, filtering, report
from softmorph_cli.cli import evaluation_tables as tables
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.evaluate_options import EvaluateOutput, Measurement, Pairing, Selection
from softmorph_cli.cli.options import ReadBoth
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import FileError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import WriteOptions, number_or_name

if TYPE_CHECKING:
    from softmorph_cli.metrics import evaluation

# POT imports these array libraries where they are installed, PyTorch in two seconds; here it gets NumPy arrays only.
# Set for the command alone: in Python the process may use POT with them.
_UNUSED = ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")
# Metrics that the picture names, where they are computed.
_SHOWN = ("dice", "cldice", "tree_length_detected")


def evaluate(
    prediction: Annotated[
        Path | None,
        typer.Argument(
            metavar="PRED",
            help="Predicted probability map, mask or label map, or a folder of them.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Argument(
            metavar="REF",
            help="Reference: mask or label map, or a folder of them; case.npz goes with case.nii.gz.",
            show_default=False,
        ),
    ] = None,
    *,
    selection: Selection,
    pairing: Pairing,
    measurement: Measurement,
    output: EvaluateOutput,
    opening: ReadBoth,
) -> None:
    """How well a prediction agrees with a reference: overlap, centrelines, topology, graphs, surfaces.

    Two files, or two folders matched by name. Label maps and files of several classes are compared class by class.
    Options of reading are for PRED; --axes, --channel-axis, --per-slice, --region and --mask for REF too.
    """
    report.check_stdout({"--json": output.json, "--csv": output.csv})
    if selection.explain:
        if prediction is not None:
            raise UsageError("--explain goes without files.")
        _explain(output)
        return
    if prediction is None or reference is None:
        raise UsageError(
            "give PRED and REF, two files or two folders; softmorph evaluate --explain says what is measured."
        )
    from softmorph_cli.api.analysis import order_of

    for backend in _UNUSED:
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    folders = [filtering.is_folder(path) for path in (prediction, reference)]
    if any(folders) and not all(folders):
        folder, other = (prediction, reference) if folders[0] else (reference, prediction)
        if not other.exists():
            raise FileError(f"{other} does not exist.")
        raise UsageError(f"{folder} is a folder and {other} is a file: give two files or two folders.")
    if not all(folders) and pairing != Pairing():
        raise UsageError("--suffix, --pattern and --strict go with two folders: leave them out.")
    _check_outputs(prediction, reference, opening, output, folder=all(folders))
    order = order_of(
        None if selection.metrics is None else [name.strip() for name in selection.metrics.split(",")],
        [number_or_name(label) for label in selection.label or ()],
        reading=opening,
        strict=not any(folders),
        error_map=output.error_map is not None,
        keep_pair=output.preview is not None,
        same_grid=selection.same_grid,
        expensive=selection.expensive,
        patches=selection.patches,
        **vars(measurement),
    )
    if all(folders):
        from softmorph_cli.cli.evaluate_folders import evaluate_folders

        evaluate_folders(prediction, reference, order, pairing, opening.files, output)
    else:
        _files(prediction, reference, order, output, opening)


def _check_outputs(
    prediction: Path, reference: Path, opening: ReadBoth, output: EvaluateOutput, *, folder: bool
) -> None:
    """Refuse outputs that cannot be written, before anything is read."""
    files = [
        path
        for path in (output.csv, output.json_file, output.preview)
        if path is not None and path != report.STDOUT
    ]
    images = [output.error_map] if output.error_map is not None else []
    filtering.check_side_outputs(
        prediction,
        [reference, *opening.files],
        files,
        output.preview,
        force=output.force,
        images=images,
        pictures=output,
    )
    if output.projection in ("maximum", "mean"):
        raise UsageError(
            f"--projection {output.projection}: the picture tells what most voxels along a line of sight are; give "
            "slice or the thickness of a slab, such as --projection 5vox, or leave it out."
        )
    if folder and (images or output.preview is not None):
        option = "--error-map" if images else "--preview"
        raise UsageError(f"{option} is for one pair: give two files with it, or leave it out.")
    for path in images:
        from softmorph_cli.io.formats import check_target

        check_target(path, WriteOptions(output_type="labels", force=output.force))


def _explain(output: EvaluateOutput) -> None:
    from softmorph_cli.metrics.registry import METRICS

    content = {"definitions": tables.explanations(METRICS)}
    answer.give(documents.document("evaluate", content, seconds={}), output)
    if not (output.json or output.quiet):
        tables.explain(METRICS)


def _files(
    prediction: Path,
    reference: Path,
    order: evaluation.Evaluation,
    output: EvaluateOutput,
    opening: ReadBoth,
) -> None:
    started = time.perf_counter()
    with reporting(quiet=output.quiet) as progress:
        # Reading, every metric, and the map.
        stages = [0, 1 + len(order.metrics) * max(1, len(order.labels))]

        def stage(name: str) -> None:
            if progress is not None:
                progress.stage(name, min(stages[0], stages[1] - 1), stages[1])
            stages[0] += 1

        found = order.of_files(prediction, reference, stage)
    mapped, lost = _write_error_map(found, output.error_map, order, force=output.force)
    names = [path.name for path in (prediction, reference)]
    # Two files of one name are told apart by their folders.
    names = names if names[0] != names[1] else [str(prediction), str(reference)]
    _draw(found, f"softmorph evaluate {' '.join(names)}", output, opening)
    seconds = time.perf_counter() - started
    warnings = [*lost, *(_of_class(row, found.rows, message) for row in found.rows for message in row.notes)]
    if not output.quiet:
        for path, message in found.notes:
            note(message if path is None else f"{path}: {message}")
    for message in warnings:
        warn(message)
    told = found.as_dict()
    content = {
        **{name: value for name, value in told.items() if name != "notes"},
        "parameters": dict(found.parameters),
        **({"error_map": mapped} if mapped else {}),
    }
    document = documents.document(
        "evaluate", content, seconds={"evaluate": seconds}, notes=told["notes"], warnings=warnings
    )
    begin = {"prediction": prediction, "reference": reference}
    tables.deliver(document, [(begin, row) for row in found.rows], order, output)
    if output.json or output.quiet or output.csv == report.STDOUT:
        return
    title = f"{prediction} against {reference}"
    if len(found.rows) == 1:
        title += _class_of(found.rows[0])
    tables.show_pair(title, found.rows, order.metrics, tables.footer(found.parameters, seconds, order))
    if mapped:
        lines = [[kind["what"], f"{kind['regions']:,}"] for kind in mapped["kinds"]]
        report.table(f"where topology is wrong → {output.error_map}", ("", "regions"), lines, err=False)


def _draw(found: evaluation.Evaluated, title: str, output: EvaluateOutput, opening: ReadBoth) -> None:
    """Write the picture of where the two maps disagree, if one was requested."""
    if found.pair is None or output.preview is None:
        return
    from softmorph_cli.plots.agreement import Compared, preview_agreement
    from softmorph_cli.plots.preview import settle

    pair = found.pair
    mine, its = (Compared(*one) for one in zip((pair.predicted, pair.truth), pair.graphs, strict=True))
    shown = {
        name: value for name, value in found.rows[0].values.items() if name in _SHOWN and value is not None
    }
    words = " \u00b7 ".join(f"{name} {value:.3f}" for name, value in shown.items())
    look = output.of_file(output.preview)
    backdrop = settle(look, pair.prediction, opening, title)
    title += _class_of(found.rows[0])
    picture = preview_agreement(
        mine, its, pair.prediction, title=title, subtitle=words, look=look, backdrop=backdrop
    )
    picture.save(output.preview, force=output.force)


def _class_of(row: evaluation.ClassMetrics) -> str:
    """Return the class for the end of a title; "" for a mask, which has none."""
    if row.label is None or not (row.name or row.label > 1):
        return ""
    return f", {tables.class_name(row.label, row.name)}"


def _of_class(row: evaluation.ClassMetrics, rows: Sequence[evaluation.ClassMetrics], message: str) -> str:
    return message if len(rows) == 1 else f"{tables.class_name(row.label, row.name)}: {message}"


def _write_error_map(
    found: evaluation.Evaluated, path: Path | None, order: evaluation.Evaluation, *, force: bool
) -> tuple[dict[str, Any], list[str]]:
    """Write the error map; return its entry of the JSON, and warnings about metadata that its file cannot store."""
    from softmorph_cli.io.writing import write_labels

    if found.error_map is None or path is None:
        return {}, []
    by_threshold = found.parameters["decision"] == "threshold"
    how = "threshold" if by_threshold else "decision"
    cut = {how: found.parameters[how]}
    parameters = {**cut, "connectivity": order.settings.connectivity}
    made = {"command": "softmorph evaluate", "version": __version__, "parameters": parameters}
    options = WriteOptions(force=force, provenance=made)
    lost = write_labels(found.error_map.labels, found.error_map.place, path, options)
    return {"path": str(path), "kinds": found.error_map.as_list()}, list(lost)
