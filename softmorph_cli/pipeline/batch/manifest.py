"""The manifest of a batch: a JSON Lines file to which a line is appended when the state of an input file changes."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from softmorph_cli import __version__
from softmorph_cli.errors import FileError
from softmorph_cli.system.files import is_store, open_own

_STEM: Final = "softmorph-manifest"
_NAME: Final = re.compile(rf"{_STEM}(-\d+-of-\d+)?\.jsonl")
# Formats with companion files of the same name: the labels of a network's output, detached voxels.
_WITH_OTHERS: Final = (".npz", ".mhd", ".nhdr")
_DESCRIPTIONS: Final = ("dataset.json", "plans.json")
# Entries of a row that are no single values: lists of these types, and mappings.
_LISTS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("shape", "output_shape"), (int,)),
    "iterations": (int, type(None)),
    **dict.fromkeys(("stop_reasons", "warnings"), (str, type(None))),
}
_GROUPS: Final = ("before", "after")
BEGUN, DONE, FAILED = "begun", "done", "failed"
# Why a complete result is made again.
OTHER_PARAMETERS, OUTPUT_CHANGED, NOT_LISTED = "other parameters", "output changed", "not in the manifest"


@dataclass(frozen=True)
class Record:
    """A record of the manifest, stored as a line: the state of an input file at some time.

    Attributes:
        name: Path of the input relative to the input folder.
        target: Path of the result relative to the output folder.
        state: State of the file: "begun", "done" or "failed".
        when: Time of the record, in seconds since 1970.
        identity: Sizes and modification times of the input when it was read, from the function `identity`.
        fingerprint: Hash of the parameters that the result depends on.
        output_size: Size of the result in bytes.
        row: Entry of the file in the summary.
    """

    name: str
    target: str
    state: str
    when: float = 0.0
    identity: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    output_size: int | None = None
    row: Mapping[str, Any] = field(default_factory=dict)


def name_of(parts: int = 1, part: int = 0) -> str:
    """Return the file name of the manifest of a batch, or of one part of a batch (index `part`, of `parts` parts)."""
    return f"{_STEM}{tag(parts, part)}.jsonl"


def tag(parts: int, part: int) -> str:
    """Return text such as "-0-of-3", which file names contain to identify the part of a batch; "" if undivided."""
    return f"-{part}-of-{parts}" if parts > 1 else ""


def identity(path: Path, reference: Path | None = None) -> dict[str, Any]:
    """Return the sizes and modification times of an input file and of the files that are read with it.

    Args:
        path: The input: a file, with companion files for some formats, or the folder of a store.
        reference: The reference image of the input; None if there is none.

    Raises:
        OSError: If a file does not exist or cannot be accessed.
    """
    if reference is not None:
        state = reference.stat()
        return {**identity(path), "reference": [reference.name, state.st_size, state.st_mtime_ns]}
    if path.is_dir():
        states = [Path(parent, name).stat() for parent, _, names in os.walk(path) for name in names]
        return {
            "size": sum(state.st_size for state in states),
            "mtime_ns": max((state.st_mtime_ns for state in states), default=0),
            "files": len(states),
        }
    state = path.stat()
    found: dict[str, Any] = {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    # The names of a label map's classes.
    companions = [path.with_name(_DESCRIPTIONS[0])]
    if path.suffix.lower() in _WITH_OTHERS:
        companions = sorted(path.parent.glob(f"{_without_wildcards(path.stem)}.*"))
        if path.suffix.lower() == _WITH_OTHERS[0]:
            companions += [path.with_name(name) for name in _DESCRIPTIONS]
    beside = {
        other.name: [other.stat().st_size, other.stat().st_mtime_ns]
        for other in companions
        if other != path and other.is_file()
    }
    if beside or path.suffix.lower() in _WITH_OTHERS:
        found["beside"] = beside
    return found


def known(folder: Path) -> tuple[dict[str, Record], set[str]]:
    """Return the last record of each input (by name) in the manifests of a folder, and the targets of all records.

    Raises:
        FileError: If a manifest cannot be read.
    """
    records: dict[str, Record] = {}
    targets: set[str] = set()
    if not folder.is_dir():
        return records, targets
    for path in sorted(folder.iterdir()):
        if _NAME.fullmatch(path.name) is None:
            continue
        lines = _records(path)
        targets.update(line.target for line in lines)
        # The folder may have been split into other parts before. Within a manifest the order of lines counts, not the
        # clock; and no line is newer than the file.
        written = path.stat().st_mtime
        for name, last in {line.name: line for line in lines}.items():
            before = records.get(name)
            if before is None or min(last.when, written) >= before.when:
                records[name] = replace(last, when=min(last.when, written))
    return records, targets


def batches(folder: Path) -> list[Mapping[str, Any]]:
    """Return the parameters of every batch in the manifests of a folder.

    Raises:
        FileError: If a manifest cannot be read.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        for line in _lines(path) if _NAME.fullmatch(path.name) else []:
            if not line.startswith(b'{"state": "batch"'):
                continue
            with suppress(ValueError, KeyError, RecursionError):
                parameters = json.loads(line)["parameters"]
                json.dumps(parameters)  # raises where they are nested too deeply to be compared
                found.append(parameters)
    return [one for one in found if isinstance(one, dict)]


