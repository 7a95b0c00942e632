"""Who may read and write a file: what replaces one gets its owner, group, mode and access list."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_ACCESS_LIST: Final = "system.posix_acl_access"


def pass_on(old: Path, new: Path, own: int) -> bool:
    """Give a file or folder what another one has, as far as the system permits.

    Where the group cannot be kept, nobody gets more than of a new file of this user: the bits of the old mode were
    meant for others.

    Args:
        old: What is replaced.
        new: What replaces it.
        own: The mode of a new file or folder of this user.

    Returns:
        Whether all of it was kept.
    """
    had = old.lstat()
    mode = stat.S_IMODE(had.st_mode) & (0o2777 if stat.S_ISDIR(had.st_mode) else 0o777)
    _give(new, had.st_uid, had.st_gid)
    has = new.lstat()
    kept = (has.st_uid, has.st_gid) == (had.st_uid, had.st_gid)
    if has.st_gid != had.st_gid:
        mode &= own
    listed = _pass_list_on(old, new) if kept else False
    if not listed and _list_of(old) is not None:
        # Without the list, the bits of the group would be what was granted at most to anybody on it.
        mode, kept = mode & ~0o070, False
    if mode != stat.S_IMODE(new.lstat().st_mode):
        try:
            new.chmod(mode)
        except OSError:  # a file system without modes
            kept = False
    return kept


def set_mode(path: Path, mode: int) -> None:
    """Set a mode, where the file system has any."""
    with suppress(OSError):
        path.chmod(mode)


def new_folder_mode(beside: Path) -> int:
    """Return the mode of a new folder in the place of another, as umask, access lists and the folder above have it."""
    probe = beside.with_name(f".softmorph-{secrets.token_hex(6)}-mode")
    probe.mkdir()
    try:
        return stat.S_IMODE(probe.lstat().st_mode)
    finally:
        probe.rmdir()


def _give(path: Path, owner: int, group: int) -> None:
    state = path.lstat()
    if (state.st_uid, state.st_gid) == (owner, group):
        return
    try:
        os.chown(path, owner, group, follow_symlinks=False)
    except OSError:
        # Only root gives files away; to a group of one's own anybody may.
        with suppress(OSError):
            os.chown(path, -1, group, follow_symlinks=False)


def _list_of(path: Path) -> bytes | None:
    try:
        return os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
    except (OSError, AttributeError):  # none, or a system without them
        return None


def _pass_list_on(old: Path, new: Path) -> bool:
    """Return whether a file now has the access list of another, or none as that one."""
    wanted = _list_of(old)
    with suppress(OSError):
        if wanted is not None:
            os.setxattr(new, _ACCESS_LIST, wanted, follow_symlinks=False)
        elif _list_of(new) is not None:
            os.removexattr(new, _ACCESS_LIST, follow_symlinks=False)
    return _list_of(new) == wanted
