"""The tables of a batch: the rows of all files, put together when all have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmorph_cli.pipeline.batch import measured_files
from softmorph_cli.pipeline.batch.summary import GOOD, FileEntry
from softmorph_cli.pipeline.steps.measuring import Table
from softmorph_cli.system.files import writing_text
from softmorph_cli.system.printable import csv_text
from softmorph_cli.system.units import MILLIMETRES


@dataclass
class Heading:
    """The columns of a table of all files, with lengths in one unit.

    Attributes:
        unit: The unit of lengths, which is that of the first file.
        own: The columns of the first file.
        columns: All columns: those of the first file, and those that only others have.
    """

    unit: str
    own: Sequence[str]
    columns: list[str]

    def names(self, table: Table) -> dict[str, tuple[str, float]]:
        """Return for each column of the table of one file its name here, and the factor of its numbers.

        Lengths in another known unit are converted; voxels and millimetres have columns of their own.
        """
        if table.unit == self.unit or not {table.unit, self.unit} <= MILLIMETRES.keys():
            return {name: (name, 1.0) for name in table.columns}
        factor = MILLIMETRES[table.unit] / MILLIMETRES[self.unit]
        named = {}
        for name, here in zip(table.columns, self.own, strict=True):
            power = 0 if name == here else 2 if name.endswith(f"_{table.unit}2") else 1
            named[name] = (here, factor**power)
        return named

    def add(self, table: Table) -> None:
        """Add the columns that only this table has."""
        self.columns += [here for here, _ in self.names(table).values() if here not in self.columns]

    def rows(self, table: Table, file: str) -> Iterable[dict[str, Any]]:
        """Yield the rows of one file in the columns of all files."""
        names = self.names(table)
        for row in table.rows:
            yield {
                "file": file,
                **{
                    names[name][0]: value if value is None or names[name][1] == 1 else value * names[name][1]
                    for name, value in row.items()
                },
            }


def paths(folder: Path, names: Iterable[str], tag: str) -> dict[str, Path]:
    """Return the files of tables by their names; `tag` identifies the part of the batch ("" if whole)."""
    return {name: folder / f"{name}{tag}.csv" for name in names}


def measured_of(entries: Mapping[str, FileEntry]) -> list[str]:
    """Return the names of the files whose results were written, also of those that fell short."""
    return [name for name, entry in entries.items() if entry.status in GOOD or entry.row.get("not_reached")]


def headings(folder: Path, names: Sequence[str]) -> dict[str, Heading]:
    """Return the columns of each table of all files."""
    found: dict[str, Heading] = {}
    for _, kept in measured_files.load_all(folder, names):
        for name, table in kept.tables.items():
            if name not in found:
                found[name] = Heading(table.unit, table.columns, list(table.columns))
            found[name].add(table)
    return found


def write(folder: Path, entries: Mapping[str, FileEntry], tag: str) -> dict[str, Heading]:
    """Write the tables of all files whose results were written, each table at once, and return their columns.

    Args:
        folder: The output folder.
        entries: The entries of the summary by the names of the files.
        tag: Text that identifies the part of the batch; "" if whole.

    Raises:
        FileError: If a table cannot be written, or what was measured of a file cannot be read.
    """
    names = measured_of(entries)
    found = headings(folder, names)
    with ExitStack() as stack:
        streams = {}
        for name, path in paths(folder, found, tag).items():
            streams[name] = stack.enter_context(writing_text(path, force=True, follow=False))
            streams[name].write(csv_text((), found[name].columns))
        for case, kept in measured_files.load_all(folder, names):
            for name, table in kept.tables.items():
                rows = found[name].rows(table, entries[case].input)
                streams[name].write(csv_text(rows, found[name].columns, head=False))
    return found
