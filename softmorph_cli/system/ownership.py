"""Who may read and write a file: what replaces one gets its owner, group, mode and access lists."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

# The lists of POSIX: who may use a file or folder, and what is made in a folder gets.
_ACCESS: Final = "system.posix_acl_access"
_DEFAULT: Final = "system.posix_acl_default"


def user() -> int:
    """Return the number of this process's user, as files name their owner; 0 where a system gives files none."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def open_to(state: os.stat_result, bits: int) -> bool:
    """Whether these bits of a mode let others in; on a system without users its own access lists decide."""
    return hasattr(os, "geteuid") and bool(state.st_mode & bits)


def pass_on(old: Path, new: Path, own: int) -> bool:
    """Give a file or folder what another one has, as far as the system permits.

    Where owner, group or access list cannot be kept, nobody gets more than of a new file of this user: the bits of the
    old mode were meant for others.

    Args:
        old: What is replaced.
        new: What replaces it.
        own: The mode of a new file or folder of this user.

    Returns:
        Whether all of it was kept.
    """
    had = old.lstat()
    folder = stat.S_ISDIR(had.st_mode)
    mode = stat.S_IMODE(had.st_mode) & (0o2777 if folder else 0o777)
    _give(new, had.st_uid, had.st_gid)
    has = new.lstat()
    kept = (has.st_uid, has.st_gid) == (had.st_uid, had.st_gid)
    if not kept:
        mode &= own
    listed = kept and _pass_list_on(old, new, _ACCESS)
    if not listed and (kept or _list_of(old, _ACCESS) is not None):
        # With a list, the bits of the group are what is granted at most to anybody on it, and not what the group has.
        mode, kept = mode & ~0o070, False
    if folder and kept:
        kept = _pass_list_on(old, new, _DEFAULT)
    if mode != stat.S_IMODE(new.lstat().st_mode):
        try:
            new.chmod(mode)
        except OSError:  # a file system without modes
            kept = False
    return kept


def set_mode(path: Path | int, mode: int) -> None:
    """Set the mode of a file or folder, by its path or its descriptor, where the file system has any."""
    if isinstance(path, int) and os.chmod not in os.supports_fd:
        return
    with suppress(OSError):
        os.chmod(path, mode)  # noqa: PTH101 (which takes no descriptor)


def new_folder_mode(beside: Path) -> int:
    """Return the mode that umask, access lists and the folder above give to a new folder.

    Args:
        beside: A folder of this process's own, which passes on what the folder above it does.
    """
    probe = beside / ".softmorph-mode"
    with suppress(FileExistsError):  # left by a run that was killed just here
        probe.mkdir()
    try:
        return stat.S_IMODE(probe.lstat().st_mode)
    finally:
        probe.rmdir()


def _give(path: Path, owner: int, group: int) -> None:
    if sys.platform == "win32":
        return
    state = path.lstat()
    if (state.st_uid, state.st_gid) == (owner, group):
        return
    try:
        os.chown(path, owner, group, follow_symlinks=False)
    except OSError:
        # Only root gives files away; to a group of one's own anybody may.
        with suppress(OSError):
            os.chown(path, -1, group, follow_symlinks=False)


def _list_of(path: Path, kind: str) -> bytes | None:
    if sys.platform != "linux":
        return None
    try:
        return os.getxattr(path, kind, follow_symlinks=False)
    except OSError:
        return None


def _pass_list_on(old: Path, new: Path, kind: str) -> bool:
    """Return whether a file or folder now has the list of another, or none as that one."""
    if sys.platform != "linux":
        return True
    wanted = _list_of(old, kind)
    with suppress(OSError):
        if wanted is not None:
            os.setxattr(new, kind, wanted, follow_symlinks=False)
        elif _list_of(new, kind) is not None:
            os.removexattr(new, kind, follow_symlinks=False)
    return _list_of(new, kind) == wanted
