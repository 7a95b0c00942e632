"""Nobody ever finds half a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from softmorph_cli.errors import FileError
from softmorph_cli.files import check_writable, replacing


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
