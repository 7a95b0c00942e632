from __future__ import annotations

import errno
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_typing import present

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.npy import Npy
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import as_stored, write
from softmorph_cli.volume import Volume

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".tif", ".ome.tif", ".npy"]
WITH_AFFINE = [".nii", ".nii.gz", ".nrrd", ".mha"]
PROVENANCE = {"command": "softmorph erode é", "version": "0.1", "parameters": {"iterations": 2}}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_float32_comes_back_to_the_bit(volume: Volume, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    before = volume.array.copy()
    write(volume, path, provenance=PROVENANCE)
    again = read(path)
    assert np.array_equal(again.array, volume.array)
    assert again.array.dtype == np.float32
    assert again.axes == "ZYX"
    assert again.notes == ()
    assert np.array_equal(volume.array, before)
    assert sorted(tmp_path.iterdir()) == [path]
    if suffix != ".npy":
        np.testing.assert_allclose(present(again.spacing), present(volume.spacing), rtol=1e-5)
        assert again.unit == "mm"
        assert b"iterations" in _unpacked(path)


@pytest.mark.parametrize("suffix", WITH_AFFINE)
def test_oblique_sheared_affine_comes_back(volume: Volume, tmp_path: Path, suffix: str) -> None:
    write(volume, tmp_path / f"map{suffix}")
    again = read(tmp_path / f"map{suffix}")
    np.testing.assert_allclose(present(again.affine), present(volume.affine), atol=1e-5)
    write(again, tmp_path / f"more{suffix}")
    more = read(tmp_path / f"more{suffix}")
    np.testing.assert_allclose(present(more.affine), present(volume.affine), atol=1e-5)


@pytest.mark.parametrize("suffix", [*WITH_AFFINE, ".tif", ".ome.tif"])
@pytest.mark.parametrize(("output_type", "step"), [("uint8", 255), ("uint16", 65535)])
def test_integer_output_reads_back_as_probabilities(
    volume: Volume, tmp_path: Path, suffix: str, output_type: str, step: int
) -> None:
    # A faint map: without a word in the file its integers would look like 12 bits in 16.
    faint = volume.with_array(volume.array * np.float32(0.1))
    lost = write(faint, tmp_path / f"map{suffix}", output_type=output_type)
    again = read(tmp_path / f"map{suffix}")
    assert again.source is not None
    assert again.source.dtype == output_type
    assert np.abs(again.array - faint.array).max() <= 0.5001 / step
    assert any("uint8 keeps 256 steps" in text for text in lost) == (output_type == "uint8")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mask_output_is_zero_and_one(volume: Volume, tmp_path: Path, suffix: str) -> None:
    hard = volume.with_array((volume.array > 0.5).astype(np.float32))
    write(hard, tmp_path / f"map{suffix}", output_type="mask")
    again = read(tmp_path / f"map{suffix}")
    assert np.array_equal(again.array, hard.array)
    assert again.source is not None
    assert again.source.dtype == "uint8"
    assert again.notes == ("it holds only 0 and 1 and is taken as a mask.",)


def test_mask_output_refuses_soft_values(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a mask holds only 0 and 1"):
        write(volume, tmp_path / "map.nii", output_type="mask")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_float16(volume: Volume, tmp_path: Path, suffix: str) -> None:
    lost = write(volume, tmp_path / f"map{suffix}", output_type="float16")
    again = read(tmp_path / f"map{suffix}")
    assert again.source is not None
    assert again.source.dtype == "float16"
    assert np.array_equal(again.array, volume.array.astype(np.float16).astype(np.float32))
    assert "float16 keeps 11 bits: values are rounded by up to 0.00025." in lost
    assert again.axes == "ZYX"
    if suffix == ".tif":
        np.testing.assert_allclose(present(again.spacing), present(volume.spacing))


def test_float64_npy_loses_nothing_and_the_rest_is_read_as_float32(volume: Volume, tmp_path: Path) -> None:
    wide = volume.with_array(volume.array.astype(np.float64) * 0.999)
    write(wide, tmp_path / "map.npy")
    assert np.array_equal(read(tmp_path / "map.npy").array, wide.array)
    assert read(tmp_path / "map.npy", dtype=np.float32).array.dtype == np.float32
    write(wide, tmp_path / "map.nii")
    assert read(tmp_path / "map.nii").array.dtype == np.float32
    assert read(tmp_path / "map.nii", dtype=np.float64).array.dtype == np.float64
    with pytest.raises(UsageError, match="read as float32 or float64, not float16"):
        read(tmp_path / "map.npy", dtype=np.float16)


@pytest.mark.parametrize("source", [".nii.gz", ".nrrd", ".tif"])
@pytest.mark.parametrize("target", SUFFIXES)
def test_formats_change_and_losses_are_reported(
    volume: Volume, tmp_path: Path, source: str, target: str
) -> None:
    write(volume, tmp_path / f"in{source}")
    lost = write(read(tmp_path / f"in{source}"), tmp_path / f"out{target}")
    again = read(tmp_path / f"out{target}")
    assert np.array_equal(again.array, volume.array)
    if target != ".npy":
        np.testing.assert_allclose(present(again.spacing), present(volume.spacing), rtol=1e-5)
    messages = [text for text in lost if "affine" in text]
    assert bool(messages) == (source != ".tif" and target not in WITH_AFFINE)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_singleton_axis_is_filtered_in_2d_and_written_back(
    volume: Volume, tmp_path: Path, suffix: str, axis: int
) -> None:
    if axis > 0 and suffix.endswith("tif"):
        pytest.skip("a TIFF of one row or column is no singleton axis of a volume")
    thin = volume.with_array(volume.array)
    thin = replace(thin, array=volume.array.take([1], axis=axis))
    write(thin, tmp_path / f"in{suffix}")
    flat = read(tmp_path / f"in{suffix}")
    assert flat.axes == "YX"
    assert np.array_equal(flat.array, thin.array.squeeze(axis))
    write(flat, tmp_path / f"out{suffix}")
    again = read(tmp_path / f"out{suffix}")
    assert again.source is not None
    assert flat.source is not None
    assert again.source.shape == flat.source.shape
    assert np.array_equal(again.array, flat.array)
    if suffix in WITH_AFFINE:
        np.testing.assert_allclose(present(again.affine), present(flat.affine), atol=1e-5)
        # The corner voxel of the plane is where it was.
        np.testing.assert_allclose(present(flat.affine)[:3, 3], present(volume.affine)[:3, 3], atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_per_slice_is_undone_when_written(volume: Volume, tmp_path: Path, suffix: str) -> None:
    write(volume, tmp_path / f"in{suffix}")
    sliced = read(tmp_path / f"in{suffix}", per_slice=True)
    assert sliced.axes == "SYX"
    assert sliced.spatial_dims == 2
    write(sliced, tmp_path / f"out{suffix}")
    again, before = read(tmp_path / f"out{suffix}"), read(tmp_path / f"in{suffix}")
    assert again.axes == "ZYX"
    np.testing.assert_allclose(again.spacing or (), before.spacing or ())
    assert np.array_equal(again.array, volume.array)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".tif", ".ome.tif"])
def test_time_is_mapped_and_kept(volume: Volume, tmp_path: Path, suffix: str) -> None:
    film = replace(volume, array=np.stack([volume.array, volume.array[::-1]]), axes="TZYX")
    write(film, tmp_path / f"map{suffix}")
    again = read(tmp_path / f"map{suffix}")
    assert again.axes == "TZYX"
    assert np.array_equal(again.array, film.array)
    one = read(tmp_path / f"map{suffix}", channel=1)
    assert one.axes == "ZYX"
    assert np.array_equal(one.array, film.array[1])


def test_existing_output_needs_force(volume: Volume, tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    path.write_bytes(b"mine")
    with pytest.raises(FileError, match=r"map\.npy exists already; add force=True"):
        write(volume, path)
    with pytest.raises(FileError, match="exists already"):
        check_target(path)
    assert path.read_bytes() == b"mine"
    write(volume, path, force=True)
    assert np.array_equal(read(path).array, volume.array)


def test_missing_output_folder(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"the folder .*nowhere does not exist; create it first: mkdir -p"):
        write(volume, tmp_path / "nowhere" / "map.nii")


@pytest.mark.parametrize(
    ("name", "output_type", "text"),
    [
        ("map.xyz", None, r"cannot tell the format of .*map\.xyz from its suffix '\.xyz'; write NIfTI"),
        ("map", None, "from its suffix ''"),
        ("map.nii", "float16", "NIfTI cannot hold output_type='float16'; it holds float32, uint8, uint16"),
        ("map.png", "float32", "PNG cannot hold output_type='float32'"),
        ("map.mhd", None, r"second file, .*write \.mha instead"),
    ],
)
def test_wrong_targets(volume: Volume, tmp_path: Path, name: str, output_type: str | None, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_target(tmp_path / name, WriteOptions(output_type=output_type))
    assert re.search(text, str(refused.value))
    with pytest.raises(UsageError, match=text):
        write(volume, tmp_path / name, output_type=output_type)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_the_folder_unchanged_in_every_format(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    path = tmp_path / "map.npy"
    if existing:
        path.write_bytes(b"mine")

    def fill(self: Npy, volume: Volume, array: object, path: Path, *rest: object) -> list[str]:
        path.write_bytes(b"half a fi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Npy, "write", fill)
    with pytest.raises(FileError, match=r"map\.npy could not be written: the disk is full; nothing was left"):
        write(volume, path, force=True)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"mine"] if existing else [])


_LIMITED = """
import resource, signal, sys
import numpy as np
from softmorph_cli.errors import FileError
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume
array = np.random.default_rng(0).random((10, 100, 100), dtype=np.float32)
volume = Volume(array, "ZYX")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
for path in sys.argv[1:]:
    try:
        write(Volume(array[0], "YX") if path.endswith("png") else volume, path)
    except FileError as error:
        assert "could not be written" in str(error), error
    else:
        raise AssertionError(f"{path} was cut short and nobody noticed")
"""


@pytest.mark.posix
def test_an_incomplete_write_is_an_error_in_every_format(tmp_path: Path) -> None:
    # A file size limit cuts real writes of real libraries, as a full disk or a quota does.
    (tmp_path / "map.nii").write_bytes(b"mine")
    paths = [str(tmp_path / f"new{suffix}") for suffix in [*SUFFIXES, ".png"]]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [p.name for p in tmp_path.iterdir()] == ["map.nii"]


def _unpacked(path: Path) -> bytes:
    import gzip

    content = path.read_bytes()
    # ImageJ writes its Info in UTF-16.
    return gzip.decompress(content) if path.suffix == ".gz" else content.replace(b"\0", b"")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("output_type", "one"), [("uint8", 255), ("uint16", 65535)])
@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".png", ".nrrd", ".mha", ".npy", ".ome.zarr"])
def test_stored_values_equal_as_stored_to_the_bit(
    suffix: str, output_type: str, one: int, dtype: type, tmp_path: Path
) -> None:
    array: Any = (np.arange(65536) % (one + 1) / one).reshape(256, 256).astype(dtype)
    path = tmp_path / f"map{suffix}"
    write(Volume(array, "YX"), path, output_type=output_type)
    back = read(path, divide_by=one if suffix == ".npy" else None).array
    np.testing.assert_array_equal(as_stored(array, path, output_type), back.astype(dtype))
