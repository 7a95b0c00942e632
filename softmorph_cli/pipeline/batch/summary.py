"""What came of a batch: one row for each file, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softmorph_cli.io import documents
from softmorph_cli.metrics import volume_columns
from softmorph_cli.system.files import open_own, replacing
from softmorph_cli.system.printable import cell

# Always all of them, in this order: tables of different batches in mm then fit below each other.
_FIGURES: Final = (
    *("expected_voxels", "expected_area_mm2", "std_area_mm2", "expected_volume_mm3", "std_volume_mm3"),
    *("voxels_above_half", "components_above_half", "max"),
)
COLUMNS: Final = (
    *("input", "output", "status", "error", "warnings", "seconds"),
    *("seconds_read", "seconds_filter", "seconds_write", "axes", "shape", "iterations"),
    *(f"{name}_{when}" for name in _FIGURES for when in ("before", "after")),
    "connectivity",
    *(f"{name}_{when}" for name in volume_columns.SPREAD for when in ("before", "after")),
)
GOOD: Final = ("done", "skipped")
_JSON: Final = re.compile(r"summary(-\d+-of-\d+)?\.json")


@dataclass(frozen=True)
class Entry:
    """What came of a file.

    Attributes:
        input: The file that was read.
        output: The file that was written.
        status: "done", "skipped" (done before), "failed", "not run" or "not finished".
        row: Everything else.
    """

    input: str
    output: str
    status: str
    row: Mapping[str, Any]

    @property
    def error(self) -> str | None:
        """What is wrong with it."""
        error = self.row.get("error")
        return None if error is None else str(error)


@dataclass(frozen=True)
class Summary:
    """What came of a batch.

    Attributes:
        parameters: What was done.
        entries: Every file, sorted by name.
    """

    parameters: Mapping[str, Any]
    entries: Sequence[Entry]

    @property
    def counts(self) -> Counter[str]:
        """How many files ended how."""
        return Counter(entry.status for entry in self.entries)

    @property
    def bad(self) -> list[Entry]:
        """Files without an up-to-date result."""
        return [entry for entry in self.entries if entry.status not in GOOD]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON."""
        counts = self.counts
        return {
            **documents.head(),
            "command": "batch",
            "parameters": dict(self.parameters),
            "counts": {
                name: counts[name] for name in ("done", "skipped", "failed", "not run", "not finished")
            },
            "files": [
                {"input": one.input, "output": one.output, "status": one.status, **one.row}
                for one in self.entries
            ],
        }

    @property
    def table(self) -> str:
        """The CSV."""
        text = io.StringIO()
        rows = [_cells(entry) for entry in self.entries]
        others = [f"{name}_{when}" for name in volume_columns.OTHER_UNITS for when in ("before", "after")]
        columns = [*COLUMNS, *(name for name in others if any(name in row for row in rows))]
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: cell(value) for column, value in row.items()} for row in rows)
        return text.getvalue()


def paths(folder: Path, tag: str) -> tuple[Path, Path]:
    """Return where the summary of a batch, or of a part of one, is kept."""
    return folder / f"summary{tag}.csv", folder / f"summary{tag}.json"


@dataclass(frozen=True)
class Listed:
    """A result as a summary lists it.

    Attributes:
        parameters: What was done.
        when: When the summary was written, in nanoseconds since 1970; a newer file is not this result.
    """

    parameters: Mapping[str, Any]
    when: int


def listed(folder: Path) -> dict[tuple[str, ...], Listed]:
    """Return the results that the summaries in a folder list, by the parts of their paths, as these were typed.

    They say what a batch made where its manifest was lost. What cannot be read lists nothing.
    """
    found: dict[tuple[str, ...], Listed] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _JSON.fullmatch(path.name) is None:
            continue
        try:
            with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
                document, when = json.load(file), os.fstat(file.fileno()).st_mtime_ns
            parameters, entries = document["parameters"], document["files"]
            made = [Path(entry["output"]).parts for entry in entries if entry["status"] in GOOD]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if isinstance(parameters, dict):
            found.update(dict.fromkeys(made, Listed(parameters, when)))
    return found


def save(summary: Summary, folder: Path, tag: str) -> None:
    """Write both files, each in one step.

    Raises:
        FileError: If one cannot be written.
    """
    # A file's name that is no UTF-8 keeps its bytes.
    table = summary.table.encode("utf-8", "surrogateescape")
    document = documents.as_json(summary.document).encode()
    for path, content in zip(paths(folder, tag), (table, document + b"\n"), strict=True):
        with replacing(path, force=True, follow=False) as temporary:
            temporary.write_bytes(content)


def _cells(entry: Entry) -> dict[str, Any]:
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
    }
    for name in ("seconds", "seconds_read", "seconds_filter", "seconds_write", "axes"):
        cells[name] = row.get(name, "")
    for when in ("before", "after"):
        found = row.get(when, {})
        cells |= {f"{figure}_{when}": found.get(figure, "") for figure in (*_FIGURES, *volume_columns.SPREAD)}
        cells |= {
            f"{figure}_{when}": found[figure] for figure in volume_columns.OTHER_UNITS if figure in found
        }
    return cells
