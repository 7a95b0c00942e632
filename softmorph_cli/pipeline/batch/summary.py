"""The summary of a batch: one row for each file, as CSV and as JSON."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from softmorph_cli.io import documents
from softmorph_cli.metrics import volume_columns
from softmorph_cli.system.files import open_own, writing_text
from softmorph_cli.system.printable import csv_text

# The same columns in every batch in mm, so that tables can be concatenated.
_FIGURES: Final = (
    *("expected_voxels", "expected_area_mm2", "std_area_mm2", "expected_volume_mm3", "std_volume_mm3"),
    *("voxels_above_half", "components_above_half", "max"),
)
# Of the step interpolate: the slices that were missing, and how well a prior fits.
_INVENTED: Final = ("invented_slices", "prior_agreement", "left_out_prior", "left_out_logit")
COLUMNS: Final = (
    *("input", "output", "status", "error", "warnings", "seconds"),
    *("seconds_read", "seconds_filter", "seconds_write", "axes", "shape", "iterations"),
    *(f"{name}_{when}" for name in _FIGURES for when in ("before", "after")),
    "connectivity",
    *(f"{name}_{when}" for name in volume_columns.SPREAD for when in ("before", "after")),
    *_INVENTED,
    "warning_texts",
)
GOOD: Final = ("done", "skipped")
NOT_RUN: Final = "not run"
_JSON: Final = re.compile(r"summary(-\d+-of-\d+)?\.json")


@dataclass(frozen=True)
class FileEntry:
    """An entry of the summary, for one file of the batch.

    Attributes:
        input: Path of the input file.
        output: Path of the result file.
        status: Status of the file: "done", "skipped" (done before), "failed", "not run" or "not finished".
        row: Statistics, run times, warnings and error of the file, by name.
    """

    input: str
    output: str
    status: str
    row: Mapping[str, Any]

    @property
    def error(self) -> str | None:
        """The reason why the file failed, in one sentence; None if it did not fail."""
        error = self.row.get("error")
        return None if error is None else str(error)

    @property
    def poor_fit(self) -> bool:
        """Whether a prior agrees with the observed slices less than requested."""
        return bool(self.row.get("not_reached")) and "prior_agreement" in self.row

    @property
    def below_logit(self) -> bool:
        """Whether a prior finds slices that were left out worse than the interpolation of logits does."""
        prior, logit = (self.row.get(f"left_out_{name}") for name in ("prior", "logit"))
        return isinstance(prior, float) and isinstance(logit, float) and prior < logit


@dataclass(frozen=True)
class BatchSummary:
    """The summary of a batch.

    Attributes:
        parameters: The parameters of the batch.
        entries: The entries of all files, sorted by name.
        tables: The tables that were merged of all parts; empty if the batch was run.
    """

    parameters: Mapping[str, Any]
    entries: Sequence[FileEntry]
    tables: Sequence[Path] = ()

    @property
    def counts(self) -> Counter[str]:
        """The number of files of each status."""
        return Counter(entry.status for entry in self.entries)

    @property
    def bad(self) -> list[FileEntry]:
        """The entries of files without an up-to-date result."""
        return [entry for entry in self.entries if entry.status not in GOOD]

    @property
    def document(self) -> dict[str, Any]:
        """The summary as a JSON document."""
        counts = self.counts
        names = ("done", "skipped", "failed", "not run", "not finished")
        content = {
            "parameters": dict(self.parameters),
            "counts": {name.replace(" ", "_"): counts[name] for name in names},
            "files": [_described(one) for one in self.entries],
        }
        times = [one.row.get("seconds", 0.0) for one in self.entries]
        seconds = {"processing": sum((time for time in times if isinstance(time, float)), 0.0)}
        return documents.document("batch", content, seconds=seconds)

    @property
    def table(self) -> str:
        """The summary as a CSV table."""
        rows = [_cells(entry) for entry in self.entries]
        others = [f"{name}_{when}" for name in volume_columns.OTHER_UNITS for when in ("before", "after")]
        columns = [*COLUMNS, *(name for name in others if any(name in row for row in rows))]
        return csv_text(rows, columns)


def _described(entry: FileEntry) -> dict[str, Any]:
    """Return the JSON of a file, in the fields of the other commands."""
    row = dict(entry.row)
    stages = [name for name in row if name.startswith("seconds_")]
    seconds = {name.removeprefix("seconds_"): row.pop(name) for name in stages}
    if "seconds" in row:
        row["seconds"] = {**seconds, "total": row["seconds"]}
    if row.get("error") is not None:
        row["error"] = {"message": row["error"]}
    if "iterations" in row:
        # A manifest is a file, whose lists need not be of equal length.
        pairs = zip_longest(row.pop("iterations"), row.pop("stop_reasons", ()))
        row["steps"] = [{"iterations": count, "stop_reason": reason} for count, reason in pairs]
    for when in ("before", "after"):
        if when in row:
            row[when] = volume_columns.statistics(row[when])
    input_, output = ({"path": path} for path in (entry.input, entry.output))
    return {
        "input": input_ | {name: row.pop(name) for name in ("shape", "axes") if name in row},
        "output": output | ({"shape": row.pop("output_shape")} if "output_shape" in row else {}),
        "status": entry.status,
        **row,
    }


def _path_of(place: Any) -> str:
    """Return the path of a file in a summary; one of schema 1, or of an earlier schema 2, has it as a text."""
    return str(place["path"] if isinstance(place, Mapping) else place)


def paths(folder: Path, tag: str) -> tuple[Path, Path]:
    """Return the paths of the CSV and JSON files of a summary; `tag` identifies the part of the batch ("" if whole)."""
    return folder / f"summary{tag}.csv", folder / f"summary{tag}.json"


@dataclass(frozen=True)
class ListedResult:
    """A result that is listed in the summary of an earlier batch.

    Attributes:
        parameters: The parameters of the batch that made the result.
        when: Time when the summary was written, in nanoseconds since 1970; a file that is newer is not this result.
    """

    parameters: Mapping[str, Any]
    when: int


def listed(folder: Path) -> dict[tuple[str, ...], ListedResult]:
    """Return the results that the summaries in a folder list, by `Path.parts` of their paths as typed by the user.

    These results are used if the manifest was lost. Summaries that cannot be read are ignored.
    """
    found: dict[tuple[str, ...], ListedResult] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _JSON.fullmatch(path.name) is None:
            continue
        try:
            with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
                document, when = json.load(file), os.fstat(file.fileno()).st_mtime_ns
            parameters, entries = document["parameters"], document["files"]
            made = [Path(_path_of(entry["output"])).parts for entry in entries if entry["status"] in GOOD]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if isinstance(parameters, dict):
            found.update(dict.fromkeys(made, ListedResult(parameters, when)))
    return found


def save(summary: BatchSummary, folder: Path, tag: str) -> None:
    """Write the CSV and the JSON file of a summary to a folder, replacing each file atomically.

    Raises:
        FileError: If a file cannot be written.
    """
    document = documents.as_json(summary.document) + "\n"
    for path, content in zip(paths(folder, tag), (summary.table, document), strict=True):
        with writing_text(path, force=True, follow=False) as stream:
            stream.write(content)


def _cells(entry: FileEntry) -> dict[str, Any]:
    row = entry.row
    cells: dict[str, Any] = {
        "input": entry.input,
        "output": entry.output,
        "status": entry.status,
        "error": entry.error or "",
        "warnings": len(row.get("warnings", ())),
        "shape": " ".join(map(str, row.get("shape", ()))),
        "iterations": " ".join(map(str, row.get("iterations", ()))),
        "connectivity": row.get("after", {}).get("connectivity", ""),
        "warning_texts": " | ".join(map(str, row.get("warnings", ()))),
    }
    for name in ("seconds", "seconds_read", "seconds_filter", "seconds_write", "axes", *_INVENTED):
        cells[name] = row.get(name, "")
    for when in ("before", "after"):
        found = row.get(when, {})
        cells |= {f"{figure}_{when}": found.get(figure, "") for figure in (*_FIGURES, *volume_columns.SPREAD)}
        cells |= {
            f"{figure}_{when}": found[figure] for figure in volume_columns.OTHER_UNITS if figure in found
        }
    return cells
