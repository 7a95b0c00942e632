"""Unusual machines: no home, a read-only cache, odd variables, many first runs at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import environment, load, process, random_map, save

import softmorph_cli


@pytest.fixture
def volume() -> Path:
    return save("in.nii.gz", random_map())


ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "cache under a file": {"SOFTMORPH_CACHE_DIR": "/dev/null/cache"},
    "cache in /proc": {"SOFTMORPH_CACHE_DIR": "/proc/cache"},
    "no home": {"SOFTMORPH_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": None},
    "home read-only": {"SOFTMORPH_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": "/proc"},
    "OMP list": {"OMP_NUM_THREADS": "4,2", "SLURM_CPUS_PER_TASK": "", "SLURM_MEM_PER_NODE": "64G"},
    "negative": {"OMP_NUM_THREADS": "-3", "SLURM_CPUS_PER_TASK": "0", "SLURM_MEM_PER_NODE": "-1"},
    "words": {"OMP_NUM_THREADS": "all", "SLURM_CPUS_PER_TASK": "many", "MKL_NUM_THREADS": "x"},
    "huge": {"OMP_NUM_THREADS": "99999", "SLURM_CPUS_PER_TASK": "99999"},
    "unusual terminal": {"TERM": "dumb", "COLUMNS": "-5", "LINES": "x"},
    "matplotlib": {"MPLBACKEND": "TkAgg", "MPLCONFIGDIR": "/proc/mpl"},
    "no temporary folder": {"TMPDIR": "/nowhere"},
}


@pytest.mark.linux
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_odd_environments(
    name: str, volume: Path, here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Where the cache falls back to the temporary folder, that is one of this test's own.
    changes = {"TMPDIR": str(tmp_path_factory.mktemp("tmp")), **ENVIRONMENTS[name]}
    more = ["--preview", "p.png"] if name == "matplotlib" else []
    ended = process("erode", volume, "out.nii.gz", "-q", *more, changes=changes)
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert "Traceback" not in ended.err
    assert "softmorph" not in "".join(os.listdir(here))  # noqa: PTH208
    np.testing.assert_array_equal(load("out.nii.gz"), softmorph_cli.erosion(random_map()))
    if name.startswith("cache "):
        # A folder that was asked for by name and cannot serve is worth one line.
        assert ended.err.startswith(
            f"warning: SOFTMORPH_CACHE_DIR={changes['SOFTMORPH_CACHE_DIR']} is not used"
        )
        assert ended.err.count("\n") == 1
    elif name != "matplotlib":
        assert ended.err == ""


def test_variables_of_numba_that_it_cannot_read(volume: Path) -> None:
    """Numba warns of them; the result is the same."""
    ended = process("erode", volume, "out.nii.gz", changes={"NUMBA_NUM_THREADS": "x", "NUMBA_OPT": "y"})
    assert ended.code == 0
    np.testing.assert_array_equal(load("out.nii.gz"), softmorph_cli.erosion(random_map()))


@pytest.mark.posix
def test_a_user_without_a_home_or_a_name(here: Path) -> None:
    """As containers are often run: docker run --user 12345."""
    if os.geteuid() != 0:
        pytest.skip("to become another user takes root")
    reachable = Path(sys.executable).resolve()
    for folder in (*reachable.parents, *Path(sys.executable).parents, *Path(softmorph_cli.__file__).parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            pytest.skip("another user cannot reach this Python")
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        work.chmod(0o777)
        save(work / "in.nii.gz", random_map())
        changes = {"HOME": None, "SOFTMORPH_CACHE_DIR": None, "XDG_CACHE_HOME": None, "TMPDIR": str(work)}
        ended = process(
            "erode",
            "in.nii.gz",
            "out.nii.gz",
            changes=changes,
            cwd=work,
            user=12345,
            group=12345,
            extra_groups=[],
        )
        assert ended.code == 0, ended.err
        assert (work / "out.nii.gz").stat().st_uid == 12345
        assert not (work / "~").exists()


@pytest.mark.posix
def test_a_cache_of_another_user_is_not_used(volume: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Code is imported from there."""
    shared = tmp_path_factory.mktemp("shared")
    shared.chmod(0o777)
    changes = {"SOFTMORPH_CACHE_DIR": str(shared), "TMPDIR": str(tmp_path_factory.mktemp("tmp"))}
    ended = process("erode", volume, "out.nii.gz", changes=changes)
    assert ended.code == 0
    assert list(shared.iterdir()) == []


def test_a_cache_that_is_full_or_damaged(volume: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cache")
    changes = {"SOFTMORPH_CACHE_DIR": str(folder)}
    assert process("erode", volume, "first.nii.gz", changes=changes).code == 0
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        path.write_bytes(path.read_bytes()[: 100 * (number % 3)])
    ended = process("erode", volume, "second.nii.gz", changes=changes)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    np.testing.assert_array_equal(load("second.nii.gz"), load("first.nii.gz"))


@pytest.mark.parametrize("count", [6, pytest.param(20, marks=pytest.mark.heavy)])
def test_many_first_runs_at_once(count: int, volume: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    changes = {"SOFTMORPH_CACHE_DIR": str(tmp_path_factory.mktemp("cache") / "not yet there")}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "softmorph_cli", "erode", str(volume), f"out{number}.npy", "-q"],
            env=environment(changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]
    try:
        said = [one.communicate(timeout=300) for one in runs]
    finally:
        for one in runs:
            one.kill()
    assert [one.returncode for one in runs] == [0] * count, said
    assert not any(b"Traceback" in err or b"rror" in err for _, err in said)
    wanted = softmorph_cli.erosion(random_map())
    for number in range(count):
        np.testing.assert_array_equal(load(f"out{number}.npy"), wanted)
    # And what they left in common is sound.
    ended = process("erode", volume, "last.npy", "-q", changes=changes)
    assert ended.code == 0
    np.testing.assert_array_equal(load("last.npy"), wanted)


def test_two_runs_to_one_output_leave_one_of_them_whole(volume: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "softmorph_cli", command, str(volume), "out.nii.gz", "--force", "-q"]
        )
        for command in ("erode", "dilate")
    ]
    assert [one.wait(120) for one in runs] == [0, 0]
    result = load("out.nii.gz")
    candidates = [softmorph_cli.erosion(random_map()), softmorph_cli.dilation(random_map())]
    assert any(np.array_equal(result, wanted) for wanted in candidates)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in.nii.gz", "out.nii.gz"]
