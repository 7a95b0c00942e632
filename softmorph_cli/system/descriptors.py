"""Files opened by descriptor, and locks on them: the one place that knows what a system has of either.

A lock tells other runs that a process still writes a file; the system releases it however the process ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

# Whether a temporary file or folder can be held open and locked while others open it by its name. Windows opens no
# folder, keeps other handles from the bytes that are locked, and neither renames nor removes an open file.
HELD_WHILE_WRITTEN: Final = sys.platform != "win32"

# What a descriptor has to be opened for to be flushed to the disk.
FLUSHABLE: Final = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY

# Bytes as they are; no waiting for the other end of a pipe; no terminal that becomes this process's own.
_PLAIN: Final = ("O_BINARY", "O_NONBLOCK", "O_NOCTTY")


def open_plain(path: Path, flags: int = os.O_RDONLY, *, follow: bool = True) -> int:
    """Open a file, or where the system can a folder, without waiting if it is a pipe.

    Args:
        path: What is opened.
        flags: As for `os.open`.
        follow: Whether the target of a symbolic link is opened; if not, a link is refused where the system can.

    Returns:
        The descriptor, which child processes do not inherit.

    Raises:
        OSError: If the system refuses.
    """
    for name in _PLAIN if follow else (*_PLAIN, "O_NOFOLLOW"):
        flags |= getattr(os, name, 0)
    return os.open(path, flags, 0o666)


if sys.platform == "win32":
    from filelock import lock_descriptor

    def _take(descriptor: int) -> bool:
        return lock_descriptor(descriptor, blocking=False)

else:
    # What filelock does here is this one call; to import it takes 30 ms of every command.
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def lock(descriptor: int) -> bool | None:
    """Lock an open file or folder; return whether it is locked now, and None where a file system cannot tell."""
    try:
        return _take(descriptor)
    except OSError:
        return None
