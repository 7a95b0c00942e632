"""What the steps of a batch measure of a file: kept in a file of its own in the output folder until tables are made."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.errors import FileError
from softmorph_cli.pipeline.steps.measuring import Measuring, Table
from softmorph_cli.system.files import make_folder, replacing

if TYPE_CHECKING:
    from softmorph_cli.filters.filter import Filter
    from softmorph_cli.pipeline.batch.recipe import Recipe
    from softmorph_cli.pipeline.process import Processed

FOLDER: Final = "softmorph-cases"


@dataclass(frozen=True)
class MeasuredFile:
    """What was measured of one file.

    Attributes:
        tables: The rows by the name of the table, such as "branches".
        pictures: Small PNG files of the result, "light" and "dark"; empty if none was wanted.
    """

    tables: Mapping[str, Table]
    pictures: Mapping[str, bytes]


def path_of(folder: Path, name: str) -> Path:
    """Return where the measured numbers of an input are kept, whose path relative to the input folder is `name`."""
    return folder / FOLDER / f"{name}.json"


def table_names(steps: Sequence[Filter]) -> dict[tuple[int, str], str]:
    """Return the names of all tables by the number of the step, from 1, and its name of the table.

    Where an operation occurs twice, the number of the step is put before the names, as in 02-branches.
    """
    count = Counter(step.operation for step in steps)
    return {
        (number, name): f"{number:02d}-{name}" if count[step.operation] > 1 else name
        for number, step in enumerate(steps, 1)
        if isinstance(step, Measuring)
        for name in step.table_names()
    }


def save(path: Path, processed: Processed, recipe: Recipe) -> None:
    """Keep what was measured of a file, and how.

    Raises:
        FileError: If the file cannot be written.
    """
    names = table_names(recipe.filters)
    tables = {
        names[number, name]: {"columns": table.columns, "unit": table.unit, "rows": table.rows}
        for number, found in processed.measured.items()
        for name, table in found.tables.items()
    }
    pictures = {look: base64.b64encode(png).decode() for look, png in processed.pictures.items()}
    make_folder(path.parent, parents=True)
    head = json.dumps({"measured": recipe.measured, "pictures": bool(pictures)}, default=str)
    # NumPy's integers are no numbers for JSON.
    content = json.dumps({"tables": tables, "pictures": pictures}, default=lambda value: value.item())
    with replacing(path, force=True) as temporary:
        temporary.write_text(f"{head}\n{content}\n", encoding="utf-8")


def is_current(path: Path, recipe: Recipe) -> bool:
    """Return whether what is kept of a file was measured by the same steps, with pictures if they are wanted."""
    wanted = json.loads(json.dumps(recipe.measured, default=str))
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
        return head["measured"] == wanted and (head["pictures"] or not recipe.thumbnails)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def load(path: Path) -> MeasuredFile:
    """Return what was measured of a file.

    Raises:
        FileError: If it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            file.readline()
            held = json.loads(file.readline())
        tables = {name: _table(**one) for name, one in held["tables"].items()}
        return MeasuredFile(tables, {look: base64.b64decode(png) for look, png in held["pictures"].items()})
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise FileError(
            f"{path}, which holds what was measured of a file, is damaged: remove it, and add --resume."
        ) from error


def _table(columns: list[str], unit: str, rows: list[dict[str, Any]]) -> Table:
    """Return a table of a file.

    Raises:
        ValueError: If it is no table.
        TypeError: If something is of a wrong type.
    """
    if not all(isinstance(one, str) for one in (*columns, unit)):
        raise TypeError("a name is no text")
    if not all(isinstance(row, dict) and row.keys() <= set(columns) for row in rows):
        raise ValueError("a row has other columns")
    return Table(columns, rows, unit)


def load_all(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, MeasuredFile]]:
    """Yield what was measured of each input, of which something is kept; one is in memory at a time."""
    for name in names:
        path = path_of(folder, name)
        if path.is_file():
            yield name, load(path)
