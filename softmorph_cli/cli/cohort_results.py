"""What is kept of the cases of `softmorph inspect` with several files: a JSON object and a page of them all."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli.io import documents
from softmorph_cli.system.units import lengths_in

if TYPE_CHECKING:
    from softmorph_cli.io.options import ReadOptions
    from softmorph_cli.plots.html import cohort_page
    from softmorph_cli.skeleton import analyse


@dataclass
class CohortResults:
    """The results of several files, of which no map is kept.

    Attributes:
        reading: How each file is read.
        document: Whether the JSON object is wanted.
        page: Whether the page is wanted.
        failed: The path of each file that failed, and why.
        documents: The JSON object of each class of each file.
        cases: The rows of the page.
        suffix: The unit of lengths of the first file, which is that of all.
        warnings: The warnings about all files.
        started: When the work began, on the clock `time.perf_counter`.
    """

    reading: ReadOptions
    document: bool = False
    page: bool = False
    failed: list[tuple[str, str]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    cases: list[cohort_page.Case] = field(default_factory=list)
    suffix: str = ""
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    def add(self, path: Path, found: analyse.Inspection) -> None:
        """Keep the results of one class of a file."""
        self.suffix = self.suffix or found.graph.frame.suffix
        if self.document:
            self.documents.append(self._described(path, found))
            self.warnings += [f"{path}: {warning}" for warning in found.warnings]
        if self.page:
            self.cases.append(case_of(path, found))

    def as_dict(self) -> dict[str, Any]:
        """Return one JSON object: `files` with the graph of each case, and `failed` with the reason of each failure."""
        failed = [{"input": {"path": path}, "error": {"message": error}} for path, error in self.failed]
        content = {"files": self.documents, "failed": failed}
        seconds = {"inspect": time.perf_counter() - self.started}
        return documents.document("inspect", content, seconds=seconds, warnings=self.warnings)

    def as_page(self, title: str) -> str:
        """Return the page of all cases."""
        from softmorph_cli.plots.html import cohort_page

        facts = {"lengths in": lengths_in(self.suffix)}
        return cohort_page.cohort_page(
            self.cases, self.failed, title=title, command="softmorph inspect", suffix=self.suffix, facts=facts
        )

    def _described(self, path: Path, found: analyse.Inspection) -> dict[str, Any]:
        described = documents.described(found.volume) | {"path": str(path), "read_with": self.reading.as_json}
        return {
            "input": described,
            **({"class": found.graph.name} if found.graph.name else {}),
            **found.as_dict(),
        }


def case_of(path: Path, found: analyse.Inspection) -> cohort_page.Case:
    """Return the row of the page for one class of a file, with small pictures of the centreline over the map."""
    import numpy as np

    from softmorph_cli.plots.graph_preview import thumbnails
    from softmorph_cli.plots.html.cohort_page import Case
    from softmorph_cli.skeleton import export
    from softmorph_cli.skeleton.graph import Quantity

    graph = found.graph
    (row,) = export.cases.rows("summary", path, graph)
    radii = [spread.mean for b in graph.branches if (spread := b.spread(Quantity.RADIUS)) is not None]
    return Case(
        name=f"{row['file']}, {graph.name}" if graph.name else str(row["file"]),
        row=row,
        lengths=np.array([branch.length for branch in graph.branches]),
        radii=np.array(radii),
        pictures=thumbnails(found.volume, graph),
        warnings=found.warnings,
    )
