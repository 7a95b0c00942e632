"""softmorph evaluate."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import evaluation_tables as tables
from softmorph_cli.cli import filtering, report
from softmorph_cli.cli.command import command, note, warn
from softmorph_cli.cli.evaluate_options import Comparing, Measuring, Telling
from softmorph_cli.cli.options import ReadBoth
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import FileError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.system import lengths

if TYPE_CHECKING:
    from softmorph_cli.metrics import evaluation

# POT loads whichever of these is installed, to compute with its arrays too; nobody does here, and PyTorch alone takes
# two seconds. A process that uses POT itself must not find them gone, so this is no matter of the metric.
_UNUSED = ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")


@command
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
            help="What is true: mask or label map, or a folder; case.npz goes with case.nii.gz.",
            show_default=False,
        ),
    ] = None,
    *,
    comparing: Comparing,
    measuring: Measuring,
    telling: Telling,
    opening: ReadBoth,
) -> None:
    """How well a prediction agrees with a reference: overlap, centrelines, topology, graphs, surfaces.

    Two files, or two folders matched by name. Label maps and files of several classes are compared class by class.
    Options of reading are for PRED; --axes, --channel-axis, --per-slice, --region and --mask for REF too.
    """
    report.check_stdout({"--json": telling.json, "--csv": telling.csv})
    if telling.stats == report.STDOUT:
        raise UsageError("--stats - names no file: --json prints the JSON on stdout.")
    if comparing.explain:
        if prediction is not None:
            raise UsageError("--explain goes without files.")
        _explain(telling)
        return
    if prediction is None or reference is None:
        raise UsageError(
            "give PRED and REF, two files or two folders; softmorph evaluate --explain says what is measured."
        )
    for backend in _UNUSED:
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    folders = [_is_folder(path) for path in (prediction, reference)]
    if any(folders) and not all(folders):
        folder, other = (prediction, reference) if folders[0] else (reference, prediction)
        if not other.exists():
            raise FileError(f"{other} does not exist.")
        raise UsageError(f"{folder} is a folder and {other} is a file: give two files or two folders.")
    _check_outputs(prediction, reference, opening, telling, folder=all(folders))
    order = _order(comparing, measuring, telling, opening, strict=not any(folders))
    if all(folders):
        from softmorph_cli.cli.evaluate_folders import evaluate_folders

        evaluate_folders(prediction, reference, order, opening.files, telling)
    else:
        _files(prediction, reference, order, telling)


def _is_folder(path: Path) -> bool:
    from softmorph_cli.system.files import is_store

    try:
        return path.is_dir() and not is_store(path)
    except OSError:  # a name too long
        return False


def _check_outputs(
    prediction: Path, reference: Path, opening: ReadBoth, telling: Telling, *, folder: bool
) -> None:
    """Refuse, before anything is read, what cannot be written."""
    files = [path for path in (telling.csv, telling.stats) if path is not None and path != report.STDOUT]
    images = [telling.error_map] if telling.error_map is not None else []
    filtering.check_side_outputs(
        prediction, [reference, *opening.files], files, None, force=telling.force, images=images
    )
    if folder and images:
        raise UsageError("--error-map is for one pair: give two files with it, or leave it out.")
    for path in images:
        from softmorph_cli.io import check_target

        check_target(path, WriteOptions(output_type="labels", force=telling.force))


def _order(
    comparing: Comparing, measuring: Measuring, telling: Telling, opening: ReadBoth, *, strict: bool
) -> evaluation.Evaluation:
    from softmorph_cli.metrics import evaluation

    tolerance = measuring.tolerance
    names = comparing.metrics
    return evaluation.Evaluation(
        settings=evaluation.MetricSettings(
            **({} if measuring.threshold is None else {"threshold": measuring.threshold}),
            connectivity=measuring.connectivity,
            method=measuring.method,
            iterations=measuring.iterations,
            expensive=comparing.expensive,
            patches=comparing.patches,
            seed=measuring.seed,
            threads=measuring.threads,
        ),
        tolerance=None if tolerance is None else lengths.parse(tolerance, "--tolerance"),
        names=None if names is None else tuple(name.strip() for name in names.split(",")),
        labels=tuple(comparing.label or ()),
        same_grid=comparing.same_grid,
        reading=opening,
        strict=strict,
        error_map=telling.error_map is not None,
        argmax=measuring.threshold is None,
    )


def _explain(telling: Telling) -> None:
    from softmorph_cli.metrics.registry import METRICS

    if telling.json:
        typer.echo(documents.as_json({**documents.head(), "metrics": tables.explanations(METRICS)}))
    else:
        tables.explain(METRICS)


def _files(prediction: Path, reference: Path, order: evaluation.Evaluation, telling: Telling) -> None:
    started = time.perf_counter()
    with reporting(quiet=telling.quiet) as progress:
        # Reading, every metric, and the map.
        stages = [0, 1 + len(order.metrics) * max(1, len(order.labels))]

        def stage(name: str) -> None:
            if progress is not None:
                progress.stage(name, min(stages[0], stages[1] - 1), stages[1])
            stages[0] += 1

        found = order.of_files(prediction, reference, stage)
    mapped, lost = _write_error_map(found, telling.error_map, order, force=telling.force)
    seconds = time.perf_counter() - started
    warnings = [*lost, *(_of_class(row, found.rows, told) for row in found.rows for told in row.notes)]
    if not telling.quiet:
        for path, told in found.notes:
            note(told if path is None else f"{path}: {told}")
    for message in warnings:
        warn(message)
    document = {
        **tables.head(),
        **found.as_dict(),
        "parameters": dict(found.parameters),
        **({"error_map": mapped} if mapped else {}),
        "seconds": seconds,
        "warnings": warnings,
    }
    begin = {"prediction": prediction, "reference": reference}
    tables.deliver(document, [(begin, row) for row in found.rows], order, telling)
    if telling.json or telling.csv == report.STDOUT:
        return
    title = f"{prediction} against {reference}"
    tables.show_pair(title, found.rows, order.metrics, tables.footer(found.parameters, seconds, order))
    if mapped:
        lines = [[kind["what"], f"{kind['regions']:,}"] for kind in mapped["kinds"]]
        report.table(f"where topology is wrong → {telling.error_map}", ("", "regions"), lines, err=False)


def _of_class(row: evaluation.ClassMetrics, rows: Sequence[evaluation.ClassMetrics], told: str) -> str:
    return told if len(rows) == 1 else f"{tables.class_name(row.label, row.name)}: {told}"


def _write_error_map(
    found: evaluation.Evaluated, path: Path | None, order: evaluation.Evaluation, *, force: bool
) -> tuple[dict[str, Any], list[str]]:
    """Write the error map, if there is one; return its JSON, and what the file cannot hold."""
    from softmorph_cli.io import write_labels

    if found.error_map is None or path is None:
        return {}, []
    by_threshold = found.parameters["decision"] == "threshold"
    cut = {"threshold": found.parameters["threshold"]} if by_threshold else {"decision": "argmax"}
    parameters = {**cut, "connectivity": order.settings.connectivity}
    made = {"command": "softmorph evaluate", "version": __version__, "parameters": parameters}
    options = WriteOptions(force=force, provenance=made)
    lost = write_labels(found.error_map.labels, found.error_map.place, path, options)
    return {"path": str(path), "kinds": found.error_map.as_list()}, list(lost)
