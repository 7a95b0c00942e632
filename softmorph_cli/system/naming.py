"""Renaming files and folders atomically, with or without replacing an existing file or folder."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

# Arguments of renameat2: paths are relative to the working folder; do not replace; exchange the two names.
_HERE: Final = -100
_NOREPLACE, _EXCHANGE = 1, 2
# The error numbers of systems and file systems without renameat2 or this flag of it.
_UNKNOWN: Final = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY)


def take_free(temporary: Path, target: Path) -> None:
    """Rename a file or a folder to a name that is not in use, without ever replacing another file.

    Raises:
        FileExistsError: If a file or folder with the name `target` exists, also if it appeared just now.
        OSError: If the system refuses.
    """
    if sys.platform == "win32":  # where a rename never replaces anything
        temporary.rename(target)
        return
    if _renamed(temporary, target, _NOREPLACE):
        return
    folder = temporary.is_dir()
    if not folder and _linked(temporary, target):
        return
    # An empty file or folder reserves the name until the next line replaces it.
    if folder:
        target.mkdir(mode=0o700)
    else:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        temporary.rename(target)
    except BaseException:
        (target.rmdir if folder else target.unlink)()
        raise


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two files or folders in one step; return False where the system cannot."""
    return _renamed(first, second, _EXCHANGE)


def flush(folder: Path) -> None:
    """Flush the directory entries of a folder to the disk where the system can; the content of files is not flushed."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _linked(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        return False
    temporary.unlink()
    return True


def _renamed(first: Path, second: Path, how: int) -> bool:
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), how) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))
