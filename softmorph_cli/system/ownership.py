"""Permissions: a new file gets owner, group, mode and access control lists of the file that it replaces."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

# POSIX access control lists: of a file or folder, and the default of new files in a folder.
_ACCESS: Final = "system.posix_acl_access"
_DEFAULT: Final = "system.posix_acl_default"


def user() -> int:
    """Return the user ID of this process; 0 where files have no owner."""
    return os.geteuid() if hasattr(os, "geteuid") else 0


def open_to(state: os.stat_result, bits: int) -> bool:
    """Return whether the mode of a file grants any permission in `bits`; False on Windows, which has no such modes.

    Args:
        state: The status of the file, from `os.stat`.
        bits: Permission bits, such as `stat.S_IWOTH`.
    """
    return hasattr(os, "geteuid") and bool(state.st_mode & bits)


def pass_on(old: Path, new: Path, own: int) -> bool:
    """Copy owner, group, mode and access control lists of one file or folder to another, as far as permitted.

    If owner, group or access list cannot be copied, permissions are reduced, because the old mode was meant for other
    users.

    Args:
        old: The file or folder that is replaced.
        new: The file or folder that replaces `old`.
        own: The mode of a new file or folder of this user.

    Returns:
        Whether owner, group, mode and access lists were all copied.
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
        # With a list, the group bits are its mask, the most that it grants to anyone, and not the group's permissions.
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
    """Set the mode of a file or folder, given by path or file descriptor; do nothing where modes are not supported."""
    if isinstance(path, int) and os.chmod not in os.supports_fd:
        return
    with suppress(OSError):
        os.chmod(path, mode)  # noqa: PTH101 (which takes no descriptor)


def new_folder_mode(beside: Path) -> int:
    """Return the mode that a new folder gets from the umask, access control lists and its parent folder.

    Args:
        beside: A private folder of this process, with the default access list of its parent folder.
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
        # Only root may change the owner; other users may choose one of their groups.
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
    if sys.platform != "linux":
        return True
    wanted = _list_of(old, kind)
    with suppress(OSError):
        if wanted is not None:
            os.setxattr(new, kind, wanted, follow_symlinks=False)
        elif _list_of(new, kind) is not None:
            os.removexattr(new, kind, follow_symlinks=False)
    return _list_of(new, kind) == wanted
