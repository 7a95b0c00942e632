"""Atomic writing of files and Zarr stores, leftovers of killed runs, links, pipes and devices."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from softmorph_cli.errors import FileError
from softmorph_cli.system import descriptors, files, naming, temporaries
from softmorph_cli.system.files import (
    check_writable,
    make_folder,
    open_own,
    replacing,
    replacing_store,
    writing_text,
)
from softmorph_cli.system.temporaries import partial


def _write_then_raise(path: Path, error: BaseException, *, force: bool = False) -> None:
    with replacing(path, force=force) as temporary:
        temporary.write_text("half")
        raise error


def _listing(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    with replacing(tmp_path / "out.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("out.nii.gz")
        assert temporary.name.startswith(".")
        temporary.write_text("whole")
        assert not (tmp_path / "out.nii.gz").exists()
    assert _listing(tmp_path) == {"out.nii.gz": "whole"}


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(143), MemoryError()])
@pytest.mark.parametrize("existing", [False, True])
def test_nothing_is_left_behind_when_the_block_raises(
    existing: bool, error: BaseException, tmp_path: Path
) -> None:
    target = tmp_path / "out.npy"
    if existing:
        target.write_text("before")
    with pytest.raises(type(error)):
        _write_then_raise(target, error, force=existing)
    assert _listing(tmp_path) == ({"out.npy": "before"} if existing else {})


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_system_errors_become_messages(number: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "out.tif").write_text("before")
    with pytest.raises(FileError, match=words) as caught:
        _write_then_raise(tmp_path / "out.tif", OSError(number, os.strerror(number)), force=True)
    assert str(caught.value).startswith(str(tmp_path / "out.tif"))
    assert isinstance(caught.value.__cause__, OSError)
    assert _listing(tmp_path) == {"out.tif": "before"}


def test_a_disk_that_is_full_only_when_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="the disk is full"), replacing(tmp_path / "a.png") as temporary:
        temporary.write_text("half")
    assert _listing(tmp_path) == {}


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="could not be written"), replacing(tmp_path / "a.png"):
        pass
    assert _listing(tmp_path) == {}


def test_an_existing_file_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    target.write_text("before")
    with pytest.raises(FileError, match=r"out\.npy exists already; add force=True"), replacing(target):
        pytest.fail("the block must not run")
    assert _listing(tmp_path) == {"out.npy": "before"}
    with replacing(target, force=True) as temporary:
        temporary.write_text("after")
    assert _listing(tmp_path) == {"out.npy": "after"}


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "map.nii"
    target.write_text("before")
    link = tmp_path / "link.nii"
    link.symlink_to(target)
    with pytest.raises(FileError, match="exists already"):
        check_writable(link)
    with replacing(link, force=True) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert _listing(tmp_path / "real") == {"map.nii": "after"}


def test_a_dangling_link_gets_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link.nii"
    link.symlink_to(tmp_path / "new.nii")
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "new.nii").read_text() == "new"
    assert link.is_symlink()


def test_folders_that_are_missing_or_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileError, match=r"does not exist; create it first: mkdir -p"):
        check_writable(tmp_path / "no" / "out.nii")
    with pytest.raises(FileError, match="is a folder; name a file in it"):
        check_writable(tmp_path)
    with pytest.raises(FileError, match="is a folder"):
        check_writable(tmp_path, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file"):
        check_writable(tmp_path / "file" / "out.nii")
    # Simulated: the tests may run as root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_args: False)
    with pytest.raises(FileError, match="is read-only; choose another output folder"):
        check_writable(tmp_path / "out.nii")
    assert _listing(tmp_path) == {"file": ""}


def test_unusual_names_are_written(tmp_path: Path) -> None:
    for name in ("-rf", " ", "ü" * 100, "n" * 250, "a\nb.nii", "~", ".hidden"):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text(name)
        assert (tmp_path / name).read_text() == name
    assert len(list(tmp_path.iterdir())) == 7


def test_text_keeps_its_line_ends_and_the_bytes_of_names_that_are_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with writing_text(path) as stream:
        stream.write("a\r\n\N{MICRO SIGN}\n")
        stream.write(b"\xff.npy\n".decode("utf-8", "surrogateescape"))
    assert path.read_bytes() == b"a\r\n\xc2\xb5\n\xff.npy\n"


def test_folders_of_outputs_are_made_where_they_are_missing(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    with pytest.raises(FileError, match=r"b cannot be made: No such file or directory\."):
        make_folder(below)
    make_folder(below, parents=True)
    make_folder(below)
    assert below.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file cannot be made: File exists\."):
        make_folder(tmp_path / "file")


def test_names_and_links_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="too long"):
        check_writable(tmp_path / ("n" * 300))
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(FileError, match=r"circle|loop|symbolic"):
        check_writable(tmp_path / "a")


def test_softmorph_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"^mine$"):
        _write_then_raise(tmp_path / "out", FileError("mine"))
    assert _listing(tmp_path) == {}


# ---------------------------------------------------------------- names that are free, and stay so

CANNOT = {
    "everything": (),
    "no renameat2": ("rename",),
    "no renameat2, no links": ("rename", "link"),
}


@pytest.fixture(params=CANNOT)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system, or a file system, that cannot do all of it."""

    def no(*_args: object, **_more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if "rename" in CANNOT[request.param]:
        monkeypatch.setattr(naming, "_renamed", lambda *_args: False)
    if "link" in CANNOT[request.param]:
        monkeypatch.setattr(os, "link", no)


def _store(folder: Path, text: str) -> None:
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "0").mkdir(exist_ok=True)
    (folder / "0" / "0").write_text(text)


