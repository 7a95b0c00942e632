"""Runs the command line, in this process or a new one, and reads its output."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from typer.testing import CliRunner

from softmorph_cli.cli.app import app
from softmorph_cli.cli.document_list import mismatches
from softmorph_cli.io.reading import read

# Half of them has types, which know little of the classes that are read.
nibabel: Any = import_module("nibabel")
SimpleITK: Any = import_module("SimpleITK")

ESCAPE = "\x1b"
BOXES = re.compile("[\u2500-\u257f]")
# What most of these tests run: its kernel is compiled once.
SHAPE = (6, 7, 8)
SPACING = (3.0, 2.0, 1.5)
SUFFIXES = (".nii.gz", ".nii", ".tif", ".nrrd", ".mha", ".npy")
# Runs a command, and prints what it has imported.
IMPORTED = """
import sys
from softmorph_cli.__main__ import main
sys.argv = ["softmorph", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *sorted(sys.modules))
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON object that was printed, of which every field has to be declared."""
        found = json.loads(self.out)
        if isinstance(found, dict) and "schema" in found:
            wrong = mismatches(found)
            assert not wrong, wrong
        return found


def run(*arguments: object, code: int = 0) -> Ended:
    """Run a command in this process; what is no exit is a bug and raised as it is."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], prog_name="softmorph")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.stderr
    return Ended(result.exit_code, result.stdout, result.stderr)


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    merged = {**os.environ, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}


def process(
    *arguments: object, changes: Mapping[str, str | None] | None = None, timeout: float = 120, **more: Any
) -> Ended:
    """Run a command in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "softmorph_cli", *map(str, arguments)],
        env=environment(changes),
        capture_output=True,
        timeout=timeout,
        check=False,
        **more,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def script(code: str, *arguments: object, **more: Any) -> Ended:
    """Run Python code in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        timeout=120,
        check=False,
        **more,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def refused(*arguments: object, code: int = 1, says: str | tuple[str, ...] = ()) -> str:
    """Run a command that has to be refused: one sentence, nothing left behind. Return the sentence."""
    before = everything()
    ended = run(*arguments, code=code)
    sentence = complaint(ended.err)
    if "--json" in map(str, arguments):
        assert ended.json["error"]["exit_code"] == code
        assert ended.json["error"]["message"] == sentence
    else:
        assert ended.out == ""
    for text in (says,) if isinstance(says, str) else says:
        assert text in sentence, sentence
    assert everything() == before
    return sentence


def complaint(err: str) -> str:
    """Return the error, which has to be the only line beside notes and warnings."""
    lines = [line for line in err.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: "), err
    assert "Traceback" not in err
    assert ESCAPE not in err
    return lines[0].removeprefix("error: ")


def everything(folder: Path | None = None) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too, with its content."""
    folder = folder or Path.cwd()
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def random_map(shape: tuple[int, ...] = SHAPE, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(dtype)


def save(path: str | Path, array: np.ndarray, spacing: tuple[float, ...] | None = SPACING) -> Path:
    """Write (Z, Y, X) or (Y, X) numbers just as they are, with the library itself, spacing in mm."""
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".npy"):
        np.save(path, array)
    elif name.endswith((".nii", ".nii.gz")):
        image = nibabel.Nifti1Image(
            array.T, np.diag([*(spacing or (1, 1, 1))[::-1], 1.0][-4:]), dtype=array.dtype
        )
        if spacing is None:
            image.header.set_sform(None, code=0)
            image.header.set_qform(None, code=0)
        else:
            image.header.set_xyzt_units("mm")
        image.to_filename(path)
    elif name.endswith(".tif"):
        more: dict[str, Any] = {}
        if spacing is not None:
            more = {"resolution": (1 / spacing[-1], 1 / spacing[-2])}
        metadata: dict[str, Any] = {"axes": "ZYX"[-array.ndim :], "unit": "mm"}
        if array.ndim == 3 and spacing is not None:
            metadata["spacing"] = spacing[0]
        tifffile.imwrite(path, array, imagej=True, metadata=metadata, **more)
    else:
        image = SimpleITK.GetImageFromArray(array)
        if spacing is not None:
            image.SetSpacing(spacing[::-1][: array.ndim])
        SimpleITK.WriteImage(image, str(path))
    return path


def load(path: str | Path) -> np.ndarray:
    """Read numbers with the library itself, as (Z, Y, X)."""
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".npy"):
        return np.asarray(np.load(path))
    if name.endswith((".nii", ".nii.gz")):
        return np.asarray(nibabel.load(path).get_fdata(dtype=np.float32)).T
    if name.endswith(".tif"):
        return np.asarray(tifffile.imread(path))
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))


def provenance(path: str | Path) -> dict[str, Any]:
    """Return what a file says of how it was made."""
    source = read(path).source
    assert source is not None
    return dict(source.provenance)
