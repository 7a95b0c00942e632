"""The tables, the page and the merged summary of a batch, which are made of the entries of all files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from softmorph_cli.errors import FileError, UsageError
from softmorph_cli.pipeline.batch import manifest, plan, summary, tables
from softmorph_cli.pipeline.batch.manifest import DONE, FAILED

if TYPE_CHECKING:
    from softmorph_cli.pipeline.batch.request import BatchRequest


def write(batch: BatchRequest, entries: Mapping[str, summary.FileEntry]) -> list[Path]:
    """Write the tables and the page of all files; the page of a batch in parts is not written before these are merged.

    Returns:
        The paths of the tables.

    Raises:
        FileError: If a file cannot be written.
    """
    folder = batch.selection.target
    found = tables.write(folder, entries, batch.tag)
    if batch.report is not None and batch.parts == 1:
        from softmorph_cli.pipeline.batch import report

        steps = " \u2192 ".join(one.operation for one in batch.recipe.filters)
        report.write(batch.report, folder, entries, found, steps)
    return list(tables.paths(folder, found, batch.tag).values())


def summarize(batch: BatchRequest) -> summary.BatchSummary:
    """Merge the manifests of all parts of a batch, write the summary of the whole batch, and return it.

    Raises:
        FileError: If the output folder contains no manifest.
        UsageError: If a single part of the batch is requested.
    """
    folder = batch.selection.target
    if batch.parts > 1:
        raise UsageError("--summarize merges all parts: leave out --num-parts and --part-id.")
    records, _ = manifest.known(folder)
    if not records:
        raise FileError(f"{folder} holds no manifest of a batch; run the batch, or name its output folder.")
    entries = {
        name: summary.FileEntry(
            input=str(batch.selection.source / name),
            output=str(folder / record.target),
            status={DONE: "done", FAILED: "failed"}.get(record.state, "not finished"),
            row=record.row,
        )
        for name, record in records.items()
    }
    if batch.selection.source.is_dir():
        for job in plan.jobs(batch.selection, None):
            entries.setdefault(
                job.name, summary.FileEntry(str(job.source), str(job.target), summary.NOT_RUN, {})
            )
    parameters = batch.recipe.parameters if batch.recipe.filters else {}
    done = summary.BatchSummary(parameters, [entries[name] for name in sorted(entries)])
    summary.save(done, folder, "")
    written = write(batch, {name: entries[name] for name in sorted(entries)})
    return replace(done, tables=written)
