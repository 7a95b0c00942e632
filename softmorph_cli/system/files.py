"""Atomic writing: files and Zarr stores are written beside their target and renamed when complete. Also parses TOML."""

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
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TextIO

from softmorph_cli.errors import FileError, SoftmorphError, SoftmorphWarning
from softmorph_cli.system import descriptors, naming, ownership
from softmorph_cli.system.parameters import named
from softmorph_cli.system.temporaries import (
    KEPT,
    claimed,
    clear_leftovers,
    private_folder,
    remove,
    temporary_file,
)

# The metadata files of a node of a Zarr store, versions 2 and 3.
STORE_MARKS: Final = (".zgroup", ".zarray", "zarr.json")


def is_store(folder: Path) -> bool:
    """Return whether a folder is a node of a Zarr store, which is a group or an array of version 2 or 3."""
    return any(os.path.isfile(folder / mark) for mark in STORE_MARKS)  # noqa: PTH113 (which raises nothing)


def check_writable(path: Path, *, force: bool = False, store: bool = False) -> None:
    """Raise an error, before anything is computed, if a file cannot or should not be written at a path.

    Pipes and character devices such as /dev/null are accepted, with and without `force`; block devices are refused.

    Args:
        path: The file to be written later.
        force: Whether an existing file may be replaced.
        store: Whether the output is a Zarr store, which is a folder; a store replaces nothing but another store.

    Raises:
        FileError: If the folder is missing or read-only, the path is a folder, or the file exists and `force`
            is off.
    """
    try:
        if path == Path():  # an empty word, such as an unset shell variable
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
    """Yield a temporary path in the same folder, and rename it to `path` when the block ends without an error.

    The temporary name ends like `path`, because libraries choose a file format by the suffix. If the block raises an
    exception (a full disk, Ctrl-C, SIGTERM), the temporary file is removed and `path` stays as it was. The new file
    gets the mode, owner and group of the file that it replaces. Content for a pipe or a device is copied into `path`.

    Args:
        path: The file to be written.
        force: Whether an existing file may be replaced; if not, a file that appears while the block runs stays too.
        follow: Whether the target of a symbolic link is replaced, and a pipe or device written into. If not, the link
            itself is replaced, and pipes and devices are refused: for predictable names in shared folders.

    Yields:
        The temporary path to write to, an empty file.

    Raises:
        FileError: If `check_writable` refuses the path, or the system refuses to write.
    """
    check_writable(path, force=force)
    try:
        if follow and _is_special(path):
            with _copied_into(path) as temporary:
                yield temporary
            return
        target = path.resolve() if follow else path.parent.resolve() / path.name
        clear_leftovers(target)
        with temporary_file(target) as (temporary, own):
            yield temporary
            if not temporary.stat().st_size:
                raise OSError(errno.EIO, "nothing was written")
            _flush_to_disk(temporary)
            _take_place(temporary, target, path, own, force=force)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise not_written(path, error) from error


def make_folder(folder: Path, *, parents: bool = False) -> None:
    """Create a folder for outputs if it is missing, with `parents` the folders above it too.

    Raises:
        FileError: If the system refuses.
    """
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder} cannot be made: {error.strerror or error}.") from error


