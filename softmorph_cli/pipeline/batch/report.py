"""The page of a batch: a table of the cases, distributions over the cases, a small picture of each case, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.pipeline.batch import measured_files, tables
from softmorph_cli.pipeline.batch.summary import GOOD, FileEntry
from softmorph_cli.pipeline.batch.tables import Heading
from softmorph_cli.plots.html.cohort_page import Case, cohort_page
from softmorph_cli.system.files import writing_text
from softmorph_cli.system.units import COUNTED, lengths_in

_FIGURES: Final = ("voxels_above_half", "components_above_half")


def write(
    path: Path, folder: Path, entries: Mapping[str, FileEntry], found: Mapping[str, Heading], steps: str
) -> None:
    """Write the page of a batch, over an existing one.

    Args:
        path: The page.
        folder: The output folder.
        entries: The entries of the summary by the names of the files.
        found: The columns of the tables.
        steps: The steps as text.

    Raises:
        FileError: If the page cannot be written.
    """
    # Of several steps `inspect` the last.
    last = max((name for name in found if name.endswith("cases")), default=None)
    suffix = found[last].unit if last is not None else COUNTED[3]
    known = tables.measured_of(entries)
    cases = [
        case
        for name, kept in measured_files.load_all(folder, known)
        for case in _cases(entries[name], kept, found, last)
    ]
    failed = [
        (entry.input, entry.error or entry.status) for entry in entries.values() if entry.status not in GOOD
    ]
    facts = {"steps": steps} if steps else {}
    if last is not None:
        facts["lengths in"] = lengths_in(suffix)
    page = cohort_page(
        cases, failed, title=folder.name, command="softmorph batch", suffix=suffix, facts=facts
    )
    with writing_text(path, force=True) as stream:
        stream.write(page)


def _cases(
    entry: FileEntry, kept: measured_files.MeasuredFile, found: Mapping[str, Heading], last: str | None
) -> Iterator[Case]:
    """Yield the row of a file, or of each class whose branches were measured."""
    own = {
        f"{name}_{when}": value
        for when in ("before", "after")
        for name, value in _figures(entry.row.get(when, {})).items()
    }
    warnings = [str(words) for words in entry.row.get("warnings", ())]
    if last is None or last not in kept.tables:
        yield Case(entry.input, own, pictures=kept.pictures, warnings=warnings)
        return
    branches = last.replace("cases", "branches")
    unit = found[last].unit
    rows = list(found[branches].rows(kept.tables[branches], entry.input))
    classes = list(found[last].rows(kept.tables[last], entry.input))
    for row in classes:
        ours = [one for one in rows if one["class"] == row["class"]]
        yield Case(
            f"{entry.input}, {row['class']}" if row["class"] else entry.input,
            {**(own if len(classes) == 1 else {}), **row},
            lengths=_column(ours, f"length_{unit}"),
            radii=_column(ours, f"radius_mean_{unit}"),
            pictures=kept.pictures if row is classes[0] else {},
            warnings=warnings if row is classes[0] else (),
            warned=entry.input,
        )


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the expected volume of a map in its unit, or else in voxels, and counts."""
    sizes = {name: value for name, value in found.items() if name.startswith("expected_")}
    if len(sizes) > 1:
        sizes.pop("expected_voxels", None)
    return {**sizes, **{name: found.get(name) for name in _FIGURES}}


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    return np.array([float(row[name]) for row in rows if row.get(name) is not None])
