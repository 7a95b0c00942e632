"""Writing files so that nobody ever finds half of one: beside the target first, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from softmorph_cli.errors import FileError


def check_writable(path: Path, *, force: bool = False) -> None:
    """Refuse, before anything is computed, a path that could not or should not be written.

    Args:
        path: The file to be written later.
        force: Whether an existing file may be replaced.

    Raises:
        FileError: If the folder is missing or read-only, the path is a folder, or the file exists and `force`
            is off.
    """
    try:
        folder = path.resolve().parent
        if path == Path():  # an empty word, from a shell variable that is not set
            raise FileError("an output has an empty name; name a file.")
        if path.is_dir():
            raise FileError(f"{path} is a folder; name a file in it.")
        if folder.exists() and not folder.is_dir():
            raise FileError(f"{path}: {folder} is a file, not a folder; choose another output folder.")
        if not folder.is_dir():
            create = shlex.join(["mkdir", "-p", str(folder)])
            raise FileError(f"{path}: the folder {folder} does not exist; create it first: {create}")
        if path.exists() and not force:
            raise FileError(f"{path} exists already; add --force to replace it.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise FileError(f"{path}: the folder {folder} is read-only; choose another output folder.")
    except FileError:
        raise
    except (OSError, RuntimeError) as error:  # a name too long, a circle of symbolic links
        raise FileError(f"{path} cannot be written: {_reason(error)}") from error


@contextmanager
def replacing(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path in the same folder and rename it to `path` when the block ends well.

    The temporary name ends like the real one, because libraries choose a format by it. If the block raises
    (a full disk, Ctrl-C, SIGTERM turned into an exception), the temporary file is removed and `path` is as it
    was before. A symbolic link is followed: its target is replaced, not the link.

    Args:
        path: The file to be written.
        force: Whether an existing file may be replaced.

    Yields:
        The path to write to.

    Raises:
        FileError: As `check_writable`, or when the system refuses to write.
    """
    check_writable(path, force=force)
    target = path.resolve()
    temporary = target.with_name(f".softmorph-{secrets.token_hex(6)}-{target.name[-20:]}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(target)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} could not be written: {_reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _flush_to_disk(path: Path) -> None:
    # Some file systems report a full disk only here; after it the rename cannot expose an empty file.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, RuntimeError):
        return "its symbolic links lead in a circle."
    # ITK keeps no error number, only the system's words; NumPy only counts what it could not write.
    words = str(error)
    short = os.strerror(errno.ENOSPC) in words or re.search(r"\d+ requested and \d+ written", words)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or short:
        return "the disk is full; nothing was left behind. Free some space or choose another output folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is read-only; choose another output folder."
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long; choose a shorter one."
    return f"{error.strerror or error}."
