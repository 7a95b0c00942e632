"""Writing files so that nobody ever finds half of one: beside the target first, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import shutil
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from softmorph_cli.errors import FileError, SoftmorphWarning
from softmorph_cli.system import descriptors, naming, ownership
from softmorph_cli.system.parameters import named

# What makes a folder a node of a Zarr store, versions 2 and 3.
STORE_MARKS: Final = (".zgroup", ".zarray", "zarr.json")
# What is called so is being written, or was left by a process that was killed.
LEFTOVER: Final = re.compile(r"\.softmorph-[0-9a-f]{12}-(.+)", re.DOTALL)
# How much of a target's name the temporary one of a file keeps, and that of a Zarr store.
_KEPT: Final = (20, 200)


def is_store(folder: Path) -> bool:
    """Whether a folder is a node of a Zarr store: a group or an array, of either version."""
    return any(os.path.isfile(folder / mark) for mark in STORE_MARKS)  # noqa: PTH113 (which raises nothing)


def check_writable(path: Path, *, force: bool = False, store: bool = False) -> None:
    """Refuse, before anything is computed, a path that could not or should not be written.

    A pipe or a device such as /dev/null or /dev/stdout is written into, with `force` and without; a disk is not.

    Args:
        path: The file to be written later.
        force: Whether an existing file may be replaced.
        store: Whether it is a Zarr store, which is a folder; no folder but another store is ever replaced.

    Raises:
        FileError: If the folder is missing or read-only, the path is a folder, or the file exists and `force`
            is off.
    """
    try:
        if path == Path():  # an empty word, from a shell variable that is not set
            raise FileError("an output has an empty name, or that of the current folder; name a file.")
        if _is_special(path):
            return _check_stream(path, store=store)
        folder = path.resolve().parent
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
            raise FileError(f"{path} exists already; add {named('force', True)} to replace it.")
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
def replacing(path: Path, *, force: bool = False, follow: bool = True) -> Iterator[Path]:
    """Give a temporary path in the same folder and rename it to `path` when the block ends well.

    The temporary name ends like the real one, because libraries choose a format by it. If the block raises
    (a full disk, Ctrl-C, SIGTERM turned into an exception), the temporary file is removed and `path` is as it
    was before. A file that is replaced passes on its mode, owner and group. What is no regular file gets the bytes
    instead of being replaced.

    Args:
        path: The file to be written.
        force: Whether an existing file may be replaced; if not, one that comes while the block runs stays too.
        follow: Whether the target of a symbolic link is replaced, and a pipe or device written into. If not, the link
            itself is replaced, and pipes and devices are refused: for names that anybody can guess.

    Yields:
        The path to write to: an empty file.

    Raises:
        FileError: As `check_writable`, or when the system refuses to write.
    """
    check_writable(path, force=force)
    try:
        if follow and _is_special(path):
            with _pouring(path) as temporary:
                yield temporary
            return
        target = path.resolve() if follow else path.parent.resolve() / path.name
        clear_leftovers(target)
        with _temporary(target) as (temporary, own):
            yield temporary
            if not temporary.stat().st_size:
                raise OSError(errno.EIO, "nothing was written")
            _flush_to_disk(temporary)
            _take_place(temporary, target, path, own, force=force)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise not_written(path, error) from error


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
    temporary: Path | None = None
    lock: int | None = None
    try:
        clear_leftovers(target)
        temporary, lock = _own_folder(target, path, kept=keep)
        if keep and not resume:
            _clear(temporary)
        own = ownership.new_folder_mode(temporary)
        yield temporary
        flush([temporary, *temporary.rglob("*")])
        _take_place(temporary, target, path, own, force=force)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise not_written(path, error, kept=temporary if keep else None) from error
    finally:
        # A kept folder's name may be another run's by now; a random one is nobody else's.
        if temporary is not None and not keep:
            remove(temporary)
        if lock is not None:
            os.close(lock)


def partial(path: Path) -> Path:
    """Return where `replacing_store` keeps what is written of a store, for a later run to go on with."""
    target = path.resolve()
    return target.with_name(f".softmorph-partial-{target.name[-_KEPT[1] :]}")


def open_own(path: Path, flags: int) -> int:
    """Open a file of softmorph's own, whose name anybody can guess: a regular file, under no other name.

    Args:
        path: The file.
        flags: As for `os.open`.

    Returns:
        The descriptor.

    Raises:
        FileError: If it is a symbolic link or anything else that somebody may have put there.
        OSError: If the system refuses.
    """
    linked = f"{path} is a symbolic link, which is not followed here; remove it."
    if path.is_symlink():
        raise FileError(linked)
    try:
        descriptor = descriptors.open_plain(path, flags, follow=False)
    except OSError as error:
        if error.errno == errno.ELOOP:  # put there just now
            raise FileError(linked) from error
        raise
    state = os.fstat(descriptor)
    # One that was removed just now has no name at all.
    if stat.S_ISREG(state.st_mode) and state.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise FileError(f"{path} is no regular file, so it is not used; remove it.")
    copy = f"{path}.copy"
    commands = f"{shlex.join(['cp', str(path), copy])} && {shlex.join(['mv', copy, str(path)])}"
    raise FileError(
        f"{path} has other names too (hard links), which would change with it, so it is not used; if they are yours, "
        f"make it a file of its own: {commands}; otherwise remove it."
    )


def clear_leftovers(target: Path) -> None:
    """Remove what processes that are gone left of a file or store, where the file system can tell that they are."""
    with suppress(OSError):
        for entry in list(os.scandir(target.parent)):
            named = LEFTOVER.fullmatch(entry.name)
            if named is not None and named[1] in tails(target):
                remove_left(Path(entry.path))


def tails(target: Path) -> set[str]:
    """Return how the names of temporary files of a target may end."""
    return {target.name[-kept:] for kept in _KEPT}


def flush(paths: Iterable[Path]) -> None:
    """Bring files, and the names of files in folders, to the disk.

    Raises:
        OSError: If the system refuses, as where a disk is full.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda path: (naming.flush if path.is_dir() else _flush_to_disk)(path), paths):
            pass


