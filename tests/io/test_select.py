from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_typing import nibabel, present

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
SOFT = RNG.random((4, 5, 6), dtype=np.float32)
FOUR = RNG.random((3, 4, 5, 6), dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "map.npy", SOFT)
    return tmp_path / "map.npy"


@pytest.fixture
def four(tmp_path: Path) -> Path:
    np.save(tmp_path / "four.npy", FOUR)
    return tmp_path / "four.npy"


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("1:3,0:5,2:4", SOFT[1:3, :, 2:4]),
        ("1:,:2,:", SOFT[1:, :2]),
        (" 2:3 , :, :", SOFT[2]),
    ],
)
def test_region(path: Path, region: str, expected: np.ndarray) -> None:
    assert np.array_equal(read(path, region=region).array, expected)


@pytest.mark.parametrize("region", ["1:3", "1:3,0:5", "2:9,:,:", "3:3,:,:", "3:1,:,:"])
def test_region_that_does_not_fit(path: Path, region: str) -> None:
    with pytest.raises(
        InputError, match=r"region .*(names \d axes; .* has 3, ZYX|does not fit: axis Z .* 0 to 4)"
    ):
        read(path, region=region)


@pytest.mark.parametrize("region", ["", "a:b,:,:", "1-3,:,:", "-1:,:,:", "1,2,3"])
def test_an_invalid_region(path: Path, region: str) -> None:
    with pytest.raises(UsageError, match="must read z0:z1,y0:y1,x0:x1"):
        read(path, region=region)


def test_axes_are_named_and_put_in_order(four: Path, tmp_path: Path) -> None:
    volume = read(four, axes="xczy")
    assert volume.axes == "CZYX"
    assert np.array_equal(volume.array, FOUR.transpose(1, 2, 3, 0))
    # A .npy goes back into the order it came in.
    write(volume, tmp_path / "out.npy")
    assert np.array_equal(np.load(tmp_path / "out.npy"), FOUR)


@pytest.mark.parametrize("axes", ["CZY", "CCYX", "C1YX", "CZTP"])
def test_invalid_axes(four: Path, axes: str) -> None:
    with pytest.raises((UsageError, InputError), match=r"axes '.*must be distinct letters with Y and X"):
        read(four, axes=axes)


def test_axes_of_the_wrong_number(four: Path) -> None:
    with pytest.raises(
        InputError, match=r"has 4 axes, its shape is \(3, 4, 5, 6\), and ZYX names 3; .* axes='CZYX'"
    ):
        read(four, axes="ZYX")


def test_channels(four: Path, path: Path) -> None:
    assert np.array_equal(read(four, axes="CZYX", channel=1).array, FOUR[1])
    assert np.array_equal(read(four, axes="CZYX", channel="-1").array, FOUR[-1])
    assert np.array_equal(read(four, channel_axis=0, channel=1).array, FOUR[1])
    last = read(four, channel_axis=-1, channel=2)
    assert np.array_equal(last.array, FOUR[..., 2])
    assert last.axes == "ZYX"
    first = read(path, channel_axis="Z")
    assert (first.axes, first.array.shape) == ("CYX", (4, 5, 6))
    with pytest.raises(InputError, match="has no channel 7; choose channel=0 to 2"):
        read(four, axes="CZYX", channel=7)
    with pytest.raises(InputError, match="has no channel 'tumour'"):
        read(four, axes="CZYX", channel="tumour")
    with pytest.raises(InputError, match="has no channel axis, its axes are ZYX"):
        read(path, channel=0)
    with pytest.raises(InputError, match="has no axis T; its axes are ZYX"):
        read(path, channel_axis="T")


