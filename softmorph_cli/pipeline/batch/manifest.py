"""What a batch has done so far, line by line in a file that survives whatever ends the batch."""

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
# What is read with a file and has its name: labels that say where a network's output lies, detached voxels.
_WITH_OTHERS: Final = (".npz", ".mhd", ".nhdr")
_DESCRIPTIONS: Final = ("dataset.json", "plans.json")
# Of a row, what is no single value: lists of such types, and groups of values by name.
_LISTS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("shape", "output_shape"), (int,)),
    "iterations": (int, type(None)),
    **dict.fromkeys(("stop_reasons", "warnings"), (str, type(None))),
}
_GROUPS: Final = ("before", "after")
BEGUN, DONE, FAILED = "begun", "done", "failed"
# Why a result that is there whole would be made again.
OTHER_PARAMETERS, OUTPUT_CHANGED, NOT_LISTED = "other parameters", "output changed", "not in the manifest"


@dataclass(frozen=True)
class Record:
    """The last that is known of a file.

    Attributes:
        name: The input's path below the input folder.
        target: The result's path below the output folder.
        state: "begun", "done" or "failed".
        when: Seconds since 1970.
        identity: The input when it was read, as `identity` returns it.
        fingerprint: Of the parameters.
        output_size: Bytes of the result.
        row: What the summary says of it.
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
    """Return the name of the manifest of a batch, or of a part of one."""
    return f"{_STEM}{tag(parts, part)}.jsonl"


def tag(parts: int, part: int) -> str:
    """Return what stands in the names of a part's own files."""
    return f"-{part}-of-{parts}" if parts > 1 else ""


def identity(path: Path, reference: Path | None = None) -> dict[str, Any]:
    """Return what tells whether a file has changed: its size and time, and those of what is read with it.

    Args:
        path: The file.
        reference: The image of its own that says where it lies, if one does.

    Raises:
        OSError: If it cannot be looked at.
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
    if path.suffix.lower() in _WITH_OTHERS:
        beside = sorted(path.parent.glob(f"{_escaped(path.stem)}.*"))
        if path.suffix.lower() == _WITH_OTHERS[0]:
            beside += [path.with_name(name) for name in _DESCRIPTIONS]
        found["beside"] = {
            other.name: [other.stat().st_size, other.stat().st_mtime_ns]
            for other in beside
            if other != path and other.is_file()
        }
    return found


def known(folder: Path) -> tuple[dict[str, Record], set[str]]:
    """Return what the manifests in a folder say: the last of each input, and all targets that are a batch's own.

    Raises:
        FileError: If one cannot be read.
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
        # The same folder may have been split into other parts before. Lines of one file are in order, whatever the
        # clock was, and none is from after the file was written.
        written = path.stat().st_mtime
        for name, last in {line.name: line for line in lines}.items():
            before = records.get(name)
            if before is None or min(last.when, written) >= before.when:
                records[name] = replace(last, when=min(last.when, written))
    return records, targets


def batches(folder: Path) -> list[Mapping[str, Any]]:
    """Return the parameters of every batch that the manifests in a folder tell of.

    Raises:
        FileError: If one cannot be read.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        for line in _lines(path) if _NAME.fullmatch(path.name) else []:
            if not line.startswith(b'{"state": "batch"'):
                continue
            with suppress(ValueError, KeyError, RecursionError):
                told = json.loads(line)["parameters"]
                json.dumps(told)  # what is too deep for that is too deep for whoever compares it
                found.append(told)
    return [one for one in found if isinstance(one, dict)]


def exists(folder: Path) -> bool:
    """Whether a folder holds a manifest."""
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
            # The batch was killed, or the disk full, while this line was written; or it is of another version.
            continue
    return found


def _record(line: dict[str, Any]) -> Record:
    """Return what a line says.

    Raises:
        KeyError: If something is missing; so for the others.
        TypeError: If it is of another type than was written.
        ValueError: If it is a number that JSON does not have, or a state that there is not.
    """
    record = Record(
        name=_text(line["input"]),
        target=_text(line["output"]),
        state=_is(line["state"], str),
        when=_number(line["when"]),
        identity=_is(line.get("identity", {}), dict),
        fingerprint=_is(line.get("fingerprint", ""), str),
        output_size=_is(line.get("output_size"), int, type(None)),
        row=_is(line.get("row", {}), dict),
    )
    if record.state not in (BEGUN, DONE, FAILED):
        raise ValueError(record.state)
    for name, value in record.row.items():
        if name in _LISTS:
            for item in _is(value, list):
                _is(item, *_LISTS[name])
                _plain(item)
        elif name in _GROUPS:
            for figure in _is(value, dict).values():
                _plain(figure)
        else:
            _plain(value)
    return record


def _is(value: Any, *types: type) -> Any:
    # Of these types, True is no number.
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    os.fsencode(_is(value, str))  # raises for what no file can be called
    return str(value)


def _number(value: Any) -> float:
    if not math.isfinite(_is(value, int, float)):
        raise ValueError(value)
    return float(value)


def _plain(value: Any) -> None:
    if isinstance(value, float):
        _number(value)
    elif isinstance(value, str):
        _text(value)
    elif not isinstance(value, int | None):
        raise TypeError(value)


class Manifest:
    """A manifest that is written to. Every line is on the disk before the next thing is done.

    Args:
        path: The file; lines are added to it.
        told: What the batch does, for whoever reads the file.
    """

    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        """Open it, and begin a new line if the last is broken.

        Raises:
            FileError: If it cannot be written.
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
        self._broken = size > 0 and os.read(self._descriptor, 1) != b"\n"
        self._add({"state": "batch", "version": __version__, "parameters": dict(told), "when": time.time()})

    def __enter__(self) -> Manifest:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def write(self, record: Record) -> None:
        """Add what is now known of a file.

        Raises:
            FileError: If it cannot be written.
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
        text = ("\n" if self._broken else "") + json.dumps(line) + "\n"
        left = text.encode()
        self._broken = True
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            self._broken = False
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
    """Return why a file has to be done again, in a word or two; None if its result is there and up to date.

    Args:
        record: What is known of it.
        source: The file.
        target: Its result.
        fingerprints: Those of parameters with this result.
        reference: As for `identity`.
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


def _escaped(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)