def not_written(path: Path, error: OSError, *, kept: Path | None = None) -> FileError:
    """Say why the system refused to write a file, and what to do.

    Args:
        path: The file.
        error: What the system said.
        kept: Where what was written so far is kept, for `replacing_store` to resume; None where nothing is.
    """
    return FileError(f"{path} could not be written: {_reason(error, kept)}")


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a folder, at the end of all links."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _check_stream(path: Path, *, store: bool) -> None:
    mode = path.stat().st_mode
    if store or not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise FileError(f"{path} is neither a file nor a folder, so it is not replaced; choose another name.")
    if not os.access(path, os.W_OK):
        raise FileError(f"{path} may not be written to; choose another name.")


@contextmanager
def _pouring(stream: Path) -> Iterator[Path]:
    """Give a temporary path, and copy what is written there into a pipe or a device."""
    with TemporaryDirectory(prefix="softmorph-", ignore_cleanup_errors=True) as folder:
        temporary = Path(folder, stream.name[-_KEPT[0] :])
        try:
            yield temporary
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(
                f"{stream} could not be written: its content is put together in {Path(folder).parent} first "
                f"({error.strerror or error}); name another folder with TMPDIR."
            ) from error
        try:
            # Without waiting for somebody who may never read from a pipe.
            descriptor = descriptors.open_plain(stream, os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise FileError(f"nobody reads from the pipe {stream}; start its reader first.") from error
        if sys.platform != "win32":
            os.set_blocking(descriptor, True)
        with temporary.open("rb") as file, os.fdopen(descriptor, "wb") as sink:
            shutil.copyfileobj(file, sink)


def _random_name(target: Path, kept: int) -> Path:
    return target.with_name(f".softmorph-{secrets.token_hex(6)}-{target.name[-kept:]}")


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[Path, int]]:
    """Make an empty file beside a target, locked while it is written; remove it, if it is still there, in the end.

    Yields:
        The file, and the mode of a new file here.
    """
    while True:
        temporary = _random_name(target, _KEPT[0])
        descriptor = descriptors.open_plain(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, follow=False)
        if not descriptors.HELD_WHILE_WRITTEN or _holds(descriptor, temporary):
            break
        os.close(descriptor)
    try:
        own = stat.S_IMODE(os.fstat(descriptor).st_mode)
        # Nobody may read the new content who may not read what it replaces.
        ownership.set_mode(descriptor, 0o600)
        if not descriptors.HELD_WHILE_WRITTEN:
            os.close(descriptor)
        yield temporary, own
    finally:
        with suppress(OSError):
            temporary.unlink()
        if descriptors.HELD_WHILE_WRITTEN:
            os.close(descriptor)


def _take_place(temporary: Path, target: Path, path: Path, own: int, *, force: bool) -> None:
    """Give what was written its name, in one step; without `force` only if nobody has it.

    Args:
        temporary: A file or a folder.
        target: Where `path` leads to.
        path: The name as the user has it.
        own: The mode of a new file or folder.
        force: Whether what is there may be replaced.
    """
    folder = temporary.is_dir()
    while True:
        try:
            if force and os.path.lexists(target):
                _replace(temporary, target, path, own, folder=folder)
            else:
                ownership.set_mode(temporary, own)
                naming.take_free(temporary, target)
            break
        except FileExistsError as error:
            if not force:
                raise FileError(
                    f"{path} came into being while its content was computed, and is not replaced: choose another "
                    f"name, or add {named('force', True)}."
                ) from error
        except FileNotFoundError:
            # What was to be replaced was removed meanwhile: its name is free now.
            if not force or os.path.lexists(target) or not os.path.lexists(temporary):
                raise
    naming.flush(target.parent)


