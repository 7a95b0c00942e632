"""Exceptions, each with the exit status of the command line.

A message is one sentence for the user: which file or option, what was found, what is accepted, what to type next. The
public functions raise them, too, so a script can catch `SoftmorphError`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Status(NamedTuple):
    """The meaning of an exit status of the command line.

    Attributes:
        kind: One word, which is the field `error.kind` of a JSON document.
        meaning: What it says of the run.
    """

    kind: str
    meaning: str


STATUSES: Final = {
    0: Status("done", "All that was asked for is done."),
    1: Status(
        "failed",
        "A file is missing, damaged or unsuitable, or could not be written; of several files at least one failed.",
    ),
    2: Status("usage", "The command line is wrong whatever the files hold; nothing was done."),
    3: Status(
        "not-reached",
        "All results are written, and a goal that was asked for is not met: the Betti numbers of topology repair, the "
        "short bars of topology simplify, the fit of a prior.",
    ),
    130: Status(
        "interrupted", "Interrupted by Ctrl-C; files that were not finished are as they were before."
    ),
    143: Status(
        "terminated", "Ended by SIGTERM, as by a cluster; files that were not finished are as before."
    ),
}


def status_of(code: int) -> Status:
    """Return the meaning of an exit status; 128 + N is the end by signal N."""
    return STATUSES.get(code) or STATUSES[143 if code > 128 else 1]


class SoftmorphError(Exception):
    """Base class of all errors; the message is meant for the user."""

    exit_code = 1


class InputError(SoftmorphError, ValueError):
    """Invalid values of an array or a file, or an argument that does not fit them (exit status 1)."""


class FileError(SoftmorphError, OSError):
    """A file that is missing, unreadable, of an unknown type, or that may not be written (exit status 1)."""

    def __str__(self) -> str:
        """Return the message without the errno tuple of `OSError`."""
        return " ".join(str(argument) for argument in self.args)


class RuleError(SoftmorphError, ValueError):
    """A Boolean rule that is malformed, or whose decision diagram is too large (exit status 1)."""


class ClusterError(SoftmorphError):
    """Workers on other machines that are unreachable, unsuitable or lost (exit status 1)."""


class UsageError(SoftmorphError, ValueError):
    """A call that is invalid for any data, such as an unknown method or conflicting options (exit status 2)."""

    exit_code = 2


class NotReachedError(SoftmorphError, RuntimeError):
    """A requested result that could not be reached; the best one found is written (exit status 3)."""

    exit_code = 3


class SoftmorphWarning(UserWarning):
    """A note on a valid result that the user should know."""