def exists(folder: Path) -> bool:
    """Return whether a folder contains a manifest."""
    return folder.is_dir() and any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def _lines(path: Path) -> list[bytes]:
    try:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
            return file.read().splitlines()
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _records(path: Path) -> list[Record]:
    found = []
    for line in _lines(path):
        try:
            found.append(_record(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            # The batch was killed or the disk full while this line was written, or another version wrote it.
            continue
    return found


def _record(line: dict[str, Any]) -> Record:
    """Return the record that is parsed from the JSON object of a line.

    Raises:
        KeyError: If an entry is missing.
        TypeError: If an entry has the wrong type.
        ValueError: If a number is not finite, or the state is unknown.
    """
    record = Record(
        name=_text(line["input"]),
        target=_text(line["output"]),
        state=_typed(line["state"], str),
        when=_number(line["when"]),
        identity=_typed(line.get("identity", {}), dict),
        fingerprint=_typed(line.get("fingerprint", ""), str),
        output_size=_typed(line.get("output_size"), int, type(None)),
        row=_typed(line.get("row", {}), dict),
    )
    if record.state not in (BEGUN, DONE, FAILED):
        raise ValueError(record.state)
    for name, value in record.row.items():
        if name in _LISTS:
            for item in _typed(value, list):
                _typed(item, *_LISTS[name])
                _plain(item)
        elif name in _GROUPS:
            for figure in _typed(value, dict).values():
                _plain(figure)
        else:
            _plain(value)
    return record


def _typed(value: Any, *types: type) -> Any:
    # True is an instance of int.
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    os.fsencode(_typed(value, str))  # raises ValueError where no file can have that name
    return str(value)


def _number(value: Any) -> float:
    if not math.isfinite(_typed(value, int, float)):
        raise ValueError(value)
    return float(value)


def _plain(value: Any) -> None:
    if isinstance(value, float):
        _number(value)
    elif isinstance(value, str):
        _text(value)
    elif not isinstance(value, int | None):
        raise TypeError(value)


class BatchManifest:
    """A manifest that is open for appending; every line is flushed to the disk before the batch continues.

    Args:
        path: The path of the manifest, to which lines are appended.
        parameters: The parameters of the batch, which are written as the first new line.
    """

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        """Open or create the manifest, begin a new line if the last line is incomplete, and write the parameters.

        Raises:
            FileError: If the manifest cannot be written.
        """
        self.path = path
        try:
            self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except FileError:
            raise
        except OSError as error:
            raise self._refusal(error) from error
        size = os.fstat(self._descriptor).st_size
        if size:
            os.lseek(self._descriptor, size - 1, os.SEEK_SET)
        self._incomplete = size > 0 and os.read(self._descriptor, 1) != b"\n"
        self._add(
            {"state": "batch", "version": __version__, "parameters": dict(parameters), "when": time.time()}
        )

    def __enter__(self) -> BatchManifest:
        """Return this manifest."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file of the manifest."""
        os.close(self._descriptor)

    def write(self, record: Record) -> None:
        """Append a record as a line.

        Raises:
            FileError: If the manifest cannot be written.
        """
        line: dict[str, Any] = {
            "state": record.state,
            "input": record.name,
            "output": record.target,
            "when": record.when or time.time(),
        }
        for name in ("identity", "fingerprint", "output_size", "row"):
            value = getattr(record, name)
            if value not in (None, "", {}):
                line[name] = value
        self._add(line)

    def _add(self, line: Mapping[str, Any]) -> None:
        text = ("\n" if self._incomplete else "") + json.dumps(line) + "\n"
        left = text.encode()
        self._incomplete = True
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._incomplete = False
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> FileError:
        return FileError(
            f"{self.path}, which says what is done, cannot be written ({error.strerror or error}): the batch "
            "stops here. Free some space or see to the folder's permissions, then add --resume to go on."
        )


def unchanged(
    record: Record,
    source: Path,
    target: Path,
    fingerprints: Collection[str],
    reference: Path | None = None,
) -> str | None:
    """Return in a few words why a file has to be processed again; None if the file's result is up to date.

    Args:
        record: The last record of the file in the manifests.
        source: The input file.
        target: The result file.
        fingerprints: The fingerprints of all parameters that give the same result as the present batch.
        reference: The reference image of the input; None if there is none.
    """
    if record.state != DONE:
        return "failed before" if record.state == FAILED else "not finished"
    if record.fingerprint not in fingerprints:
        return OTHER_PARAMETERS
    try:
        if dict(record.identity) != identity(source, reference):
            return "input changed"
    except OSError:
        return "input changed"
    try:
        size = target.stat().st_size
    except OSError:
        return "output missing"
    if is_store(target):
        return None
    return OUTPUT_CHANGED if record.output_size not in (None, size) else None


def _without_wildcards(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)
