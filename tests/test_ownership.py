"""A file that replaces another one keeps its owner, group, mode and access lists, or grants less."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from softmorph_cli.system.files import replacing, replacing_store
from softmorph_cli.system.ownership import pass_on

pytestmark = pytest.mark.posix

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
# Kinds of entries of a list: the owner, a named user, the group, the most that all but owner and others get, others.
OWNER, USER, GROUP, MOST, OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
NOBODY_NAMED = 0xFFFFFFFF
STRANGER = 1234


def access_list(owner: int, named: int, group: int, most: int, others: int) -> bytes:
    """Return the bytes of a list as Linux keeps it, version 2; `named` is what STRANGER may do."""
    entries = [(OWNER, owner), (USER, named), (GROUP, group), (MOST, most), (OTHERS, others)]
    packed = [
        struct.pack("<HHI", kind, rights, STRANGER if kind == USER else NOBODY_NAMED)
        for kind, rights in entries
    ]
    return struct.pack("<I", 2) + b"".join(packed)


def kept_list(path: Path, kind: str = ACCESS) -> bytes | None:
    return os.getxattr(path, kind) if kind in os.listxattr(path) else None


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _store(folder: Path, text: str) -> None:
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "0").mkdir(exist_ok=True)
    (folder / "0" / "0").write_text(text)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def with_lists() -> Iterator[Path]:
    """A folder that others can reach, whose file system has access lists."""
    for place in (tempfile.gettempdir(), "/dev/shm", "/var/tmp"):
        with tempfile.TemporaryDirectory(dir=place) as name:
            try:
                os.setxattr(name, ACCESS, access_list(7, 7, 5, 7, 5))
                os.removexattr(name, ACCESS)
            except OSError:
                continue
            yield Path(name)
            return
    pytest.skip(
        "no file system here has access lists: neither that of temporary files, nor /dev/shm, nor /var/tmp"
    )


# ---------------------------------------------------------------- owner, group, mode


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
from softmorph_cli.system.files import replacing
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


def test_a_mode_without_its_owner_is_not_granted_to_others(open_folder: Path) -> None:
    target = open_folder / "out.npy"
    target.write_text("before")
    target.chmod(0o664)
    if not _as_root_or(target, 0, 0):
        return
    words = [sys.executable, "-c", GIVE_AWAY, str(target), "1234"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    state = target.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (1234, 1234, 0o644)
    assert "an access list that you cannot give: it is yours now, with mode 644" in said


def test_a_mode_without_its_owner_grants_no_more_than_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither root nor a plain user is refused both: who may not give anything away is pretended to be running."""

    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    old, new = tmp_path / "old", tmp_path / "new"
    found: dict[str, tuple[bool, int]] = {}
    for what, (owner, group) in {"owner": (1, 0), "group": (0, 1), "nothing": (0, 0)}.items():
        old.write_text("before")
        old.chmod(0o666)
        new.write_text("after")
        new.chmod(0o600)
        real = Path.lstat

        def lstat(path: Path, owner: int = owner, group: int = group, real: object = real) -> os.stat_result:
            state = list(real(path))  # type: ignore[operator]
            if path == old:
                state[stat.ST_UID] += owner
                state[stat.ST_GID] += group
            return os.stat_result(state)

        with monkeypatch.context() as patched:
            patched.setattr(os, "chown", refuse)
            patched.setattr(Path, "lstat", lstat)
            kept = pass_on(old, new, 0o644)
        found[what] = kept, mode(new)
    assert found == {"owner": (False, 0o644), "group": (False, 0o644), "nothing": (True, 0o666)}


TO_THE_GROUP = GIVE_AWAY.replace("os.setgid(int(sys.argv[2]))", "os.setgid(int(sys.argv[3]))")