def _replace(temporary: Path, target: Path, path: Path, own: int, *, folder: bool) -> None:
    if not target.is_symlink():
        # What came meanwhile is no other than what was there before.
        check_writable(target, force=True, store=folder)
        if _is_special(target):
            raise FileError(f"{path} is a pipe or a device, which is not replaced; choose another name.")
    if target.is_symlink() or target.is_dir() != folder:
        ownership.set_mode(temporary, own)
    elif not _pass_on(target, temporary, own):
        warnings.warn(
            f"{path} had an owner, a group, a mode or an access list that you cannot give: it is yours now, with mode "
            f"{stat.S_IMODE(temporary.stat().st_mode):o}.",
            SoftmorphWarning,
            stacklevel=2,
        )
    if not folder:
        temporary.replace(target)
        return
    with _claimed(target):
        if naming.exchange(temporary, target):
            # What was there before, which no other run takes for a kept folder while it is claimed.
            remove(temporary)
            return
    # By no name of what is left over and may be removed: for a moment it is all there is of the store.
    aside = target.with_name(f".softmorph-before-{secrets.token_hex(6)}-{target.name[-_KEPT[1] :]}")
    target.rename(aside)
    try:
        naming.take_free(temporary, target)
    except BaseException as error:
        try:
            naming.take_free(aside, target)
        except FileExistsError:
            raise FileError(
                f"{path} was replaced by something else meanwhile; what was there before is kept as {aside}."
            ) from error
        raise
    remove(aside)


def _pass_on(old: Path, new: Path, own: int) -> bool:
    """Pass on owner, group and mode; those of a store's files are those of the file that says that it is one."""
    if not new.is_dir():
        return ownership.pass_on(old, new, own)
    # In a store that git-annex keeps it is a link, whose own mode says nothing.
    mark = next((old / name).resolve() for name in STORE_MARKS if (old / name).is_file())
    kept = True
    for parent, folders, files in os.walk(new):
        for folder in folders:
            kept &= ownership.pass_on(old, Path(parent, folder), own)
        for file in files:
            kept &= ownership.pass_on(mark, Path(parent, file), own & 0o666)
    # Last, because it may take away the right to look into it.
    return ownership.pass_on(old, new, own) and kept


def _own_folder(target: Path, path: Path, *, kept: bool) -> tuple[Path, int | None]:
    """Make a folder beside a target that nobody else may look into, and hold it for this process.

    Args:
        target: The store to be written.
        path: Its name as the user has it.
        kept: Whether it is the one that `partial` names, which may be there already; else its name is random.

    Returns:
        The folder, and a descriptor that holds its lock; None where the system opens no folders.

    Raises:
        FileError: If the name is taken by anything else, or another run holds it.
    """
    while True:
        folder = partial(target) if kept else _random_name(target, _KEPT[1])
        made = True
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            made = False
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
            continue  # another run removed it or gave it another name before it was opened
        try:
            state = os.fstat(descriptor)
            if not made and state.st_uid != ownership.user() and state.st_uid != _owner_beside(target):
                raise FileError(f"{folder} belongs to somebody else; choose another name than {path}.")
            # What is made in it gets the group of the folder above, where that is so.
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


def _owner_beside(target: Path) -> int:
    """Return whose a new folder is: not this user's where a file system gives all that it holds to one owner."""
    probe = _random_name(target, _KEPT[1])
    probe.mkdir(mode=0o700)
    try:
        return probe.lstat().st_uid
    finally:
        probe.rmdir()


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a folder, where that can be done, so that no other run does."""
    try:
        descriptor = descriptors.open_plain(folder, follow=False)
    except OSError:  # not ours to look into, so not to be taken for a kept folder of ours either
        yield
        return
    try:
        descriptors.lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _holds(descriptor: int, path: Path) -> bool:
    """Lock an open file or folder; return whether it is this process's own from now on, and still has its name.

    Another run may have taken it for a leftover before it was locked, and have removed it or be about to.
    """
    if descriptors.lock(descriptor) is False:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def remove_left(path: Path, *, unsure: bool = False) -> None:
    """Remove a temporary file or folder unless a process that is alive still writes it.

    Args:
        path: The file or folder.
        unsure: Whether to remove it too where the file system cannot tell.
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


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        remove(entry)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, as far as the system lets it be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _flush_to_disk(path: Path) -> None:
    # Some file systems report a full disk only here; after it the rename cannot expose an empty file.
    descriptor = os.open(path, descriptors.FLUSHABLE)
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
            return (
                f"the disk is full; what was done is kept in {kept}. Free some space, then go on with "
                f"{named('resume', True)}."
            )
        return "the disk is full; nothing was left behind. Free some space or choose another output folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is read-only; choose another output folder."
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long; choose a shorter one."
    return f"{error.strerror or error}."
