"""The cache folder: where it is, whose it may be, and many processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest

import softmorph_cli
from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.system import cache


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Neither the variable nor the real home or temporary folder."""
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda *_a, **_k: tmp_path / "home" / ".cache" / "softmorph"
    )
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    cache._root.cache_clear()
    yield tmp_path
    cache._root.cache_clear()


def test_the_variable_chooses_the_folder(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(elsewhere / "a" / "b"))
    assert cache.root() == elsewhere / "a" / "b"
    assert cache.root().stat().st_mode & 0o777 == 0o700


def test_the_default_is_the_users_cache_folder(elsewhere: Path) -> None:
    assert cache.root() == elsewhere / "home" / ".cache" / "softmorph"
    assert cache.root().stat().st_mode & 0o777 == 0o700


def _refuse_under(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a read-only folder: the tests may run as root, whom permissions do not stop."""
    real_mkdir, real_touch = Path.mkdir, Path.touch

    def guard(path: Path) -> None:
        if folder in (path, *path.parents):
            raise PermissionError(13, "Permission denied", str(path))

    def mkdir(self: Path, *args: object, **kwargs: object) -> None:
        guard(self)
        real_mkdir(self, *args, **kwargs)  # type: ignore[arg-type]

    def touch(self: Path, *args: object, **kwargs: object) -> None:
        guard(self)
        real_touch(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "touch", touch)


@pytest.mark.posix
def test_a_read_only_home_falls_back_to_a_private_temporary_folder(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_under(elsewhere / "home", monkeypatch)
    assert cache.root() == elsewhere / "tmp" / f"softmorph-{os.geteuid()}"
    assert cache.root().stat().st_mode & 0o777 == 0o700
    assert not (elsewhere / "home").exists()
    path = cache.store("programs", "key", "text")
    assert cache.load("programs", "key") == "text"
    assert path.parent.parent == cache.root()


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o777, 0o772, 0o720])
def test_a_folder_that_others_can_write_to_is_not_used(mode: int, elsewhere: Path) -> None:
    home = elsewhere / "home" / ".cache" / "softmorph"
    home.mkdir(parents=True)
    home.chmod(mode)
    assert cache.root() != home
    assert cache.root().stat().st_mode & 0o022 == 0
    assert list(home.iterdir()) == []


@pytest.mark.posix
def test_the_variable_may_name_a_group_writable_folder(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = elsewhere / "named"
    named.mkdir()
    named.chmod(0o775)
    monkeypatch.setenv(cache.VARIABLE, str(named))
    assert cache.root() == named


@pytest.mark.posix
def test_a_world_writable_folder_of_the_variable_is_refused_with_a_warning(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = elsewhere / "named"
    named.mkdir()
    named.chmod(0o777)
    monkeypatch.setenv(cache.VARIABLE, str(named))
    with pytest.warns(SoftmorphWarning, match="chmod 700"):
        assert cache.root() != named


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_readable_by_others_is_used(mode: int, elsewhere: Path) -> None:
    home = elsewhere / "home" / ".cache" / "softmorph"
    home.mkdir(parents=True)
    home.chmod(mode)
    assert cache.root() == home


@pytest.mark.posix
def test_a_folder_of_another_user_is_not_used(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse_under(elsewhere / "home", monkeypatch)
    mine = os.geteuid()
    # The candidate in the shared temporary folder was made by another user before us.
    (elsewhere / "tmp" / f"softmorph-{mine + 1}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    chosen = cache.root()
    assert chosen != elsewhere / "tmp" / f"softmorph-{mine + 1}"
    assert chosen.parent == elsewhere / "tmp"
    assert chosen.stat().st_mode & 0o077 == 0


@pytest.mark.posix
def test_a_file_in_the_place_of_the_folder(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(elsewhere / "file"))
    with pytest.warns(SoftmorphWarning, match="is not used"):
        cache.root()
    assert cache.root() == elsewhere / "tmp" / f"softmorph-{os.geteuid()}"


@pytest.mark.posix
@pytest.mark.parametrize(("inner", "how"), [
    ("kind", "open"), ("kind", "group"), ("kind", "link"), ("kind", "theirs"),
    ("kind/__pycache__", "link"), ("kind/__pycache__", "theirs"),
])  # fmt: skip
def test_an_inner_folder_writable_by_others_is_not_used(
    inner: str, how: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = cache.root() / inner
    place.parent.mkdir(exist_ok=True, mode=0o700)
    if how == "link":
        (elsewhere / "theirs").mkdir(mode=0o700)
        place.symlink_to(elsewhere / "theirs")
    else:
        place.mkdir(mode=0o700)
        place.chmod({"open": 0o777, "group": 0o770, "theirs": 0o700}[how])
    if how == "theirs":
        real = Path.lstat

        def lstat(path: Path) -> os.stat_result:
            state = real(path)
            return os.stat_result((*state[:4], os.geteuid() + 1, *state[5:])) if path == place else state

        monkeypatch.setattr(Path, "lstat", lstat)
    with (
        pytest.warns(SoftmorphWarning, match="belongs to somebody else, or others may write"),
        pytest.raises(PermissionError),
    ):
        cache.store("kind", "key", "text")
    assert cache.load("kind", "key") is None
    assert not (cache.root() / "kind" / "key").exists()


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_a_folder_of_compiled_code_made_with_a_wide_umask_is_used(mode: int, elsewhere: Path) -> None:
    place = cache.root() / "kind" / "__pycache__"
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    place.chmod(mode)
    cache.store("kind", "key", "text")
    assert cache.load("kind", "key") == "text"
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.posix
def test_a_link_with_a_predictable_name_is_not_followed(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_under(elsewhere / "home", monkeypatch)
    (elsewhere / "mine").mkdir(mode=0o700)
    (elsewhere / "tmp" / f"softmorph-{os.geteuid()}").symlink_to(elsewhere / "mine")
    assert cache.root().resolve() != elsewhere / "mine"
    assert list((elsewhere / "mine").iterdir()) == []


def test_store_and_load(elsewhere: Path) -> None:
    assert cache.load("kind", "key") is None
    path = cache.store("kind", "key", "first")
    assert path.read_text() == "first"
    assert cache.load("kind", "key") == "first"
    stamp = path.stat().st_mtime_ns
    inode = path.stat().st_ino
    cache.store("kind", "key", "first")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (stamp, inode)
    assert [p.name for p in path.parent.iterdir()] == ["key"]
    path.write_bytes(b"\xff\xfe")
    assert cache.load("kind", "key") is None
    cache.store("kind", "key", "first")
    assert cache.load("kind", "key") == "first"


def test_no_temporary_file_stays_on_file_systems_without_links(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    path = cache.store("kind", "key", "text")
    assert path.read_text() == "text"
    assert [p.name for p in path.parent.iterdir()] == ["key"]


FIRST_RUN = """
import sys
import numpy as np
import softmorph_cli
image = np.random.default_rng(0).random((20, 70)).astype(np.float32)
image[5:15, 10:60] = 1
sys.stdout.write(softmorph_cli.erosion(image).tobytes().hex())
"""


def _first_runs_at_once(count: int, folder: Path) -> None:
    environment = os.environ | {cache.VARIABLE: str(folder)}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FIRST_RUN],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    told = [process.communicate() for process in running]
    # On a busy machine they say what takes so long; nothing else.
    said = [line for _, errors in told for line in errors.splitlines()]
    assert [line for line in said if not line.startswith("compiling ")] == []
    assert [process.returncode for process in running] == [0] * count
    assert len({output for output, _ in told}) == 1
    image = np.random.default_rng(0).random((20, 70)).astype(np.float32)
    image[5:15, 10:60] = 1
    eroded = np.frombuffer(bytes.fromhex(told[0][0]), np.float32)
    assert (eroded == softmorph_cli.erosion(image).ravel()).all()
    # No temporary names are left, and every entry is whole.
    assert [p for p in folder.rglob(".*") if p.is_file()] == []
    assert len(list((folder / "programs").iterdir())) == 1
    kernels = sorted(path.name.split("_")[0] for path in (folder / "kernels").glob("*.py"))
    assert kernels == ["fold", "improper"]


def test_eight_first_runs_at_once_share_one_cache(tmp_path: Path) -> None:
    _first_runs_at_once(8, tmp_path / "cache")


@pytest.mark.heavy
def test_twenty_first_runs_at_once_share_one_cache(tmp_path: Path) -> None:
    _first_runs_at_once(20, tmp_path / "cache")