@contextmanager
def writing_text(path: Path, *, force: bool = False, follow: bool = True) -> Iterator[TextIO]:
    """Yield a stream of UTF-8 text, whose content becomes the file `path` as `replacing` does it.

    Lines end as they are written. File names that are no UTF-8, which Python holds as unpaired surrogates, keep their
    bytes.
    """
    with (
        replacing(path, force=force, follow=follow) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream


@contextmanager
def replacing_store(
    path: Path, *, force: bool = False, keep: bool = False, resume: bool = False
) -> Iterator[Path]:
    """Yield a temporary folder for a Zarr store, and rename it to `path` when the block ends without an error.

    Args:
        path: The store to be written.
        force: Whether an existing store may be replaced; no other folder ever is.
        keep: Whether the temporary folder, then named by `temporaries.partial`, stays when the block raises.
        resume: Whether to continue in the temporary folder that an earlier process kept, if it exists; implies `keep`.

    Yields:
        The temporary folder to write to; empty, unless the work of an earlier process is resumed.

    Raises:
        FileError: If `check_writable` refuses the path, the system refuses to write, or another process is writing
            to the folder that an earlier process kept.
    """
    check_writable(path, force=force, store=True)
    target = path.resolve()
    keep = keep or resume
    temporary: Path | None = None
    lock: int | None = None
    try:
        clear_leftovers(target)
        temporary, lock = private_folder(target, path, kept=keep)
        if keep and not resume:
            for entry in temporary.iterdir():
                remove(entry)
        own = ownership.new_folder_mode(temporary)
        yield temporary
        flush([temporary, *temporary.rglob("*")])
        _take_place(temporary, target, path, own, force=force)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise not_written(path, error, kept=temporary if keep else None) from error
    finally:
        # Another run may have created a kept folder of the same name by now; random names are unique.
        if temporary is not None and not keep:
            remove(temporary)
        if lock is not None:
            os.close(lock)


def open_own(path: Path, flags: int) -> int:
    """Open a regular file with a predictable name in a shared folder, where another user may have placed a link.

    Args:
        path: The file.
        flags: The flags of `os.open`, such as `os.O_RDONLY`.

    Returns:
        The file descriptor.

    Raises:
        FileError: If the path is a symbolic link, a file with several hard links, or no regular file.
        OSError: If the system refuses.
    """
    linked = f"{path} is a symbolic link, which is not followed here; remove it."
    if path.is_symlink():
        raise FileError(linked)
    try:
        descriptor = descriptors.open_plain(path, flags, follow=False)
    except OSError as error:
        if error.errno == errno.ELOOP:  # created since the check
            raise FileError(linked) from error
        raise
    state = os.fstat(descriptor)
    # A file that was just removed has no link at all.
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


def flush(paths: Iterable[Path]) -> None:
    """Flush the content of files, and the directory entries of folders, to the disk.

    Raises:
        OSError: If the system reports an error, such as a full disk.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda path: (naming.flush if path.is_dir() else _flush_to_disk)(path), paths):
            pass


def not_written(path: Path, error: OSError, *, kept: Path | None = None) -> FileError:
    """Return a `FileError` whose message states why the system refused to write a file, and what the user can do.

    Args:
        path: The file.
        error: The error of the system.
        kept: The unfinished store that `replacing_store` can resume; None if no unfinished store is left.
    """
    return FileError(f"{path} could not be written: {_reason(error, kept)}")


def _is_special(path: Path) -> bool:
    """Return whether a path leads, through symbolic links too, to a pipe or device: neither a file nor a folder."""
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
def _copied_into(stream: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends, copy the content of that file into a pipe or a device."""
    with TemporaryDirectory(prefix="softmorph-", ignore_cleanup_errors=True) as folder:
        temporary = Path(folder, stream.name[-KEPT[0] :])
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
            # Opening must not block if nobody reads from a pipe.
            descriptor = descriptors.open_plain(stream, os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise FileError(f"nobody reads from the pipe {stream}; start its reader first.") from error
        if sys.platform != "win32":
            os.set_blocking(descriptor, True)
        with temporary.open("rb") as file, os.fdopen(descriptor, "wb") as sink:
            shutil.copyfileobj(file, sink)


def _take_place(temporary: Path, target: Path, path: Path, own: int, *, force: bool) -> None:
    """Rename a temporary file or folder to its target in one step; without `force` only if no file has that name.

    Args:
        temporary: The temporary file or folder.
        target: The path that `path` leads to through symbolic links.
        path: The name as the user gave it, for messages.
        own: The mode of a new file or folder of this user.
        force: Whether an existing file or store may be replaced.
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
            # The target was removed meanwhile: its name is free now.
            if not force or os.path.lexists(target) or not os.path.lexists(temporary):
                raise
    naming.flush(target.parent)


def _replace(temporary: Path, target: Path, path: Path, own: int, *, folder: bool) -> None:
    if not target.is_symlink():
        # Another file may have appeared meanwhile, to which the same rules apply.
        check_writable(target, force=True, store=folder)
        if _is_special(target):
            raise FileError(f"{path} is a pipe or a device, which is not replaced; choose another name.")
    if target.is_symlink() or target.is_dir() != folder:
        ownership.set_mode(temporary, own)
    elif not _pass_on_permissions(target, temporary, own):
        warnings.warn(
            f"{path} had an owner, a group, a mode or an access list that you cannot give: it is yours now, with mode "
            f"{stat.S_IMODE(temporary.stat().st_mode):o}.",
            SoftmorphWarning,
            stacklevel=2,
        )
    if not folder:
        temporary.replace(target)
        return
    with claimed(target):
        if naming.exchange(temporary, target):
            # Now the store from before, which no other run takes for a kept folder while it is locked.
            remove(temporary)
            return
    # Not named like a leftover, which other runs remove: for a moment this is the only copy of the store.
    aside = target.with_name(f".softmorph-before-{secrets.token_hex(6)}-{target.name[-KEPT[1] :]}")
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


def _pass_on_permissions(old: Path, new: Path, own: int) -> bool:
    """Copy owner, group and mode of `old` to `new`; return whether all were copied.

    Folders in a Zarr store get the permissions of the folder `old`, and files those of its metadata file.
    """
    if not new.is_dir():
        return ownership.pass_on(old, new, own)
    # git-annex replaces files by links, whose own mode is meaningless.
    mark = next((old / name).resolve() for name in STORE_MARKS if (old / name).is_file())
    kept = True
    for parent, folders, files in os.walk(new):
        for folder in folders:
            kept &= ownership.pass_on(old, Path(parent, folder), own)
        for file in files:
            kept &= ownership.pass_on(mark, Path(parent, file), own & 0o666)
    # Last, because the mode may forbid this user to list the folder.
    return ownership.pass_on(old, new, own) and kept


def _flush_to_disk(path: Path) -> None:
    # Some file systems report a full disk only here. Without it, a crash after the rename may leave an empty file.
    descriptor = os.open(path, descriptors.FLUSHABLE)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError | RuntimeError, kept: Path | None = None) -> str:
    if isinstance(error, RuntimeError):
        return "its symbolic links lead in a circle."
    # ITK raises errors without a number; NumPy says only how much it could not write.
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


def read_toml(path: Path, malformed: type[SoftmorphError]) -> dict[str, Any]:
    """Return the table of a TOML file.

    Args:
        path: The file.
        malformed: The class of the error if the file is no TOML.

    Raises:
        FileError: If the file cannot be read.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise malformed(f"{path} is no TOML: {error}.") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document and return its root table.

    Raises:
        ValueError: If the document is malformed; the message is one clause with the reason.
    """
    import tomllib  # not needed by most commands

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        # The only other cause is Python's limit on the digits of an integer.
        raise ValueError("it holds an integer of thousands of digits") from None
