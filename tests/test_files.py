"""Nobody ever finds half a file."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from softmorph_cli import naming
from softmorph_cli.errors import FileError
from softmorph_cli.files import check_writable, open_own, partial, replacing, replacing_store


def _write_then_raise(path: Path, error: BaseException, *, force: bool = False) -> None:
    with replacing(path, force=force) as temporary:
        temporary.write_text("half")
        raise error


def _listing(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_a_file_appears_whole_under_its_name(tmp_path: Path) -> None:
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
def test_what_the_system_refuses_is_said_in_words(number: int, words: str, tmp_path: Path) -> None:
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
    with pytest.raises(FileError, match=r"out\.npy exists already; add --force"), replacing(target):
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


def test_a_link_to_nowhere_makes_its_target(tmp_path: Path) -> None:
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


def test_odd_names_are_written_all_the_same(tmp_path: Path) -> None:
    for name in ("-rf", " ", "ü" * 100, "n" * 250, "a\nb.nii", "~", ".hidden"):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text(name)
        assert (tmp_path / name).read_text() == name
    assert len(list(tmp_path.iterdir())) == 7


def test_names_and_links_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="too long"):
        check_writable(tmp_path / ("n" * 300))
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(FileError, match=r"circle|loop|symbolic"):
        check_writable(tmp_path / "a")


def test_an_error_of_our_own_passes_through(tmp_path: Path) -> None:
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
def test_a_file_that_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"out\.npy came into being while .* add --force"):
        _finished_meanwhile(tmp_path / "out.npy", force=False)
    assert _listing(tmp_path) == {"out.npy": "theirs"}
    _finished_meanwhile(tmp_path / "out.npy", force=True)
    assert _listing(tmp_path) == {"out.npy": "ours"}


@pytest.mark.usefixtures("system")
def test_a_store_that_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    with pytest.raises(FileError, match=r"out\.zarr came into being while .* add --force"):
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


def test_a_folder_that_comes_meanwhile_is_not_replaced_with_force_either(tmp_path: Path) -> None:
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


@pytest.mark.linux
def test_a_pipe_without_a_name_is_written_into(tmp_path: Path) -> None:
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
    with pytest.raises(FileError, match="by now"):
        _finished_meanwhile(path, force=True, come=os.mkfifo)
    assert path.is_fifo()


# ---------------------------------------------------------------- owner, group, mode


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o400])
def test_the_mode_of_a_replaced_file_is_kept(mode: int, tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    target.write_text("before")
    target.chmod(mode)
    with replacing(target, force=True) as temporary:
        # Nobody else may read it before it is done.
        assert temporary.stat().st_mode & 0o077 == 0
        temporary.write_text("after")
    assert target.stat().st_mode & 0o7777 == mode


@pytest.mark.posix
def test_the_modes_of_a_replaced_store_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    path.mkdir(mode=0o700)
    _store(path, "before")
    (path / ".zgroup").chmod(0o660)
    path.chmod(0o2770)
    with replacing_store(path, force=True) as temporary:
        assert temporary.stat().st_mode & 0o077 == 0
        _store(temporary, "after")
    found = {one.relative_to(path): one.stat().st_mode & 0o7777 for one in (path, *path.rglob("*"))}
    assert found == {
        Path(): 0o2770,
        Path("0"): 0o2770,
        Path(".zgroup"): 0o660,
        Path("0/0"): 0o660,
    }


GIVE_AWAY = """
import os, sys
from pathlib import Path
from softmorph_cli.files import replacing
os.umask(0o022)
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
with replacing(Path(sys.argv[1]), force=True) as temporary:
    temporary.write_text("after")
"""


def _as_root_or(path: Path, owner: int, group: int) -> bool:
    """Give a file away where that can be done: a plain user is told so by the system itself."""
    if os.geteuid() == 0:
        os.chown(path, owner, group)
        return True
    with pytest.raises(PermissionError):
        os.chown(path, owner, group)
    return False


@pytest.mark.posix
def test_root_keeps_the_owner_of_a_replaced_file(tmp_path: Path) -> None:
    target = tmp_path / "out.npy"
    target.write_text("before")
    target.chmod(0o640)
    given = _as_root_or(target, 1234, 2345)
    with replacing(target, force=True) as temporary:
        temporary.write_text("after")
    state = target.stat()
    assert state.st_mode & 0o7777 == 0o640
    assert (state.st_uid, state.st_gid) == ((1234, 2345) if given else (os.geteuid(), os.getegid()))


@pytest.mark.posix
def test_what_cannot_be_kept_is_not_granted_to_others(open_folder: Path) -> None:
    target = open_folder / "out.npy"
    target.write_text("before")
    target.chmod(0o664)
    if not _as_root_or(target, 0, 0):
        return
    words = [sys.executable, "-c", GIVE_AWAY, str(target), "1234"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    state = target.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (1234, 1234, 0o644)
    assert "had an owner, a group or a mode that you cannot give: it is yours now, with mode 644" in said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


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
def test_a_kept_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial(tmp_path / "out.zarr").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with (
        pytest.raises(FileError, match="belongs to somebody else"),
        replacing_store(tmp_path / "out.zarr", resume=True),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to, lambda path, _: os.mkfifo(path)])
def test_a_file_of_our_own_is_not_opened_through_a_link(make: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    make(tmp_path / "lock", tmp_path / "keys")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_APPEND):
        with pytest.raises(FileError, match="remove it"):
            open_own(tmp_path / "lock", flags)
    assert (tmp_path / "keys").read_text() == "secret"


def test_a_link_is_replaced_and_not_its_target_where_anybody_can_guess_the_name(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("mine")
    (tmp_path / "summary.csv").symlink_to("profile")
    with replacing(tmp_path / "summary.csv", force=True, follow=False) as temporary:
        temporary.write_text("rows")
    assert not (tmp_path / "summary.csv").is_symlink()
    assert _listing(tmp_path) == {"profile": "mine", "summary.csv": "rows"}
    (tmp_path / "new").touch()
    assert (tmp_path / "summary.csv").stat().st_mode == (tmp_path / "new").stat().st_mode


# ---------------------------------------------------------------- what killed processes leave

KILLED = """
import os, signal, sys
from pathlib import Path
from softmorph_cli.files import replacing, replacing_store
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
def test_the_next_run_takes_away_what_a_killed_one_left_and_nothing_else(name: str, tmp_path: Path) -> None:
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
