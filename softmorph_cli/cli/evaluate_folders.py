"""softmorph evaluate of two folders: pair after pair, then what all of them say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli.cli import evaluation_tables as tables
from softmorph_cli.cli import report
from softmorph_cli.cli.command import complain, note, warn
from softmorph_cli.cli.evaluate_options import Telling
from softmorph_cli.cli.progress import reporting
from softmorph_cli.errors import SoftmorphError, UsageError

if TYPE_CHECKING:
    from softmorph_cli.metrics.evaluate import Evaluated, Order, Row
    from softmorph_cli.metrics.folders import Matched
    from softmorph_cli.metrics.summary import Summary

Class = tuple[int, str | None]


@dataclass(frozen=True)
class _Done:
    """Pairs that were compared, by name, and what the JSON says of those that could not be."""

    pairs: list[tuple[str, Evaluated]]
    failed: list[dict[str, str]]

    @property
    def classes(self) -> dict[Class, list[tuple[str, Row]]]:
        """The rows of every class, with the names of their pairs, in the order of labels."""
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
    prediction: Path, reference: Path, order: Order, apart: Sequence[Path], telling: Telling
) -> None:
    """Compare the files of two folders that have the same name, and tell.

    Args:
        prediction: One folder.
        reference: The other.
        order: What is compared, and how.
        apart: Files that are read for every pair, such as a mask.
        telling: What is written where.

    Raises:
        SoftmorphError: If nothing can be compared.
        typer.Exit: With status 1 if a pair could not be.
    """
    from softmorph_cli.io.nnunet import check_reference
    from softmorph_cli.metrics.folders import match
    from softmorph_cli.pipeline.batch.plan import FileSelection, inputs

    mine, its = (
        inputs(FileSelection(folder, folder, apart=tuple(apart))) for folder in (prediction, reference)
    )
    matched = match(prediction, reference, mine, its)
    check_reference(order.reading.like, [path for _, path, _ in matched.pairs])
    for message in matched.unmatched:
        warn(message)
    started = time.perf_counter()
    done = _evaluate_all(matched, order, telling)
    seconds = time.perf_counter() - started
    if done.pairs:
        _tell(f"{prediction} against {reference}", done, matched, order, telling, seconds)
    if done.failed:
        raise typer.Exit(1)


def _evaluate_all(matched: Matched, order: Order, telling: Telling) -> _Done:
    from softmorph_cli.metrics.evaluate import evaluate_files

    done = _Done([], [])

    def fail(stem: str, reason: str) -> None:
        done.failed.append({"name": stem, "error": reason})
        complain(reason)

    for stem, reason in matched.ambiguous:
        fail(stem, reason)
    with reporting(quiet=telling.quiet) as progress:
        for number, (stem, mine, its) in enumerate(matched.pairs):

            def stage(name: str, number: int = number, stem: str = stem) -> None:
                if progress is not None:
                    words = f"pair {number + 1} of {len(matched.pairs)}: {stem}, {name}"
                    progress.stage(words, number, len(matched.pairs))

            try:
                done.pairs.append((stem, evaluate_files(mine, its, order, stage=stage)))
            except UsageError:
                raise
            except (SoftmorphError, MemoryError) as error:
                if telling.verbose:
                    import traceback

                    report.say(traceback.format_exc(), err=True)
                reason = str(error) or "out of memory: cut out a part with --region."
                fail(stem, reason if str(mine) in reason or str(its) in reason else f"{mine}: {reason}")
    return done


def _tell(title: str, done: _Done, matched: Matched, order: Order, telling: Telling, seconds: float) -> None:
    from softmorph_cli.metrics.summary import description, summarize

    seed = order.settings.seed
    summaries: dict[Class, dict[str, Summary]] = {}
    warnings = list(matched.unmatched)
    for which, entries in done.classes.items():
        names = dict.fromkeys(name for _, row in entries for name in row.values)
        values = {name: [row.values.get(name) for _, row in entries] for name in names}
        summaries[which] = {name: summarize(one, seed) for name, one in values.items()}
        for told in _undefined(entries, values):
            message = told if tables.plain(list(done.classes)) else f"{tables.class_name(*which)}: {told}"
            warnings.append(message)
            warn(message)
    held = {label for _, found in done.pairs for label in found.held}
    for label in order.labels:
        if label not in held:
            message = f"no file holds label {label}: everything of that class is empty."
            warnings.append(message)
            warn(message)
    if not telling.quiet:
        for message in _noted(done):
            note(message)
    parameters = done.pairs[0][1].parameters
    document = {
        **tables.head(),
        "parameters": dict(parameters),
        "pairs": [_as_dict(stem, found, parameters) for stem, found in done.pairs],
        "summary": [
            {"label": label, "name": name, "metrics": {key: one.as_dict() for key, one in found.items()}}
            for (label, name), found in summaries.items()
        ],
        "interval": description(seed),
        "unmatched": {
            "predictions": list(map(str, matched.predictions)),
            "references": list(map(str, matched.references)),
        },
        "failed": done.failed,
        "seconds": seconds,
        "warnings": warnings,
    }
    rows = [
        ({"name": stem, "prediction": found.prediction["path"], "reference": found.reference["path"]}, row)
        for stem, found in done.pairs
        for row in found.rows
    ]
    tables.deliver(document, rows, order, telling)
    if telling.json:
        return
    footer = f"{tables.footer(parameters, seconds, order)}; --csv has every pair"
    for which, found in summaries.items():
        named = "" if tables.plain(list(summaries)) else f", {tables.class_name(*which)}"
        last = which == list(summaries)[-1]
        tables.show_summary(
            title + named, found, order.metrics, footer if last else "", err=telling.csv == report.STDOUT
        )


def _as_dict(stem: str, found: Evaluated, parameters: Any) -> dict[str, Any]:
    """Return a pair for JSON; its parameters only where they are its own."""
    own = {} if found.parameters == parameters else {"parameters": dict(found.parameters)}
    return {"name": stem, **found.as_dict(), **own}


def _noted(done: _Done) -> list[str]:
    """Return what was decided about the files, each sentence once."""
    files: dict[str, list[str]] = {}
    for stem, found in done.pairs:
        for path, told in found.notes:
            files.setdefault(told, []).append(stem if path is None else str(path))
    return [
        f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {told}"
        for told, names in files.items()
    ]


def _undefined(entries: Sequence[tuple[str, Row]], values: dict[str, list[float | None]]) -> list[str]:
    """Say which metrics are not defined for some of the pairs."""
    from softmorph_cli.metrics.folders import some

    told = []
    for name, one in values.items():
        missing = [stem for (stem, _), value in zip(entries, one, strict=True) if value is None]
        left = len(one) - len(missing)
        if missing and left:
            told.append(
                f"{name} is not defined for {len(missing):,} of {len(one):,} pairs ({some(missing)}): its mean, median "
                f"and interval are those of the other {left:,}."
            )
    return told