def test_a_file_of_another_user_in_the_same_group_is_not_opened_to_all(open_folder: Path) -> None:
    target = open_folder / "out.npy"
    target.write_text("before")
    target.chmod(0o666)
    if not _as_root_or(target, 0, 2345):
        return
    words = [sys.executable, "-c", TO_THE_GROUP, str(target), "1234", "2345"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    state = target.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (1234, 2345, 0o644)
    assert said.count("SoftmorphWarning: ") == 1
    assert "it is yours now, with mode 644" in said


def test_a_store_in_a_set_group_id_folder_gets_its_group(tmp_path: Path) -> None:
    shared, path = tmp_path / "shared", tmp_path / "shared" / "out.zarr"
    shared.mkdir()
    if os.geteuid() == 0:
        os.chown(shared, -1, 2345)
    shared.chmod(0o2775)
    group = shared.stat().st_gid
    with replacing_store(path) as temporary:
        assert mode(temporary) == 0o2700
        _store(temporary, "ours")
    (shared / "plain").mkdir()
    for folder in (path, path / "0"):
        assert mode(folder) == mode(shared / "plain")
        assert mode(folder) & stat.S_ISGID
    assert {one.stat().st_gid for one in (path, *path.rglob("*"))} == {group}


def test_a_store_with_linked_metadata_does_not_get_the_mode_of_the_link(tmp_path: Path) -> None:
    """As git-annex keeps files: a link of mode 777 to one that nobody may write."""
    path, kept = tmp_path / "out.zarr", tmp_path / "kept"
    path.mkdir()
    kept.write_text('{"zarr_format": 2}')
    kept.chmod(0o440)
    (path / ".zgroup").symlink_to(kept)
    with replacing_store(path, force=True) as temporary:
        _store(temporary, "ours")
    assert mode(path / "0" / "0") == 0o440


# ---------------------------------------------------------------- access lists


def test_the_access_list_of_a_replaced_file_is_kept(with_lists: Path) -> None:
    target, wanted = with_lists / "out.npy", access_list(6, 6, 4, 6, 0)
    target.write_text("before")
    os.setxattr(target, ACCESS, wanted)
    assert mode(target) == 0o660
    with replacing(target, force=True) as temporary:
        temporary.write_text("after")
        assert mode(temporary) == 0o600
    assert target.read_text() == "after"
    assert kept_list(target) == wanted
    assert mode(target) == 0o660


def test_without_the_access_list_neither_its_members_nor_the_group_get_access(with_lists: Path) -> None:
    """With a list the group's bits are the most that anybody on it gets, and not what the group has."""
    with_lists.chmod(0o777)
    target = with_lists / "out.npy"
    target.write_text("before")
    os.setxattr(target, ACCESS, access_list(6, 6, 0, 6, 4))
    assert mode(target) == 0o664
    if not _as_root_or(target, 0, 0):
        return
    words = [sys.executable, "-c", GIVE_AWAY, str(target), "4321"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    assert kept_list(target) is None
    assert mode(target) == 0o604
    assert "an access list that you cannot give: it is yours now, with mode 604" in said


def test_an_access_list_that_cannot_be_set_grants_nothing_more(
    with_lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    old, new = with_lists / "old", with_lists / "new"
    for one in (old, new):
        one.write_text("")
    os.setxattr(old, ACCESS, access_list(6, 6, 0, 6, 0))
    monkeypatch.setattr(os, "setxattr", refuse)
    assert not pass_on(old, new, 0o644)
    assert mode(new) == 0o600


def test_a_file_without_an_access_list_gets_no_default_list(with_lists: Path) -> None:
    target = with_lists / "out.npy"
    target.write_text("before")
    target.chmod(0o640)
    os.setxattr(with_lists, DEFAULT, access_list(7, 7, 5, 7, 0))
    with replacing(target, force=True) as temporary:
        assert kept_list(temporary) is not None
        temporary.write_text("after")
    assert kept_list(target) is None
    assert mode(target) == 0o640


def test_new_files_and_stores_get_the_default_list_of_the_folder(with_lists: Path) -> None:
    os.setxattr(with_lists, DEFAULT, access_list(7, 7, 5, 7, 0))
    with replacing(with_lists / "a.npy") as temporary:
        assert mode(temporary) == 0o600
        temporary.write_text("a")
    with replacing_store(with_lists / "b.zarr") as temporary:
        assert mode(temporary) == 0o700
        _store(temporary, "b")
    (with_lists / "file").write_text("")
    (with_lists / "folder").mkdir()
    assert mode(with_lists / "file") == 0o660
    for made, plain in (
        ("a.npy", "file"),
        ("b.zarr", "folder"),
        ("b.zarr/0", "folder"),
        ("b.zarr/0/0", "file"),
    ):
        for kind in (ACCESS, DEFAULT)[: 1 + (plain == "folder")]:
            assert kept_list(with_lists / made, kind) == kept_list(with_lists / plain, kind) is not None
        assert mode(with_lists / made) == mode(with_lists / plain)


def test_the_access_lists_of_a_replaced_store_are_kept(with_lists: Path) -> None:
    """Also those that what is made in it later gets."""
    path = with_lists / "out.zarr"
    path.mkdir()
    _store(path, "before")
    wanted, later, of_files = (
        access_list(7, 7, 5, 7, 0),
        access_list(7, 5, 5, 5, 0),
        access_list(6, 4, 4, 4, 0),
    )
    os.setxattr(path, ACCESS, wanted)
    os.setxattr(path, DEFAULT, later)
    os.setxattr(path / ".zgroup", ACCESS, of_files)
    # What new folders get here is another list.
    os.setxattr(with_lists, DEFAULT, access_list(7, 0, 0, 0, 0))
    with replacing_store(path, force=True) as temporary:
        _store(temporary, "after")
    assert (path / "0" / "0").read_text() == "after"
    for folder in (path, path / "0"):
        assert (kept_list(folder), kept_list(folder, DEFAULT)) == (wanted, later)
    for file in (path / ".zgroup", path / "0" / "0"):
        assert kept_list(file) == of_files
    os.removexattr(path, DEFAULT)
    with replacing_store(path, force=True) as temporary:
        _store(temporary, "after")
    assert kept_list(path, DEFAULT) is None
