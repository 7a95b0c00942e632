"""Temporary files and folders beside a target: their names, locks that show who writes them, removing stale ones.

A lock is held on each of them while it is written, so that other runs can tell it from what a killed process left.
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
    """Return the folder where `replacing_store` keeps an unfinished store for a later run to resume."""
    target = path.resolve()
    return target.with_name(f".softmorph-partial-{target.name[-KEPT[1] :]}")


def tails(target: Path) -> set[str]:
    """Return the possible ends of the names of a target's temporary files."""
    return {target.name[-kept:] for kept in KEPT}


def clear_leftovers(target: Path) -> None:
    """Remove the temporary files of a target that killed processes left, where locks show that nobody writes them."""
    with suppress(OSError):
        for entry in list(os.scandir(target.parent)):
            match = LEFTOVER.fullmatch(entry.name)
            if match is not None and match[1] in tails(target):
                remove_left(Path(entry.path))


def remove_left(path: Path, *, unsure: bool = False) -> None:
    """Remove a temporary file or folder unless a running process is writing it.

    Args:
        path: The file or folder.
        unsure: Whether to remove it too where the file system has no locks.
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
    """Remove a file, a link or a folder with its content; ignore what the system refuses to remove."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, int]]:
    """Create an empty file beside a target, locked meanwhile; remove it in the end, if it is still there.

    Yields:
        The file, and the mode that a new file has here.
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
    """Create a folder beside a target that is private to this user, and lock it for this process.

    Args:
        target: The store to be written.
        path: The same as the user named it.
        kept: Whether it is the folder that `partial` names, which may exist already; otherwise its name is random.

    Returns:
        The folder, and a descriptor that holds its lock; None where the system opens no folders.

    Raises:
        FileError: If the name is taken by something else, or another run holds the folder.
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
    """Lock a folder meanwhile, where that is possible, so that no other run takes it."""
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
    """Return the owner of new folders: not this user on file systems that give all files to one owner."""
    probe = _random_name(target, KEPT[1])
    probe.mkdir(mode=0o700)
    try:
        return probe.lstat().st_uid
    finally:
        probe.rmdir()


def _holds(descriptor: int, path: Path) -> bool:
    """Lock an open file or folder; return whether this process now holds it and it still has its name.

    Another run may have taken it for a leftover before it was locked, and have removed it or be about to.
    """
    if descriptors.lock(descriptor) is False:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
