"""JSON documents of schema 2 (common fields, the description of a map, writing) and pandas tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli import __version__
from softmorph_cli.errors import UsageError
from softmorph_cli.system.files import replacing
from softmorph_cli.system.printable import unicode

if TYPE_CHECKING:
    import pandas

    from softmorph_cli.volume import Volume

SCHEMA: Final = 2


def head(command: str) -> dict[str, Any]:
    """Return the fields that every JSON document begins with; `command` is the name of the command."""
    return {"schema": SCHEMA, "softmorph_version": __version__, "command": command}


def document(
    command: str,
    content: Mapping[str, Any],
    *,
    seconds: Mapping[str, float],
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the JSON document of a command.

    Args:
        command: Name of the command, such as "skeletonize" or "topology repair".
        content: The fields of this command.
        seconds: Wall-clock time of each stage, such as read, filter and write.
        notes: Remarks on the result.
        warnings: What the user should know before using the result.
    """
    return {
        **head(command),
        **content,
        "seconds": timed(seconds),
        "notes": list(notes),
        "warnings": list(warnings),
    }


def timed(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the field `seconds` of a document: the time of each stage, and `total`, to a microsecond."""
    return {stage: round(time, 6) for stage, time in {**seconds, "total": sum(seconds.values())}.items()}


def described(volume: Volume) -> dict[str, Any]:
    """Return the description of a map for the field `input` of a JSON document; axes are in array order."""
    source = volume.source
    return {
        "path": str(source.path) if source else None,
        "format": source.format if source else None,
        "shape": list(volume.array.shape),
        "axes": volume.axes,
        "spacing": list(volume.spacing) if volume.spacing else None,
        "unit": volume.unit,
        "dtype": source.dtype if source else str(volume.array.dtype),
        "channel": source.channel if source else None,
        **({"channels": list(volume.channels)} if volume.channels else {}),
    }


def as_json(document: Mapping[str, Any]) -> str:
    """Return a document as an indented JSON text.

    Raises:
        ValueError: If the document holds NaN or infinity, which JSON cannot represent.
    """
    return json.dumps(unicode(document), indent=2, allow_nan=False)


def save(document: Mapping[str, Any], path: Path, *, force: bool) -> None:
    """Write a document to a JSON file atomically; `force` allows an existing file to be replaced."""
    with replacing(path, force=force) as temporary:
        write(document, temporary)


def write(document: Mapping[str, Any], place: Path) -> None:
    """Write a document as JSON to the temporary file `place`, which the caller renames."""
    place.write_text(as_json(document) + "\n", encoding="utf-8")


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pandas.DataFrame:
    """Return rows as a pandas `DataFrame`.

    Args:
        rows: Mappings from the name of a column to a value; None is a missing value.
        columns: The names of the columns in order, or None to take them from the rows.

    Raises:
        UsageError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError("a table needs pandas, which is not installed: pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=columns)
