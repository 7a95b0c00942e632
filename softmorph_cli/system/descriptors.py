"""Opening and locking files by descriptor, on POSIX systems and on Windows.

A lock on a file shows other processes that the file is being written; the system releases the lock when the process
that took it ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

# Whether a temporary file or folder can be locked while it is also opened by its name. Windows opens no folders,
# denies other handles access to locked bytes, and neither renames nor removes open files.
HELD_WHILE_WRITTEN: Final = sys.platform != "win32"

# The mode in which a file has to be opened to be flushed to the disk.
FLUSHABLE: Final = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY

# No conversion of line ends; no waiting for the other end of a pipe; no controlling terminal.
_PLAIN: Final = ("O_BINARY", "O_NONBLOCK", "O_NOCTTY")


def open_plain(path: Path, flags: int = os.O_RDONLY, *, follow: bool = True) -> int:
    """Open a file, or a folder where the system can, without blocking if the file is a pipe.

    Args:
        path: The file or folder.
        flags: The flags of `os.open`, such as `os.O_RDONLY`.
        follow: Whether symbolic links are followed; if not, links are refused where the system can.

    Returns:
        The file descriptor, which child processes do not inherit.

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
    # filelock makes the same call, but importing it adds 30 ms to every command.
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def lock(descriptor: int) -> bool | None:
    """Lock an open file or folder without waiting; return whether this process got the lock.

    The result is False if another process holds the lock, and None where the file system has no locks.
    """
    try:
        return _take(descriptor)
    except OSError:
        return None
