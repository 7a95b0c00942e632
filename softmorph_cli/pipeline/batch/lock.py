"""A lock on an output folder, so that only one batch at a time writes to this folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from softmorph_cli.errors import FileError
from softmorph_cli.system import descriptors
from softmorph_cli.system.files import open_own


def name_of(tag: str) -> str:
    """Return the name of the lock file; `tag` distinguishes parts of a batch (subsets of files, run separately)."""
    return f".softmorph-batch{tag}.lock"


@contextmanager
def held(folder: Path, tag: str) -> Iterator[None]:
    """Lock a folder for this process within the block; a stale lock, whose process has ended, is taken over.

    Args:
        folder: The output folder, which exists.
        tag: Text that identifies the part of the batch; parts of one batch may run at the same time.

    Raises:
        FileError: If another batch holds the lock, or the folder cannot be written to.
    """
    path = folder / name_of(tag)
    descriptor = _lock(path, folder)
    try:
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # on a full disk the lock holds without its content
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(_me()).encode())
        yield
    finally:
        # While it is still locked, so that a process that waits for it notices that the file was removed.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
        if not descriptors.HELD_WHILE_WRITTEN:  # it could not be removed while it was open
            with suppress(OSError):
                path.unlink()


def _me() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _lock(path: Path, folder: Path) -> int:
    while True:
        try:
            descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        except FileError:
            raise
        except OSError as error:
            raise FileError(
                f"{folder} cannot be written to ({error.strerror or error}); choose another output folder."
            ) from error
        holder = _holder(descriptor)
        locked = descriptors.lock(descriptor)
        if locked is False:
            os.close(descriptor)
            raise _refusal(folder, holder)
        # On a file system without locks only the content of the file tells.
        if locked is None and holder and holder != _me() and _alive(holder):
            os.close(descriptor)
            raise _refusal(folder, holder, path)
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # its last holder has just removed it


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        content = json.loads(os.read(descriptor, 4096))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _alive(holder: dict[str, Any]) -> bool:
    if holder.get("host") != socket.gethostname():
        return True  # unknown from here
    try:
        number = int(holder["pid"])
        if number <= 0:  # these numbers stand for groups of processes
            return False
        os.kill(number, 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _refusal(folder: Path, holder: dict[str, Any], path: Path | None = None) -> FileError:
    who = f" (process {holder['pid']} on {holder.get('host', '?')})" if "pid" in holder else ""
    gone = f"; if it is gone, remove {path}" if path is not None else ""
    return FileError(
        f"another batch{who} is writing to {folder}; wait for it, choose another output folder, or share the "
        f"files out with --num-parts and --part-id{gone}."
    )
