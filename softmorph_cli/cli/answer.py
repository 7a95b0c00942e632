"""The one JSON object that a command prints on stdout with --json: that of its result, of its error, or of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import typer

from softmorph_cli.errors import UsageError, status_of
from softmorph_cli.io import documents


class Output(Protocol):
    """The options of every command for its JSON."""

    @property
    def json(self) -> bool:
        """Whether the JSON is printed on stdout."""

    @property
    def json_file(self) -> Path | None:
        """The file that the JSON is written to."""

    @property
    def force(self) -> bool:
        """Whether a file that exists is replaced."""


@dataclass(frozen=True)
class Wanted:
    """Whether the JSON is printed, and the file that it is written to."""

    json: bool
    json_file: Path | None
    force: bool = False


@dataclass
class _Answer:
    """What the running command will print on stdout as JSON.

    Attributes:
        command: Name of the command, such as "topology repair".
        wanted: Whether JSON is printed at all.
        document: The result, once the command has given it.
        complaints: The errors that were printed on stderr.
    """

    command: str
    wanted: bool
    document: Mapping[str, Any] | None = None
    complaints: list[str] = field(default_factory=list)


_RUNNING: Final[ContextVar[_Answer | None]] = ContextVar("running", default=None)


@contextmanager
def answering(command: str, *, wanted: bool) -> Iterator[None]:
    """Within the block a command runs, and what it gives is kept until it ends."""
    before = _RUNNING.set(_Answer(command, wanted))
    try:
        yield
    finally:
        _RUNNING.reset(before)


def give(document: Mapping[str, Any], output: Output) -> None:
    """Write the result of a command to the file of --json-file; with --json it is printed when the command ends."""
    if output.json_file is not None:
        documents.save(document, output.json_file, force=output.force)
    running = _RUNNING.get()
    if running is not None and output.json:
        running.document = document


def check_file(path: Path | None) -> None:
    """Refuse --json-file -, which names no file."""
    if path == Path("-"):
        raise UsageError("--json-file - names no file: --json prints the JSON on stdout.")


def add_complaint(message: str) -> None:
    """Keep an error that was printed on stderr, for the JSON object of a run that fails."""
    if (running := _RUNNING.get()) is not None:
        running.complaints.append(message)


def finish(status: int = 0) -> None:
    """Print the JSON object of the running command, with the field `error` where the exit status is not 0."""
    running = _RUNNING.get()
    if running is None or not running.wanted:
        return
    running.wanted = False
    document = running.document
    if status:
        begun = documents.head(running.command) if document is None else document
        document = {**begun, "error": _described(running.complaints, status)}
    if document is not None:
        typer.echo(documents.as_json(document))


def wrong_usage(command: str, message: str, status: int) -> None:
    """Print the JSON object of a command line that could not be read."""
    with answering(command, wanted=True):
        add_complaint(message)
        finish(status)


def _described(complaints: list[str], status: int) -> dict[str, Any]:
    """Return the entry `error` of a document; of several errors the first is told, and how many there are."""
    message = complaints[0] if complaints else status_of(status).meaning
    if len(complaints) > 1:
        message += f" ({len(complaints) - 1:,} more on stderr)"
    return {"message": message, "exit_code": status, "kind": status_of(status).kind}
