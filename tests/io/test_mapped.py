"""A mapped file that is truncated between opening and reading, as by a program that rewrites it in place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_typing import nibabel

import softmorph_cli
from softmorph_cli.io.blocks import open_blocks

SHAPE = (30, 40, 50)
IMAGE = np.random.default_rng(0).random(SHAPE).astype(np.float32)

# In another process, which SIGBUS would end.
CUT = """
import os, sys
import softmorph_cli.io.reading as reading
from softmorph_cli.cli.app import app
real = reading._open
def cut(path, *more, **named):
    found = real(path, *more, **named)
    os.truncate(path, 5000)
    return found
reading._open = cut
app(["stats", *sys.argv[1:]])
"""


def _made(name: str) -> Path:
    path = Path(name)
    if name.endswith(".npy"):
        np.save(path, IMAGE if name == "a.npy" else np.asfortranarray(IMAGE))
    else:
        nibabel.Nifti1Image(IMAGE.T, np.eye(4)).to_filename(path)
    return path


@pytest.mark.parametrize("name", ["a.npy", "f.npy", "a.nii"])
def test_a_truncated_mapped_file_is_an_error_and_no_signal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _made(name)
    np.testing.assert_array_equal(softmorph_cli.read(path).array, IMAGE)
    part = softmorph_cli.read(path, region="3:9,:,10:").array
    np.testing.assert_array_equal(part, IMAGE[3:9, :, 10:])
    blocks = open_blocks(path)
    np.testing.assert_array_equal(blocks.read((slice(2, 5),) * 3), IMAGE[2:5, 2:5, 2:5])
    os.truncate(path, 5000)
    with pytest.raises(softmorph_cli.errors.FileError, match="was cut short while it was read"):
        blocks.read((slice(20, 30),) * 3)
    _made(name)
    ended = subprocess.run([sys.executable, "-c", CUT, name], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"{name} was cut short while it was read; write or copy it again." in ended.stderr
