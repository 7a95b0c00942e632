"""Steps that measure: they pass the map on as it is, and give rows of tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import Filter
from softmorph_cli.system.files import writing_text
from softmorph_cli.system.printable import csv_text

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress
    from softmorph_cli.metrics.statistics import Statistics
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.volume import Volume

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measurable:
    """A map between two steps, with what is known of it.

    Attributes:
        volume: The map; its provenance names the steps that made it.
        statistics: The statistics of the map.
        origin: If the step before made a skeleton: the map that the skeleton was made of, on its grid; else None.
        progress: A callback that is called after every sub-iteration.
        pictures: Whether small pictures are wanted.
        page: Whether a page is wanted, which shows the maps too.
    """

    volume: Volume
    statistics: Statistics
    origin: Volume | None = None
    progress: Callable[[Progress], None] | None = None
    pictures: bool = False
    page: bool = False


@dataclass(frozen=True)
class Table:
    """The rows of one file in a table of many files.

    Attributes:
        columns: The names of the columns; the first is "file".
        rows: The rows by the names of the columns, without "file"; what a row lacks is empty.
        unit: The unit with which names of lengths end; "" if no column depends on the file's unit.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    unit: str = ""


@dataclass(frozen=True)
class Measured:
    """What a step has measured of one map.

    Attributes:
        tables: The rows by the name of the table, which is that of its file: "branches" for branches.csv.
        document: The numbers as a JSON object, for the step's entry in the document of the run.
        words: The most important numbers in a few words.
        notes: Notes for the user, one sentence each.
        warnings: Warnings for the user, one sentence each.
        pictures: Small PNG files, "light" and "dark"; empty if none was wanted.
        inspections: Of a step `inspect` the inspection of each class.
    """

    tables: Mapping[str, Table]
    document: Mapping[str, Any]
    words: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    inspections: tuple[analyse.Inspection, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measuring(Filter):
    """A step that measures the map and passes it on as it is.

    The parameters of a subclass whose values are paths name files for its tables, in a chain for one file.
    """

    @property
    def outputs(self) -> dict[str, Path]:
        """The files that are written beside the result: the path by the name of the table."""
        return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as in documents, without the files of tables."""
        return {name: value for name, value in super().parameters.items() if not isinstance(value, Path)}

    @classmethod
    def table_names(cls) -> tuple[str, ...]:
        """Return the names of the tables."""
        raise NotImplementedError

    def measure(self, given: Measurable) -> Measured:
        """Measure a map.

        Raises:
            InputError: If the map cannot be measured.
        """
        raise NotImplementedError


def made_by(volume: Volume, provenance: Mapping[str, Any] | None) -> Volume:
    """Return a map with the provenance of the steps that made it; None for the map as it was read."""
    if provenance is None or volume.source is None:
        return volume
    return replace(volume, source=replace(volume.source, provenance=provenance))


def measure(step: Measuring, given: Measurable, name: str) -> Measured:
    """Measure a map whose name in messages is `name`.

    Raises:
        InputError: If the map cannot be measured; the message begins with the name.
    """
    try:
        found = step.measure(given)
    except InputError as error:
        raise InputError(f"{name}: {step.operation}: {error}") from error
    notes, warnings = (
        tuple(f"{step.operation}: {words}" for words in some) for some in (found.notes, found.warnings)
    )
    return replace(found, notes=notes, warnings=warnings)


def write_tables(step: Filter, found: Measured, source: Path, *, force: bool) -> None:
    """Write the tables of one file, whose path is `source`, to the files that a step names.

    Raises:
        FileError: If a file cannot be written.
    """
    assert isinstance(step, Measuring)
    for name, path in step.outputs.items():
        table = found.tables[name]
        rows = ({"file": source, **row} for row in table.rows)
        with writing_text(path, force=force) as stream:
            stream.write(csv_text(rows, table.columns))
