"""CSV: one row a branch, the longest first."""

from __future__ import annotations

import csv
import io

from softmorph_cli.skeleton.export.rows import columns
from softmorph_cli.skeleton.graph import SkeletonGraph


def csv_text(graph: SkeletonGraph) -> str:
    """Return the branches as a table (RFC 4180, lines end in a newline alone).

    Units stand in the names of the columns; the last one is the class where the file has several. A cell is empty where
    its value is unknown. Numbers have all their digits: reading them gives the same bits.
    """
    asked = columns(graph.frame)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    what = {"class": graph.name} if graph.name else {}
    writer.writerow([*asked, *what])
    writer.writerows([*(ask(branch) for ask in asked.values()), *what.values()] for branch in graph.branches)
    return text.getvalue()
