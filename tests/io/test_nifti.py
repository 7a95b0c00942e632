from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_typing import nibabel, present

from softmorph_cli.errors import InputError
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

DATA = Path(nibabel.__file__).parent / "tests" / "data"


def save(path: Path, array: Any, affine: Any = None, **fields: Any) -> Path:
    kind = fields.pop("kind", nibabel.Nifti1Image)
    header = kind.header_class(endianness=fields.pop("endianness", "<"))
    header.set_data_dtype(array.dtype)
    image = kind(array, np.eye(4) if affine is None else affine, header)
    for name, value in fields.items():
        image.header[name] = value
    image.header.set_slope_inter(1, 0)
    image.to_filename(path)
    return path


def test_header_is_kept_and_soft_output_has_no_integer_scale(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    affine = np.array([[0, -2, 0, 3.5], [1, 0, 0.25, -8], [0, 0.5, 3, 1], [0, 0, 0, 1]])
    path = save(tmp_path / "in.nii.gz", stored, affine, descrip=b"scan 7", cal_max=255, xyzt_units=10)
    volume = read(path, divide_by=255)
    assert np.array_equal(volume.array, (stored.T / np.float32(255)).astype(np.float32))
    write(volume, tmp_path / "out.nii.gz", provenance={"version": "9"})
    before, after = (nibabel.load(p).header for p in (path, tmp_path / "out.nii.gz"))
    for field in [
        "descrip",
        "pixdim",
        "qform_code",
        "sform_code",
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "qoffset_x",
        "qoffset_y",
        "qoffset_z",
        "srow_x",
        "srow_y",
        "srow_z",
        "xyzt_units",
        "dim",
    ]:
        assert np.array_equal(before[field], after[field]), field
    assert after.get_data_dtype() == np.float32
    assert float(after["cal_max"]) == 1
    proxy = nibabel.load(tmp_path / "out.nii.gz").dataobj
    assert (proxy.slope, proxy.inter) == (1, 0)
    assert "version" in str(after.extensions[0].get_content())


def test_codes_differ_and_a_crop_moves_both_transforms(tmp_path: Path) -> None:
    path = tmp_path / "in.nii"
    image = nibabel.Nifti1Image(np.random.default_rng(1).random((6, 5, 4), dtype=np.float32), np.eye(4))
    image.set_sform(np.array([[2, 0.1, 0, 1], [0, 2, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1.0]]), code=4)
    image.set_qform(np.diag([-2, 2, 2, 1.0]) + np.array([[0, 0, 0, 9]] * 3 + [[0] * 4]), code=1)
    image.to_filename(path)
    volume = read(path, region="1:3,:,2:5")
    assert volume.array.shape == (2, 5, 3)
    write(volume, tmp_path / "out.nii")
    after = nibabel.load(tmp_path / "out.nii")
    np.testing.assert_array_equal(after.get_fdata(), image.get_fdata()[2:5, :, 1:3])
    shift = np.array([2, 0, 1, 1])
    for form in ("get_sform", "get_qform"):
        before, moved = getattr(image, form)(), getattr(after, form)()
        np.testing.assert_allclose(moved[:3, :3], before[:3, :3], atol=1e-6)
        np.testing.assert_allclose(moved[:, 3], before @ shift, atol=1e-5)
    assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == (4, 1)


def test_a_crop_leaves_out_the_times_of_slices(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(1).random((6, 5, 4), dtype=np.float32), np.eye(4))
    image.header.set_dim_info(slice=2)
    image.header.set_slice_duration(0.5)
    image.header["slice_end"], image.header["slice_code"] = 3, 1
    image.to_filename(tmp_path / "in.nii")
    fields = ("slice_start", "slice_end", "slice_code", "slice_duration")
    for region, found in ((None, [0, 3, 1, 0.5]), ("2:4,:,:", [0, 0, 0, 0])):
        write(read(tmp_path / "in.nii", region=region), tmp_path / "out.nii", force=True)
        header = nibabel.load(tmp_path / "out.nii").header
        assert [float(header[field]) for field in fields] == found
        assert header.get_dim_info() == (None, None, 2)


def test_big_endian(tmp_path: Path) -> None:
    values = np.random.default_rng(2).random((3, 4, 5)).astype(">f4")
    path = save(tmp_path / "in.nii", values, endianness=">")
    assert path.read_bytes()[:4] == b"\0\0\x01\x5c"
    volume = read(path)
    assert volume.array.dtype == np.dtype("=f4")
    assert np.array_equal(volume.array, values.T)
    write(volume, tmp_path / "out.nii")
    assert np.array_equal(read(tmp_path / "out.nii").array, values.T)


def test_units(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 5), np.float32)
    affine = np.diag([4, 5, 6, 1.0])
    read_um = read(save(tmp_path / "um.nii", values, affine, xyzt_units=3))
    assert (read_um.spacing, read_um.unit) == ((6, 5, 4), "um")
    np.testing.assert_allclose(present(read_um.affine)[:3, :3] @ [0, 0, 1], [0.004, 0, 0])
    write(read_um, tmp_path / "again.nii")
    assert read(tmp_path / "again.nii").spacing == (6, 5, 4)
    nameless = nibabel.Nifti1Image(values, None)
    nameless.header["pixdim"][1:4] = 4, 5, 6
    nameless.to_filename(tmp_path / "bare.nii")
    bare = read(tmp_path / "bare.nii")
    assert (bare.spacing, bare.unit, bare.affine) == ((6, 5, 4), None, None)
    write(bare, tmp_path / "bare2.nii")
    assert int(nibabel.load(tmp_path / "bare2.nii").header["sform_code"]) == 0


