"""softmorph evaluate of two folders: each pair, then the statistics of all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli.cli import evaluation_tables as tables
from softmorph_cli.cli import report
from softmorph_cli.cli.command import complain, complain_of, note, warn
from softmorph_cli.cli.evaluate_options import EvaluateOutput, Pairing
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import SoftmorphError, UsageError
from softmorph_cli.io import documents

if TYPE_CHECKING:
    from softmorph_cli.metrics import evaluation, folders

Class = tuple[int, str | None]


@dataclass(frozen=True)
class _Done:
    """The outcome of comparing two folders.

    Attributes:
        pairs: Name and evaluation of each pair of files that was compared.
        failed: Entries of the JSON for the pairs that could not be compared.
    """

    pairs: list[tuple[str, evaluation.Evaluated]]
    failed: list[dict[str, Any]]

    @property
    def classes(self) -> dict[Class, list[tuple[str, evaluation.ClassMetrics]]]:
        """The rows (metrics) of every class, each with the name of its pair, in the order of labels."""
        rows = [(stem, row) for stem, found in self.pairs for row in found.rows]
        # A class may have a name in some files only.
        names: dict[int, str | None] = {}
        for _, row in rows:
            names[row.label] = names.get(row.label) or row.name
        return {
            (label, names[label]): [entry for entry in rows if entry[1].label == label]
            for label in sorted(names)
        }


def evaluate_folders(
    prediction: Path,
    reference: Path,
    order: evaluation.Evaluation,
    pairing: Pairing,
    apart: Sequence[Path],
    output: EvaluateOutput,
) -> None:
    """Compare the files of two folders that belong to the same case, and print or write the results.

    `apart` are files that are read for every pair, such as a mask. Ends with exit status 1 if a pair could not be
    compared.
    """
    from softmorph_cli.io.nnunet import check_reference
    from softmorph_cli.metrics import case_names, folders
    from softmorph_cli.pipeline.batch.plan import FileSelection, inputs

    names = case_names.CaseNames(pairing.suffix, pairing.pattern)
    mine, its = (
        inputs(FileSelection(folder, folder, apart=tuple(apart))) for folder in (prediction, reference)
    )
    matched = folders.match(prediction, reference, mine, its, names)
    if pairing.strict:
        matched.check_complete()
    check_reference(order.reading.like, [path for _, path, _ in matched.pairs])
    for message in matched.unmatched:
        warn(message)
    for message in () if output.quiet else matched.notes:
        note(message)
    started = time.perf_counter()
    done = _evaluate_all(matched, order, output)
    seconds = time.perf_counter() - started
    if done.pairs:
        _report(f"{prediction} against {reference}", done, matched, order, output, seconds)
    if done.failed:
        raise typer.Exit(1)


def _evaluate_all(matched: folders.Matched, order: evaluation.Evaluation, output: EvaluateOutput) -> _Done:
    done = _Done([], [])

    for stem, reason in matched.ambiguous:
        done.failed.append({"name": stem, "error": {"message": reason}})
        complain(reason)
    with reporting(quiet=output.quiet) as progress:
        for number, (stem, mine, its) in enumerate(matched.pairs):

            def stage(name: str, number: int = number, stem: str = stem) -> None:
                if progress is not None:
                    words = f"pair {number + 1} of {len(matched.pairs)}: {stem}, {name}"
                    progress.stage(words, number, len(matched.pairs))

            try:
                done.pairs.append((stem, order.of_files(mine, its, stage)))
            except UsageError:
                raise
            except (SoftmorphError, MemoryError) as error:
                reason = complain_of(error, mine, its, verbose=output.verbose)
                done.failed.append({"name": stem, "error": {"message": reason}})
    return done


def _report(
    title: str,
    done: _Done,
    matched: folders.Matched,
    order: evaluation.Evaluation,
    output: EvaluateOutput,
    seconds: float,
) -> None:
    from softmorph_cli.metrics import folders

    seed = order.settings.seed
    summaries: dict[Class, dict[str, folders.MetricSummary]] = {}
    warnings = list(matched.unmatched)
    for which, entries in done.classes.items():
        names = dict.fromkeys(name for _, row in entries for name in row.values)
        values = {name: [row.values.get(name) for _, row in entries] for name in names}
        summaries[which] = {name: folders.summarize(one, seed) for name, one in values.items()}
        prefix = "" if tables.plain(list(done.classes)) else f"{tables.class_name(*which)}: "
        warnings += [prefix + message for message in _undefined(entries, values)]
    held = {label for _, found in done.pairs for label in found.held}
    warnings += [
        f"no file holds label {label}: everything of that class is empty."
        for label in order.labels
        if isinstance(label, int) and label not in held
    ]
    for message in warnings[len(matched.unmatched) :]:
        warn(message)
    notes = _noted(done)
    if not output.quiet:
        for message in notes:
            note(message)
    parameters = done.pairs[0][1].parameters
    content = {
        "parameters": dict(parameters),
        "pairs": [_as_dict(stem, found, parameters) for stem, found in done.pairs],
        "summary": [
            {"label": label, "class": name, "metrics": {key: one.as_dict() for key, one in found.items()}}
            for (label, name), found in summaries.items()
        ],
        "interval": folders.description(seed),
        "unmatched": {
            "predictions": list(map(str, matched.predictions)),
            "references": list(map(str, matched.references)),
        },
        "failed": done.failed,
    }
    document = documents.document(
        "evaluate", content, seconds={"evaluate": seconds}, notes=notes, warnings=warnings
    )
    rows = [
        ({"name": stem, "prediction": found.prediction["path"], "reference": found.reference["path"]}, row)
        for stem, found in done.pairs
        for row in found.rows
    ]
    tables.deliver(document, rows, order, output)
    if output.json or output.quiet:
        return
    footer = f"{tables.footer(parameters, seconds, order)}; --csv has every pair"
    for which, found in summaries.items():
        named = "" if tables.plain(list(summaries)) else f", {tables.class_name(*which)}"
        last = which == list(summaries)[-1]
        tables.show_summary(
            title + named, found, order.metrics, footer if last else "", err=output.csv == report.STDOUT
        )


def _as_dict(stem: str, found: evaluation.Evaluated, parameters: Any) -> dict[str, Any]:
    """Return the evaluation of a pair as a JSON object, with its parameters if they differ from `parameters`."""
    own = {} if found.parameters == parameters else {"parameters": dict(found.parameters)}
    return {"name": stem, **found.as_dict(), **own}


def _noted(done: _Done) -> list[str]:
    """Return the notes on all files, each note once with the files that it concerns."""
    files: dict[str, list[str]] = {}
    for stem, found in done.pairs:
        for path, message in found.notes:
            files.setdefault(message, []).append(stem if path is None else str(path))
    return [
        f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {message}"
        for message, names in files.items()
    ]


def _undefined(
    entries: Sequence[tuple[str, evaluation.ClassMetrics]], values: dict[str, list[float | None]]
) -> list[str]:
    """Return warnings about metrics that are undefined for some of the pairs."""
    from softmorph_cli.metrics import folders

    messages = []
    for name, one in values.items():
        missing = [stem for (stem, _), value in zip(entries, one, strict=True) if value is None]
        left = len(one) - len(missing)
        if missing and left:
            messages.append(
                f"{name} is not defined for {len(missing):,} of {len(one):,} pairs ({folders.listed(missing)}): its "
                f"mean, median and interval are those of the other {left:,}."
            )
    return messages
