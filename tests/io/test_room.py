"""What cannot fit into memory is refused by what a header says: no voxel is read or unpacked for it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from softmorph_cli import machine
from softmorph_cli.errors import InputError
from softmorph_cli.io import open_blocks, read, read_labels
from softmorph_cli.io.room import check_room

SIDE = 1500  # 13.5 GB as float32


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1 << 30)


def _zarr(folder: Path) -> Path:
    path = folder / "z.zarr"
    path.mkdir()
    told = {"zarr_format": 2, "shape": [SIDE] * 3, "chunks": [500] * 3, "dtype": "<f4", "fill_value": 0.5}
    (path / ".zarray").write_text(json.dumps(told | {"order": "C", "compressor": None, "filters": None}))
    return path


def _npy(folder: Path) -> Path:
    path = folder / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (SIDE,) * 3)  # no block of it is on the disk
    return path


def _nifti(folder: Path, *, packed: bool) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_shape((SIDE,) * 3)
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    head = header.binaryblock + bytes(4)
    path = folder / ("a.nii.gz" if packed else "a.nii")
    if packed:
        # It claims more than it holds; nobody may come so far as to see that.
        with path.open("wb") as file:
            file.write(gzip.compress(head + bytes(1000)))
            file.truncate(4 * SIDE**3 // 1000)
    else:
        with path.open("wb") as file:
            file.write(head)
            file.truncate(352 + 4 * SIDE**3)
    return path


@pytest.mark.parametrize("kind", ["zarr", "npy", "nii", "nii.gz"])
def test_a_map_larger_than_memory_is_refused_by_its_header(kind: str, tmp_path: Path) -> None:
    path = {
        "zarr": _zarr,
        "npy": _npy,
        "nii": lambda folder: _nifti(folder, packed=False),
        "nii.gz": lambda folder: _nifti(folder, packed=True),
    }[kind](tmp_path)
    said = f"{path} holds 1500 x 1500 x 1500 values, which take about 12.6 GiB, and 1.0 GiB may be used: "
    for reader in (read, read_labels):
        with pytest.raises(InputError) as refused:
            reader(path)
        assert str(refused.value).startswith(said)
        assert ("gunzip" in str(refused.value)) == (kind == "nii.gz")
    if kind != "nii.gz":
        # What the message advises.
        assert read(path, region="0:10,0:10,0:10").array.shape == (10, 10, 10)
        assert open_blocks(path).shape == (SIDE,) * 3


MEASURED = """
import resource, sys
from softmorph_cli.cli.app import app
try:
    app([*sys.argv[1:]])
except SystemExit as ended:
    print(ended.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def test_nothing_is_read_before_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1000")
    for words in (
        ["erode", str(_zarr(tmp_path)), str(tmp_path / "o.zarr")],
        ["stats", str(tmp_path / "z.zarr")],
    ):
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True
        )
        status, megabytes = map(int, ended.stdout.split())
        assert status == 1
        assert "may be used" in ended.stderr
        assert megabytes < 1000


def test_sizes_beyond_any_number_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which take about"):
        check_room((10**400, 5), 4, tmp_path / "in.tif")