def test_voxel_sizes_are_the_shortest_decimals(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 5), np.float32)
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    for columns in (np.eye(3), turn):
        affine = np.eye(4)
        affine[:3, :3] = columns * [0.8, 0.1, 0.333]
        for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
            volume = read(save(tmp_path / "map.nii", values, affine, kind=kind))
            assert volume.spacing == (0.333, 0.1, 0.8)
            assert volume.affine is not None
            exact = nibabel.load(tmp_path / "map.nii").affine
            assert np.array_equal(volume.affine[:, [2, 1, 0, 3]], exact)
    bare = nibabel.Nifti1Image(values, None)
    bare.header["pixdim"][1:4], bare.header["xyzt_units"] = (0.0008, 0.0001, 0.002), 1
    bare.to_filename(tmp_path / "metres.nii")
    assert read(tmp_path / "metres.nii").spacing == (2, 0.1, 0.8)


def test_if_voxel_sizes_disagree_the_affine_is_used(tmp_path: Path) -> None:
    path = save(tmp_path / "map.nii", np.zeros((3, 4, 5), np.float32), np.diag([0.4, 2, 3, 1]))
    content = bytearray(path.read_bytes())
    content[80:84] = struct.pack("<f", 0.8)  # pixdim[1]
    path.write_bytes(content)
    volume = read(path)
    assert volume.spacing == (3.0, 2.0, 0.4)
    assert "disagree" in volume.notes[0]


def test_four_and_five_dimensions_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(3).random((3, 4, 5, 2, 3), dtype=np.float32)
    path = save(tmp_path / "in.nii", values)
    volume = read(path)
    assert volume.axes == "CTZYX"
    write(volume, tmp_path / "out.nii")
    assert np.array_equal(nibabel.load(tmp_path / "out.nii").get_fdata(), values)
    assert read(path, channel=1).axes == "TZYX"


def test_two_dimensions_stay_two(tmp_path: Path) -> None:
    values = np.random.default_rng(3).random((3, 4), dtype=np.float32)
    volume = read(save(tmp_path / "in.nii", values))
    assert (volume.axes, volume.array.shape) == ("YX", (4, 3))
    write(volume, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").shape == (3, 4)


@pytest.mark.parametrize("name", ["functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_nibabels_own_4d_files(tmp_path: Path, name: str) -> None:
    before = nibabel.load(DATA / name)
    values = before.get_fdata()
    volume = read(DATA / name, divide_by=1 << 15)
    assert volume.axes == "TZYX"
    np.testing.assert_allclose(volume.array, values.T / (1 << 15), atol=1e-6)
    write(volume, tmp_path / "out.nii.gz")
    after = nibabel.load(tmp_path / "out.nii.gz")
    assert type(after) is type(before)
    assert after.header["pixdim"][:5].tolist() == before.header["pixdim"][:5].tolist()
    np.testing.assert_array_equal(after.affine, before.affine)


def test_nibabels_big_endian_files() -> None:
    found = probe(DATA / "anatomical.nii")
    assert (found.dtype, found.low, found.high) == (">i2", -610, 30393)
    nan = DATA / "resampled_anat_moved.nii"
    with pytest.raises(InputError, match=r"153 values .* not a number .* at \(z=0, y=0, x=0\).*mask=FILE"):
        read(nan, divide_by=65535)


def test_input_is_not_touched(tmp_path: Path) -> None:
    path = Path(shutil.copy(DATA / "functional.nii", tmp_path))
    before = path.read_bytes(), path.stat().st_mtime_ns
    volume = read(path, divide_by=1 << 15)
    write(volume, tmp_path / "out.nii")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    write(volume, path, force=True)
    np.testing.assert_allclose(read(path).array, volume.array)


def test_pairs_are_refused(tmp_path: Path) -> None:
    nibabel.Nifti1Pair(np.zeros((3, 4, 5), np.float32), np.eye(4)).to_filename(tmp_path / "map.hdr")
    with pytest.raises(
        InputError, match=r"header of a NIfTI pair .*: nib-convert \S+/map\.hdr \S+/map\.nii$"
    ):
        read(tmp_path / "map.hdr")


def test_rgb_asks_for_a_channel(tmp_path: Path) -> None:
    samples = np.random.default_rng(4).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    colour = samples.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    path = save(tmp_path / "in.nii", colour)
    with pytest.raises(InputError, match=r"colour image of 3 samples .*channel=0"):
        read(path)
    green = read(path, channel="green", divide_by=255)
    np.testing.assert_allclose(green.array, samples[..., 1].T / 255, atol=1e-7)


def test_reading_nifti_imports_no_other_library(volume: Volume, tmp_path: Path) -> None:
    write(volume, tmp_path / "map.nii.gz")
    code = (
        "import sys; from softmorph_cli.io.reading import read; from softmorph_cli.io.probing import probe;"
        "heavy = {'torch', 'numba', 'scipy', 'SimpleITK', 'tifffile', 'nibabel', 'matplotlib'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "read(sys.argv[1]); found = heavy & set(sys.modules);"
        "assert not found - {'nibabel', 'scipy'}, found; assert 'nibabel' in found"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "map.nii.gz")], check=True, cwd=Path.cwd())