def _theirs(path: Path) -> None:
    path.write_text("theirs")


def _finished_meanwhile(path: Path, *, force: bool, come: Callable[[Path], None] = _theirs) -> None:
    with replacing(path, force=force) as temporary:
        temporary.write_text("ours")
        come(path)


def _store_meanwhile(path: Path, *, force: bool, mark: str = ".zgroup") -> None:
    with replacing_store(path, force=force) as temporary:
        _store(temporary, "ours")
        path.mkdir()
        (path / mark).write_text("theirs")


@pytest.mark.usefixtures("system")
def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"out\.npy came into being while .* add force=True"):
        _finished_meanwhile(tmp_path / "out.npy", force=False)
    assert _listing(tmp_path) == {"out.npy": "theirs"}
    _finished_meanwhile(tmp_path / "out.npy", force=True)
    assert _listing(tmp_path) == {"out.npy": "ours"}


@pytest.mark.usefixtures("system")
def test_a_store_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    with pytest.raises(FileError, match=r"out\.zarr came into being while .* add force=True"):
        _store_meanwhile(path, force=False)
    assert _listing(path) == {".zgroup": "theirs"}
    with replacing_store(path, force=True) as temporary:
        _store(temporary, "ours")
    assert (path / "0" / "0").read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("system")
def test_new_files_and_stores_get_their_names(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.npy") as temporary:
        temporary.write_text("a")
    with replacing_store(tmp_path / "b.zarr") as temporary:
        _store(temporary, "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.zarr"]
    assert (tmp_path / "b.zarr" / "0" / "0").read_text() == "b"
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "b.zarr").stat().st_mode == (tmp_path / "folder").stat().st_mode


def test_a_folder_that_appears_meanwhile_is_not_replaced_even_with_force(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    with pytest.raises(FileError, match="no Zarr store"):
        _store_meanwhile(path, force=True, mark="thesis.tex")
    assert _listing(path) == {"thesis.tex": "theirs"}
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- what is no regular file


@pytest.mark.posix
@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_is_written_into_and_stays_one(force: bool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="nobody reads from the pipe"), replacing(pipe, force=force) as unread:
        unread.write_text("x")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe, force=force) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("force", [False, True])
