"""CSV: one row a branch, the longest first."""

from __future__ import annotations

import csv
import io

from softmorph_cli.graphs.exports.rows import columns
from softmorph_cli.graphs.skeleton_graph import SkeletonGraph


def csv_text(graph: SkeletonGraph) -> str:
    """Return the branches as a table (RFC 4180, lines end in a newline alone).

    Units stand in the names of the columns; a cell is empty where its value is unknown. Numbers have all their
    digits: reading them gives the same bits.
    """
    asked = columns(graph.frame)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(asked)
    writer.writerows([ask(branch) for ask in asked.values()] for branch in graph.branches)
    return text.getvalue()
