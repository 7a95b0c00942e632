"""What can go wrong, each with the exit status the command line ends with.

A message is one sentence for a person: which file or option, what was found, what is accepted, what to
type next. The public functions raise these too, so a script can catch `SoftmorphError` alone.
"""


class SoftmorphError(Exception):
    """Anything softmorph refuses or fails at; its text is meant to be read by the user."""

    exit_code = 1


class InputError(SoftmorphError, ValueError):
    """An array, a file's values or an argument that does not fit them (exit status 1)."""


class FileError(SoftmorphError, OSError):
    """A file that is missing, unreadable, of an unknown type, or that may not be written (exit status 1)."""

    # OSError's own __str__ would print an errno tuple; a message is all there is here.
    def __str__(self) -> str:
        """Return the message alone."""
        return " ".join(str(argument) for argument in self.args)


class RuleError(SoftmorphError, ValueError):
    """A Boolean rule that is malformed, or whose decision diagram is too large (exit status 1)."""


class ClusterError(SoftmorphError):
    """Other machines that are not there, cannot do the work, or went away (exit status 1)."""


class UsageError(SoftmorphError, ValueError):
    """A call that is wrong whatever the data: an unknown method, two options that exclude each other (2)."""

    exit_code = 2


class NotReachedError(SoftmorphError, RuntimeError):
    """What was asked for could not be had; the best that was found is written all the same (exit status 3)."""

    exit_code = 3


class SoftmorphWarning(UserWarning):
    """What a person should know about a result that is valid all the same."""