def test_a_device_is_written_into_and_stays_one(force: bool, tmp_path: Path) -> None:
    link = tmp_path / "null.csv"
    link.symlink_to(os.devnull)
    with replacing(link, force=force) as temporary:
        temporary.write_text("nobody reads it")
    assert link.is_char_device()
    assert list(tmp_path.iterdir()) == [link]
    with pytest.raises(FileError, match="neither a file nor a folder"):
        check_writable(link, force=force, store=True)


def test_a_full_temporary_folder_is_named_when_writing_to_a_device(tmp_path: Path) -> None:
    (tmp_path / "null.csv").symlink_to(os.devnull)
    with pytest.raises(
        FileError, match=r"put together in .* first .No space left on device.; .* TMPDIR"
    ) as caught:
        _write_then_raise(tmp_path / "null.csv", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert f" in {tempfile.gettempdir()} first" in str(caught.value)


@pytest.mark.linux
def test_an_unnamed_pipe_is_written_into(tmp_path: Path) -> None:
    """As `--csv >(sort)` and `--csv /dev/stdout | sort` give them."""
    out, into = os.pipe()
    with replacing(Path(f"/dev/fd/{into}")) as temporary:
        temporary.write_text("rows")
    assert os.read(out, 100) == b"rows"
    os.close(out)
    os.close(into)


def test_a_socket_is_refused_and_stays_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        for force in (False, True):
            with pytest.raises(FileError, match="neither a file nor a folder"):
                check_writable(tmp_path / "s", force=force)
    assert (tmp_path / "s").is_socket()


@pytest.mark.posix
def test_a_file_that_becomes_a_pipe_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(FileError, match="which is not replaced"):
        _finished_meanwhile(path, force=True, come=os.mkfifo)
    assert path.is_fifo()


# ---------------------------------------------------------------- names that anybody can guess


def test_a_link_in_the_place_of_a_kept_folder_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("mine")
    partial(tmp_path / "out.zarr").symlink_to(home)
    for more in ({"keep": True}, {"resume": True}):
        with (
            pytest.raises(FileError, match="is no folder but a link"),
            replacing_store(tmp_path / "out.zarr", **more),
        ):
            pytest.fail("the block must not run")
    assert _listing(home) == {"thesis.tex": "mine"}


@pytest.mark.posix
def test_a_kept_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial(tmp_path / "out.zarr").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    # Where a file system gives all to one owner, that is nobody else.
    with replacing_store(tmp_path / "out.zarr", resume=True) as temporary:
        _store(temporary, "ours")
    partial(tmp_path / "out.zarr").mkdir()
    monkeypatch.setattr(temporaries, "_owner_beside", lambda _: os.getuid() + 1)
    with (
        pytest.raises(FileError, match="belongs to somebody else"),
        replacing_store(tmp_path / "out.zarr", resume=True, force=True),
    ):
        pytest.fail("the block must not run")


def test_a_hard_linked_file_is_opened_after_the_advised_command(tmp_path: Path) -> None:
    """As `cp -al` and programs that keep equal files once make them."""
    path, other = tmp_path / "a 'manifest'", tmp_path / "of a copied folder"
    other.write_text("what is done")
    path.hardlink_to(other)
    with pytest.raises(FileError, match="has other names too") as caught:
        open_own(path, os.O_RDWR)
    found = re.search(r"of its own: (.*); otherwise remove it", str(caught.value))
    assert found is not None
    subprocess.run(["sh", "-c", found[1]], check=True)
    os.close(open_own(path, os.O_RDWR))
    path.write_text("more is done")
    assert _listing(tmp_path) == {path.name: "more is done", other.name: "what is done"}


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to, lambda path, _: os.mkfifo(path)])
def test_a_predictable_name_is_not_opened_through_a_link(make: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    make(tmp_path / "lock", tmp_path / "keys")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_APPEND):
        with pytest.raises(FileError, match="remove it"):
            open_own(tmp_path / "lock", flags)
    assert (tmp_path / "keys").read_text() == "secret"


