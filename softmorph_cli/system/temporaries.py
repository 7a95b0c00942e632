"""Temporary files and folders beside an output file: creating, naming, locking and removing them.

A process locks a temporary file or folder while writing it, so that other processes can tell it from a leftover of a
killed process.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from softmorph_cli.errors import FileError
from softmorph_cli.system import descriptors, ownership

# The name of a temporary file or folder, which a killed process may leave behind.
LEFTOVER: Final = re.compile(r"\.softmorph-[0-9a-f]{12}-(.+)", re.DOTALL)
# How many characters of a target's name that of a temporary file ends with, and that of a Zarr store.
KEPT: Final = (20, 200)


def partial(path: Path) -> Path:
    """Return the path of the folder where `replacing_store` keeps an unfinished store, to be resumed later."""
    target = path.resolve()
    return target.with_name(f".softmorph-partial-{target.name[-KEPT[1] :]}")


def tails(target: Path) -> set[str]:
    """Return the suffixes, taken from the name of `target`, with which names of its temporary files may end."""
    return {target.name[-kept:] for kept in KEPT}


def clear_leftovers(target: Path) -> None:
    """Remove temporary files of `target` that killed processes left; files locked by running processes stay."""
    with suppress(OSError):
        for entry in list(os.scandir(target.parent)):
            match = LEFTOVER.fullmatch(entry.name)
            if match is not None and match[1] in tails(target):
                remove_left(Path(entry.path))


def remove_left(path: Path, *, unsure: bool = False) -> None:
    """Remove a temporary file or folder unless a running process is writing it.

    Args:
        path: The file or folder.
        unsure: Whether to remove the file also where the file system has no locks.
    """
    if not descriptors.HELD_WHILE_WRITTEN:
        if unsure:
            remove(path)
        return
    try:
        descriptor = descriptors.open_plain(path, follow=False)
    except OSError:
        return
    try:
        locked = descriptors.lock(descriptor)
        if locked or (locked is None and unsure):
            remove(path)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its content; errors of the system are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, int]]:
    """Create an empty locked file beside a target; remove the file when the block ends, unless it was renamed.

    Yields:
        The path of the temporary file, and the mode that a new file in this folder gets by default.
    """
    while True:
        temporary = _random_name(target, KEPT[0])
        descriptor = descriptors.open_plain(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, follow=False)
        if not descriptors.HELD_WHILE_WRITTEN or _holds(descriptor, temporary):
            break
        os.close(descriptor)
    try:
        own = stat.S_IMODE(os.fstat(descriptor).st_mode)
        # The file that it replaces may be private.
        ownership.set_mode(descriptor, 0o600)
        if not descriptors.HELD_WHILE_WRITTEN:
            os.close(descriptor)
        yield temporary, own
    finally:
        with suppress(OSError):
            temporary.unlink()
        if descriptors.HELD_WHILE_WRITTEN:
            os.close(descriptor)


def private_folder(target: Path, path: Path, *, kept: bool) -> tuple[Path, int | None]:
    """Create a temporary folder beside a target, accessible to this user only, and lock it for this process.

    Args:
        target: The path of the store to be written, with symbolic links resolved.
        path: The path of the store as the user gave it, for messages.
        kept: Whether to use the folder that `partial` names, which may exist already, instead of a random name.

    Returns:
        The folder, and a file descriptor that holds its lock; None in place of the descriptor where the system opens
        no folders.

    Raises:
        FileError: If the name belongs to a file, a link or another user's folder, or another process holds the lock.
    """
    while True:
        folder = partial(target) if kept else _random_name(target, KEPT[1])
        created = True
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            created = False
            if not kept:
                continue
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise FileError(
                    f"{folder} is no folder but a link or a file; remove it, or choose another name than {path}."
                )
            if not descriptors.HELD_WHILE_WRITTEN:
                return folder, None
            flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
            descriptor = descriptors.open_plain(folder, flags, follow=False)
        except FileNotFoundError:
            continue  # another run removed or renamed it before it was opened
        try:
            state = os.fstat(descriptor)
            if not created and state.st_uid != ownership.user() and state.st_uid != _owner_beside(target):
                raise FileError(f"{folder} belongs to somebody else; choose another name than {path}.")
            # Files in it inherit the group of the folder above, where that one has the set-group-ID bit.
            ownership.set_mode(descriptor, 0o700 | stat.S_IMODE(state.st_mode) & stat.S_ISGID)
            if _holds(descriptor, folder):
                return folder, descriptor
            if kept and descriptors.lock(descriptor) is False:
                raise FileError(
                    f"{path} is being written by another run; wait for it, or choose another name."
                )
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder within the block, where possible, so that no other process uses or removes the folder."""
    try:
        descriptor = descriptors.open_plain(folder, follow=False)
    except OSError:  # not readable by this user, so no other run of theirs takes it either
        yield
        return
    try:
        descriptors.lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _random_name(target: Path, kept: int) -> Path:
    return target.with_name(f".softmorph-{secrets.token_hex(6)}-{target.name[-kept:]}")


def _owner_beside(target: Path) -> int:
    """Return the user ID that owns new folders beside `target`; some file systems give all files to one owner."""
    probe = _random_name(target, KEPT[1])
    probe.mkdir(mode=0o700)
    try:
        return probe.lstat().st_uid
    finally:
        probe.rmdir()


def _holds(descriptor: int, path: Path) -> bool:
    """Lock an open file or folder; return whether this process got the lock and `path` still names that file.

    Another process may have taken the file for a leftover before it was locked, and have removed it or be about to.
    """
    if descriptors.lock(descriptor) is False:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
