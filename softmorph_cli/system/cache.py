"""The cache folder of compiled programs and generated kernels.

The cache folder is private to the user, and entries are written atomically. Processes may share the folder: all of them
write the same bytes for an entry, and the first file stays. Python imports code from the cache, so a folder is not used
if it belongs to another user or if other users may write to it.
"""

from __future__ import annotations

import atexit
import errno
import os
import secrets
import shutil
import stat
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.system import ownership

VARIABLE = "SOFTMORPH_CACHE_DIR"


def root() -> Path:
    """Return the cache folder; create it if necessary.

    The cache folder is `SOFTMORPH_CACHE_DIR` if that variable is set, else the user's cache folder, else (where the
    home folder is read-only) a private folder in the system's temporary folder.
    """
    return _root(os.environ.get(VARIABLE))


def folder(kind: str) -> Path:
    """Return the subfolder `kind` of the cache folder, for one kind of entries; create it if necessary.

    Raises:
        OSError: If the subfolder cannot be created, or if it or its __pycache__ belongs to another user or is writable
            by other users.
    """
    found = root() / kind
    found.mkdir(mode=0o700, exist_ok=True)
    # Python and Numba create a folder for compiled code beside its source, with the mode of the umask.
    inner = found / "__pycache__"
    for place in (found, inner):
        with suppress(FileNotFoundError):
            if place == inner and _mine(place):
                place.chmod(0o700)
            if not _private(place):
                _warn_once(place)
                raise PermissionError(
                    errno.EPERM, "belongs to somebody else, or is open to others", str(place)
                )
    return found


def load(kind: str, key: str) -> str | None:
    """Return the text of the entry `key` in subfolder `kind`; None if the entry is missing or unreadable."""
    try:
        return (folder(kind) / key).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def store(kind: str, key: str, text: str) -> Path:
    """Store `text` as entry `key` in subfolder `kind` and return the path; a file with equal text is left untouched.

    Raises:
        OSError: If `folder` refuses the subfolder, or the entry cannot be written.
    """
    place = folder(kind)
    path = place / key
    occupied = path.exists()
    if occupied and load(kind, key) == text:
        return path
    temporary = place / f".{secrets.token_hex(8)}"
    try:
        temporary.write_text(text, encoding="utf-8")
        # A link fails where another process was first: the time stamp that Numba's cache checks must not change.
        try:
            if occupied:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path


@cache
def _warn_once(place: Path) -> None:
    warnings.warn(
        f"{place} belongs to somebody else, or others may write to it: it is not used, and every run compiles anew. "
        f"Remove it, or set {VARIABLE} to a folder of your own.",
        SoftmorphWarning,
        stacklevel=2,
    )


@cache
def _root(chosen: str | None) -> Path:
    from platformdirs import user_cache_path

    user = f"softmorph-{ownership.user()}"
    wanted = Path(chosen) if chosen else user_cache_path("softmorph", appauthor=False)
    shared = Path(tempfile.gettempdir()) / user
    for candidate in (wanted, shared):
        # A folder that the user names may be writable by its group; a default one may not.
        named = bool(chosen) and candidate is wanted
        # In a shared folder, another user may have put a link under a predictable name.
        if candidate is shared and shared.is_symlink():
            continue
        if _usable(candidate, others=stat.S_IWOTH if named else stat.S_IWOTH | stat.S_IWGRP):
            return candidate
        if named:
            reason = "it cannot be written, or others may write to it (chmod 700 helps)"
            warnings.warn(f"{VARIABLE}={chosen} is not used: {reason}.", SoftmorphWarning, stacklevel=2)
    alone = tempfile.mkdtemp(prefix=f"{user}-")
    atexit.register(shutil.rmtree, alone, ignore_errors=True)
    return Path(alone)


def _private(folder: Path) -> bool:
    return _mine(folder) and not ownership.open_to(folder.lstat(), stat.S_IWGRP | stat.S_IWOTH)


def _mine(folder: Path) -> bool:
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == ownership.user()


def _usable(folder: Path, others: int) -> bool:
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
        state = folder.stat()
        return state.st_uid == ownership.user() and not ownership.open_to(state, others)
    return False
