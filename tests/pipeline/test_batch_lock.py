"""One batch at a time in a folder; a lock whose holder is gone is none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_batch import folder

from softmorph_cli.errors import FileError
from softmorph_cli.pipeline.batch import lock, stale_temporaries

GONE = 2**22 - 3  # above what the system gives to a process by default


def test_held_once_and_taken_away(tmp_path: Path) -> None:
    with lock.held(tmp_path, ""):
        with pytest.raises(FileError, match=rf"another batch \(process {os.getpid()} on .*--num-parts"):
            lock.held(tmp_path, "").__enter__()
        with lock.held(tmp_path, "-0-of-2"):
            pass
    assert list(tmp_path.iterdir()) == []
    with lock.held(tmp_path, ""):
        pass


@pytest.mark.posix
def test_left_by_a_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from softmorph_cli.pipeline.batch import lock\n"
        "with lock.held(Path(sys.argv[1]), ''): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    assert (tmp_path / lock.name_of("")).exists()
    with lock.held(tmp_path, ""):
        pass


@pytest.mark.posix
@pytest.mark.parametrize(
    ("host", "pid", "free"), [("here", GONE, True), ("here", 1, False), ("there", 1, False)]
)
def test_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, pid: int, free: bool
) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    told = {"pid": pid, "host": socket.gethostname() if host == "here" else host}
    path = tmp_path / lock.name_of("")
    path.write_text(json.dumps(told))
    if free:
        with lock.held(tmp_path, ""):
            pass
    else:
        with pytest.raises(FileError, match=f"if it is gone, remove {path}"):
            lock.held(tmp_path, "").__enter__()
        assert json.loads(path.read_text()) == told


def test_temporary_files_of_the_killed_are_found(tmp_path: Path) -> None:
    ours, theirs, long = "a.tif", "b.tif", "x" * 30 + "_of_a_long_name.nii.gz"
    names = [
        ".softmorph-0123456789ab-a.tif",
        ".softmorph-0123456789ab-" + long[-20:],
        ".softmorph-0123456789ab-c.zarr/0/0",
    ]
    kept = [
        ".softmorph-0123456789ab-b.tif",
        ".softmorph-0123456789ab-other.tif",
        ".softmorph-partial-a.tif",
        "a.tif",
        ".softmorph-batch.lock",
    ]
    folder(tmp_path, *names, *kept)
    stale_temporaries.clear([tmp_path / n for n in (ours, long, "c.zarr")], [tmp_path / theirs])
    stale_temporaries.clear([tmp_path / "none" / "a.tif"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.posix
def test_what_another_command_is_writing_is_no_leftover(tmp_path: Path) -> None:
    """Its target may end as one of the batch's does, and so may the temporary name."""
    import fcntl

    theirs, left = (tmp_path / f".softmorph-{digit * 12}-patient_skeleton.nii" for digit in "01")
    other = tmp_path / ".softmorph-222222222222-another_target.nii"
    for path in (theirs, left, other):
        path.write_text("half")
    with theirs.open() as held_open:
        fcntl.flock(held_open, fcntl.LOCK_EX)
        stale_temporaries.clear([tmp_path / "a_patient_skeleton.nii"])
        assert not left.exists()
        stale_temporaries.clear([tmp_path / "a_patient_skeleton.nii"], [tmp_path / "another_target.nii"])
        assert sorted(path.name for path in tmp_path.iterdir()) == [theirs.name, other.name]
    stale_temporaries.clear([tmp_path / "a_patient_skeleton.nii"])
    assert [path.name for path in tmp_path.iterdir()] == [other.name]