def test_invalid_channel_axes(four: Path, path: Path) -> None:
    with pytest.raises(UsageError, match="channel_axis '' must be a letter"):
        read(path, channel_axis="")
    for axis in ("ZY", "--1", "²"):
        with pytest.raises(InputError, match=f"has no axis {axis}; its axes are ZYX"):
            read(path, channel_axis=axis)
    for number in (4, -5, "4"):
        with pytest.raises(InputError, match=rf"has no axis {number}; its shape is \(3, 4, 5, 6\)"):
            read(four, channel_axis=number)
    assert np.array_equal(read(four, channel_axis="-1", channel=2).array, FOUR[..., 2])
    with pytest.raises(InputError, match="has no channel '--1'"):
        read(four, axes="CZYX", channel="--1")


def test_permuted_spatial_axes_keep_their_geometry(tmp_path: Path, volume: Volume) -> None:
    for suffix in (".nii", ".mha"):
        write(volume, tmp_path / f"map{suffix}")
        turned = read(tmp_path / f"map{suffix}", axes="YZX")
        assert turned.spacing is not None
        assert volume.spacing is not None
        assert turned.affine is not None
        np.testing.assert_allclose(turned.spacing, np.array(volume.spacing)[[1, 0, 2]], rtol=1e-6)
        # The voxel (z, y, x) of the file is now (y, z, x), at the same place.
        np.testing.assert_allclose(
            turned.affine @ [2, 1, 3, 1], present(volume.affine) @ [1, 2, 3, 1], rtol=1e-6
        )
        assert turned.notes[-1] == (
            "its axes, slowest first, were read as YZX instead of ZYX: "
            "voxel size kept, orientation and origin kept."
        )
        write(turned, tmp_path / f"out{suffix}")
        again = read(tmp_path / f"out{suffix}")
        assert np.array_equal(again.array, volume.array.transpose(1, 0, 2))
        np.testing.assert_allclose(present(again.affine), present(turned.affine), rtol=1e-6)
        np.testing.assert_allclose(present(again.spacing), present(turned.spacing), rtol=1e-6)
        same = read(tmp_path / f"map{suffix}", axes="TYX")
        assert same.affine is not None
        assert not any("axes" in note for note in same.notes)


def test_geometry_that_no_header_can_describe_is_dropped(tmp_path: Path, volume: Volume) -> None:
    write(volume, tmp_path / "map.nii")
    assert volume.spacing is not None
    channels = read(tmp_path / "map.nii", channel_axis="X")
    assert (channels.axes, channels.affine) == ("CYX", None)
    assert channels.notes == (
        "its axes, slowest first, were read as YXC instead of ZYX: "
        "voxel size kept, orientation and origin dropped.",
    )
    write(channels, tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    np.testing.assert_allclose(header["pixdim"][1:4], [*present(volume.spacing)[1::-1], 1], rtol=1e-6)
    again = read(tmp_path / "out.nii", axes="CZYX")
    np.testing.assert_allclose(present(again.spacing), present(channels.spacing), rtol=1e-6)
    assert again.unit == "mm"


def test_time_taken_for_space_has_no_voxel_size(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((6, 5, 4, 3))
    header["pixdim"][1:5] = 1, 2, 3, 2.5
    nibabel.Nifti1Image(FOUR.T, np.diag([1.0, 2, 3, 1]), header).to_filename(tmp_path / "map.nii")
    turned = read(tmp_path / "map.nii", axes="ZTYX")
    assert (turned.spacing, turned.affine) == (None, None)
    assert turned.notes[-1].endswith("voxel size dropped, orientation and origin dropped.")
    write(turned, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").header["pixdim"][1:5].tolist() == [1, 1, 1, 1]


def test_a_header_without_an_affine_is_permuted_too(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(SOFT.T, None)
    image.header["pixdim"][1:4] = 1, 2, 3
    image.to_filename(tmp_path / "map.nii")
    turned = read(tmp_path / "map.nii", axes="XYZ")
    assert (turned.spacing, turned.affine) == ((1, 2, 3), None)
    write(turned, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").header["pixdim"][1:4].tolist() == [3, 2, 1]
    assert nibabel.load(tmp_path / "out.nii").shape == (4, 5, 6)
