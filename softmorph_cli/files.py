"""Writing files so that nobody ever finds half of one: beside the target first, then renamed."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from softmorph_cli.errors import FileError

# What makes a folder a node of a Zarr store, versions 2 and 3.
STORE_MARKS: Final = (".zgroup", ".zarray", "zarr.json")
# Of renameat2: relative to the working folder, and both names at once.
_HERE, _RENAME_EXCHANGE = -100, 2


def is_store(folder: Path) -> bool:
    """Whether a folder is a node of a Zarr store: a group or an array, of either version."""
    return any(os.path.isfile(folder / mark) for mark in STORE_MARKS)  # noqa: PTH113 (which raises nothing)


def check_writable(path: Path, *, force: bool = False, store: bool = False) -> None:
    """Refuse, before anything is computed, a path that could not or should not be written.

    Args:
        path: The file to be written later.
        force: Whether an existing file may be replaced.
        store: Whether it is a Zarr store, which is a folder; no folder but another store is ever replaced.

    Raises:
        FileError: If the folder is missing or read-only, the path is a folder, or the file exists and `force`
            is off.
    """
    try:
        folder = path.resolve().parent
        if path == Path():  # an empty word, from a shell variable that is not set
            raise FileError("an output has an empty name; name a file.")
        if path.is_dir() and not store:
            raise FileError(f"{path} is a folder; name a file in it.")
        if path.is_dir() and not is_store(path):
            raise FileError(
                f"{path} is a folder and no Zarr store, so it is not replaced; choose another name."
            )
        if folder.exists() and not folder.is_dir():
            raise FileError(f"{path}: {folder} is a file, not a folder; choose another output folder.")
        if not folder.is_dir():
            create = shlex.join(["mkdir", "-p", str(folder)])
            raise FileError(f"{path}: the folder {folder} does not exist; create it first: {create}")
        if path.exists() and not force:
            raise FileError(f"{path} exists already; add --force to replace it.")
        outer = next(filter(is_store, path.resolve().parents), None) if store else None
        if outer is not None:
            raise FileError(f"{path} would lie inside the Zarr store {outer}; choose another folder.")
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
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def replacing_store(
    path: Path, *, force: bool = False, keep: bool = False, resume: bool = False
) -> Iterator[Path]:
    """Do what `replacing` does, for a Zarr store: a folder.

    Args:
        path: The store to be written.
        force: Whether an existing store may be replaced; no other folder ever is.
        keep: Leave the temporary folder, whose name follows from that of `path`, when the block raises.
        resume: Go on with the temporary folder that an earlier run kept, if there is one; keeps it as well.

    Yields:
        The folder to write to; empty, unless it is one to go on with.

    Raises:
        FileError: As `check_writable`, when the system refuses to write, or when another run is writing to a
            kept folder.
    """
    check_writable(path, force=force, store=True)
    target = path.resolve()
    keep = keep or resume
    temporary = target.with_name(
        f".softmorph-{'partial' if keep else secrets.token_hex(6)}-{target.name[-200:]}"
    )
    done = lock = None
    try:
        temporary.mkdir(exist_ok=keep)
        lock = _lock(temporary, path) if keep else None
        if keep and not resume:
            _clear(temporary)
        yield temporary
        _flush_tree(temporary)
        check_writable(path, force=force, store=True)
        _put_in_place(temporary, target)
        done = True
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise not_written(path, error, kept=temporary if keep else None) from error
    finally:
        if lock is not None:
            os.close(lock)
        # After an exchange this is what was there before.
        if done or not keep:
            _remove(temporary)


def not_written(path: Path, error: OSError, *, kept: Path | None = None) -> FileError:
    """Say why the system refused to write a file, and what to do.

    Args:
        path: The file.
        error: What the system said.
        kept: Where what was written so far is kept, for `replacing_store` to resume; None where nothing is.
    """
    return FileError(f"{path} could not be written: {_reason(error, kept)}")


def _put_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
    elif not _exchange(temporary, target):
        aside = temporary.with_name(f".softmorph-{secrets.token_hex(6)}-{target.name[-200:]}")
        target.rename(aside)
        try:
            temporary.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        _remove(aside)


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step, where the system can."""
    import ctypes

    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is None:
        return False
    if swap(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number))


def _lock(folder: Path, path: Path) -> int:
    """Hold a kept folder for this process; the system lets go of it, however the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise FileError(
            f"{path} is being written by another run; wait for it, or choose another name."
        ) from error
    except OSError:  # a file system without locks
        pass
    return descriptor


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _flush_tree(folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(_flush_to_disk, files):
            pass


def _flush_to_disk(path: Path) -> None:
    # Some file systems report a full disk only here; after it the rename cannot expose an empty file.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError | RuntimeError, kept: Path | None = None) -> str:
    if isinstance(error, RuntimeError):
        return "its symbolic links lead in a circle."
    # ITK keeps no error number, only the system's words; NumPy only counts what it could not write.
    words = str(error)
    short = os.strerror(errno.ENOSPC) in words or re.search(r"\d+ requested and \d+ written", words)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or short:
        if kept is not None:
            return f"the disk is full; what was done is kept in {kept}. Free some space, then go on with --resume."
        return "the disk is full; nothing was left behind. Free some space or choose another output folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is read-only; choose another output folder."
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long; choose a shorter one."
    return f"{error.strerror or error}."
