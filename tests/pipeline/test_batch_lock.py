"""The lock of an output folder, and temporary files of workers that were killed."""

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

ENDED = 2**22 - 3  # above the largest number that the system gives to a process by default


def test_a_lock_is_held_once_and_removed(tmp_path: Path) -> None:
    with lock.held(tmp_path, ""):
        with pytest.raises(FileError, match=rf"another batch \(process {os.getpid()} on .*--num-parts"):
            lock.held(tmp_path, "").__enter__()
        with lock.held(tmp_path, "-0-of-2"):
            pass
    assert list(tmp_path.iterdir()) == []
    with lock.held(tmp_path, ""):
        pass


@pytest.mark.posix
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
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
    ("host", "pid", "free"), [("here", ENDED, True), ("here", 1, False), ("there", 1, False)]
)
def test_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, pid: int, free: bool
) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    content = {"pid": pid, "host": socket.gethostname() if host == "here" else host}
    path = tmp_path / lock.name_of("")
    path.write_text(json.dumps(content))
    if free:
        with lock.held(tmp_path, ""):
            pass
    else:
        with pytest.raises(FileError, match=f"if it is gone, remove {path}"):
            lock.held(tmp_path, "").__enter__()
        assert json.loads(path.read_text()) == content


def test_temporary_files_of_killed_workers_are_removed(tmp_path: Path) -> None:
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
def test_temporary_files_of_running_commands_remain(tmp_path: Path) -> None:
    """Their names may end as that of a target of the batch."""
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