def test_a_link_with_a_predictable_name_is_replaced_and_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("mine")
    (tmp_path / "summary.csv").symlink_to("profile")
    with replacing(tmp_path / "summary.csv", force=True, follow=False) as temporary:
        temporary.write_text("rows")
    assert not (tmp_path / "summary.csv").is_symlink()
    assert _listing(tmp_path) == {"profile": "mine", "summary.csv": "rows"}
    (tmp_path / "new").touch()
    assert (tmp_path / "summary.csv").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_pipes_and_devices_with_predictable_names_are_refused(tmp_path: Path) -> None:
    pipe, link = tmp_path / "summary.csv", tmp_path / "summary.json"
    os.mkfifo(pipe)
    link.symlink_to(os.devnull)
    with (
        pytest.raises(FileError, match="a pipe or a device, which is not replaced"),
        replacing(pipe, force=True, follow=False) as temporary,
    ):
        temporary.write_text("rows")
    with replacing(link, force=True, follow=False) as temporary:
        temporary.write_text("rows")
    assert pipe.is_fifo()
    assert not link.is_symlink()
    assert link.read_text() == "rows"


# ---------------------------------------------------------------- runs that get in each other's way


@pytest.mark.parametrize("removed", ["before it is locked", "after that"])
@pytest.mark.parametrize("name", ["out.npy", "out.zarr"])
def test_a_temporary_file_removed_by_another_run_is_created_again(
    name: str, removed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, cleaner = descriptors.lock, list[int]()

    def locked(descriptor: int) -> bool | None:
        if cleaner:
            return real(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        cleaner.append(os.open(path, os.O_RDONLY))
        assert real(cleaner[0])
        if removed == "before it is locked":
            temporaries.remove(path)
            os.close(cleaner[0])
            return real(descriptor)
        found = real(descriptor)
        temporaries.remove(path)
        os.close(cleaner[0])
        return found

    monkeypatch.setattr(descriptors, "lock", locked)
    if name.endswith(".zarr"):
        with replacing_store(tmp_path / name) as temporary:
            _store(temporary, "whole")
        assert (tmp_path / name / "0" / "0").read_text() == "whole"
    else:
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
    assert cleaner
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("existing", [False, True])
def test_the_kept_folder_of_the_next_run_is_not_removed(
    existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flush = tmp_path / "out.zarr", naming.flush
    if existing:
        with replacing_store(path) as temporary:
            _store(temporary, "before")

    def another_begins(folder: Path) -> None:
        partial(path).mkdir()
        (partial(path) / "theirs").touch()
        flush(folder)

    with replacing_store(path, force=True, keep=True) as temporary:
        _store(temporary, "ours")
        # The last that is done of it.
        monkeypatch.setattr(naming, "flush", lambda one: (another_begins if one == tmp_path else flush)(one))
    assert (path / "0" / "0").read_text() == "ours"
    assert [one.name for one in partial(path).iterdir()] == ["theirs"]


def test_a_replaced_store_is_not_resumed_by_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, remove, refused = tmp_path / "out.zarr", temporaries.remove, list[str]()
    with replacing_store(path) as temporary:
        _store(temporary, "before")

    def another_run_first(folder: Path) -> None:
        with pytest.raises(FileError) as caught, replacing_store(path, force=True, resume=True):
            pytest.fail("the block must not run")
        refused.append(str(caught.value))
        remove(folder)

    monkeypatch.setattr(files, "remove", another_run_first)
    with replacing_store(path, force=True, keep=True) as temporary:
        _store(temporary, "ours")
    assert len(refused) == 1
    assert "being written by another run; wait for it" in refused[0]
    assert (path / "0" / "0").read_text() == "ours"
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]


def test_a_kept_folder_renamed_meanwhile_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "out.zarr", descriptors.lock
    partial(path).mkdir()
    _store(partial(path), "theirs")

    def finished_first(descriptor: int) -> bool | None:
        if partial(path).is_dir() and not path.exists():
            partial(path).rename(path)
        return real(descriptor)

    monkeypatch.setattr(descriptors, "lock", finished_first)
    with replacing_store(path, force=True, resume=True) as temporary:
        assert list(temporary.iterdir()) == []
        _store(temporary, "ours")
        assert (path / "0" / "0").read_text() == "theirs"
    assert (path / "0" / "0").read_text() == "ours"


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", ["out.npy", "out.zarr"])
def test_force_replaces_files_that_appear_or_vanish_meanwhile(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store = tmp_path / name, name.endswith(".zarr")

    def make(place: Path, text: str) -> None:
        if store:
            place.mkdir(exist_ok=True)
            _store(place, text)
        else:
            place.write_text(text)

    def written() -> str:
        return ((path / "0" / "0") if store else path).read_text()

    def ours() -> None:
        with (replacing_store if store else replacing)(path, force=True) as temporary:
            make(temporary, "ours")

    take, look, seen = naming.take_free, files.check_writable, list[str]()

    def comes_first(temporary: Path, target: Path) -> None:
        if not seen:
            seen.append("came")
            make(path, "theirs")
        take(temporary, target)

    def goes_first(target: Path, **more: bool) -> None:
        look(target, **more)
        if sum(1 for _ in tmp_path.iterdir()) > 1:
            seen.append("gone")
            temporaries.remove(path)

    monkeypatch.setattr(naming, "take_free", comes_first)
    ours()
    assert written() == "ours"
    monkeypatch.setattr(files, "check_writable", goes_first)
    ours()
    assert written() == "ours"
    assert seen == ["came", "gone"]
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_store_that_cannot_be_restored_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "out.zarr", naming.take_free
    with replacing_store(path) as temporary:
        _store(temporary, "before")

    def comes_first(temporary: Path, target: Path) -> None:
        if not path.exists():
            path.mkdir()
        real(temporary, target)

    monkeypatch.setattr(naming, "_renamed", lambda *_: False)
    monkeypatch.setattr(naming, "take_free", comes_first)
    with (
        pytest.raises(FileError, match="what was there before is kept as") as caught,
        replacing_store(path, force=True) as temporary,
    ):
        _store(temporary, "ours")
    aside = Path(str(caught.value).rpartition(" kept as ")[2].rstrip("."))
    assert (aside / "0" / "0").read_text() == "before"
    assert list(path.iterdir()) == []


# ---------------------------------------------------------------- what killed processes leave

KILLED = """
import os, signal, sys
from pathlib import Path
from softmorph_cli.system.files import replacing, replacing_store
which = replacing_store if sys.argv[1].endswith(".zarr") else replacing
with which(Path(sys.argv[1])) as temporary:
    if temporary.is_dir():
        (temporary / ".zgroup").write_text("{}")
    else:
        temporary.write_text("half")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["out.nii.gz", "out.zarr", "a\nb.npy"])
def test_only_leftovers_of_killed_runs_are_removed(name: str, tmp_path: Path) -> None:
    def other() -> subprocess.Popen[bytes]:
        begun = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert begun.stdout is not None
        assert begun.stdout.readline() == b"begun\n"
        return begun

    def hidden() -> int:
        return sum(path.name.startswith(".softmorph-") for path in tmp_path.iterdir())

    def mine() -> None:
        if name.endswith(".zarr"):
            with replacing_store(tmp_path / name, force=True) as temporary:
                _store(temporary, "mine")
        else:
            with replacing(tmp_path / name, force=True) as temporary:
                temporary.write_text("mine")

    foreign = tmp_path / ".softmorph-0123456789ab-another.npy"
    foreign.write_text("of another target")
    with other() as dead, other() as alive:
        dead.kill()
        dead.wait()
        assert hidden() == 3
        mine()
        assert hidden() == 2
        alive.kill()
        alive.wait()
    mine()
    assert hidden() == 1
    assert foreign.exists()
