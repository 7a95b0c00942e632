"""A file that cannot be written to its end: every writer fails, says so, and leaves what was there before.

A limit on the size of files stands for the full disk: it needs no rights, and the system's call fails alike.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softmorph_cli.io import write
from softmorph_cli.volume import Volume

# Runs `work(path)` for each limit; says of each whether it failed, with what, and what is left.
CHILD = """
import json, resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
NONE = resource.RLIM_INFINITY

def tried(work, name, *, old=True, exact=True):
    path, found = Path(name), []
    work(Path("whole" + name))
    whole = Path("whole" + name)
    size = max(one.stat().st_size for one in ([whole] if whole.is_file() else whole.rglob("*")) if one.is_file())
    # What tells the time it took is not of the same size every time.
    for limit in sorted({0, 1, size // 2, max(0, size - 4096), size - 9, size - 1} if exact else {0, size // 2}):
        if old:
            path.write_text("the old file")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, NONE))
        try:
            said = work(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (NONE, NONE))
        kept = path.read_text(errors="replace") == "the old file" if old else not path.exists()
        hidden = [one.name for one in Path().iterdir() if one.name.startswith(".")]
        found.append([limit, said, kept, hidden])
    return found
"""


def child(code: str, folder: Path) -> Any:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD + textwrap.dedent(code)], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def check(found: Any, name: str) -> None:
    assert len(found) > 1
    for limit, said, kept, hidden in found:
        assert said is not None, f"{name} of at most {limit} bytes was written without a word"
        assert f"{name} could not be written: " in said, (limit, said)
        assert "a bug in softmorph" not in said, (limit, said)
        assert kept, f"{name}: the old file is lost at {limit} bytes"
        assert hidden == []


@pytest.mark.parametrize("labels", [False, True])
def test_maps_and_labels(tmp_path: Path, labels: bool) -> None:
    code = f"""
        import numpy as np
        from softmorph_cli.errors import FileError
        from softmorph_cli.io import write, write_labels
        from softmorph_cli.volume import Volume
        flat = Volume(np.random.default_rng(0).random((70, 90), dtype=np.float32), "YX")
        solid = Volume(np.random.default_rng(0).random((9, 30, 40), dtype=np.float32), "ZYX", (2.0, 1.0, 1.0), "mm")

        def work_on(volume):
            def work(path):
                try:
                    if {labels}:
                        write_labels((volume.array * 90000).astype("u4") % 60000, volume, path, force=True)
                    else:
                        write(volume, path, force=True)
                except FileError as error:
                    return str(error)
            return work

        names = "o.nii o.nii.gz o.tif o.ome.tif o.npy o.png o.nrrd o.mha o.zarr".split()
        print(json.dumps([
            [f"{{one.axes}}{{name}}", tried(work_on(one), f"{{one.axes}}{{name}}", old=name != "o.zarr")]
            for one in (flat, solid) for name in names if one is flat or name != "o.png"
        ]))
    """
    found = child(code, tmp_path)
    assert len(found) == 17
    for name, tries in found:
        check(tries, name)


def test_tables_pages_and_pictures(tmp_path: Path) -> None:
    z, y, _ = np.indices((12, 14, 30))
    array = np.clip(1.2 - np.hypot(z - 6, y - 7) / 4, 0, 1).astype(np.float32)
    write(Volume(array, "ZYX", (1.0, 1.0, 1.0), "mm"), tmp_path / "in.nii")
    code = """
        from typer.testing import CliRunner
        from softmorph_cli.cli.app import app

        def work_with(*words):
            def work(path):
                ended = CliRunner().invoke(app, [*words, str(path), "--force"])
                assert ended.exit_code in (0, 1), ended.output
                return ended.stderr if ended.exit_code else None
            return work

        inspect = ("inspect", "in.nii", "--levels", "0")
        print(json.dumps([[name, tried(work_with(*words), name, exact=False)] for name, words in {
            "o.csv": (*inspect, "--csv"),
            "o.json": (*inspect, "--json"),
            "o.html": (*inspect, "--report"),
            "o.png": (*inspect, "--preview"),
            "o.graphml": (*inspect, "--graphml"),
            "o.swc": (*inspect, "--swc"),
            "o.obj": (*inspect, "--obj"),
            "many.csv": ("stats", "in.nii", "--csv"),
            "pairs.json": ("evaluate", "in.nii", "in.nii", "--metrics", "dice", "--stats"),
            "pairs.csv": ("evaluate", "in.nii", "in.nii", "--metrics", "dice", "--csv"),
        }.items()]))
    """
    for name, tries in child(code, tmp_path):
        check(tries, name)
