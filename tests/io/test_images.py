from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import check_target, read, write
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_is_scaled_by_its_type(tmp_path: Path, dtype: type[np.unsignedinteger]) -> None:
    top = np.iinfo(dtype).max
    stored = RNG.integers(0, top // 2 + 2, (5, 7)).astype(dtype)
    stored[0, 0] = top // 2
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stored), tmp_path / "in.png")
    volume = read(tmp_path / "in.png")
    np.testing.assert_allclose(volume.array, stored / top, atol=1e-7)
    write(volume, tmp_path / "out.png")
    again = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "out.png"))
    assert again.dtype == np.uint16
    assert np.array_equal(again, np.rint(stored / top * 65535))


def test_png_says_what_is_lost_and_carries_its_provenance(tmp_path: Path) -> None:
    volume = Volume(RNG.random((5, 7), dtype=np.float32), "YX", (0.5, 0.5), "um")
    lost = write(volume, tmp_path / "out.png", output_type="uint8", provenance={"command": "softmorph é"})
    assert lost == [
        "uint8 keeps 256 steps: values are rounded by up to 0.002.",
        "PNG cannot hold the voxel size.",
    ]
    from PIL import Image

    with Image.open(tmp_path / "out.png") as image:
        image.load()
        assert image.info["softmorph_divide_by"] == "255"
        assert "softmorph" in image.info["softmorph"]


def test_png_mask_is_0_and_255(tmp_path: Path) -> None:
    volume = Volume(np.eye(6, dtype=np.float32), "YX")
    lost = write(volume, tmp_path / "out.png", output_type="mask")
    assert lost == ["a mask is 0 and 255 in PNG."]
    stored = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "out.png"))
    assert np.array_equal(stored, np.eye(6) * 255)
    assert np.array_equal(read(tmp_path / "out.png").array, np.eye(6))


def test_png_holds_one_image(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="PNG holds one 2-D image"):
        write(volume, tmp_path / "out.png")
    with pytest.raises(InputError, match=r"PNG holds one 2-D image, not axes ZYX; .*\.tif or \.nii\.gz"):
        check_target(tmp_path / "out.png", axes=volume.axes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("samples", [3, 4])
def test_png_colour_asks_for_a_channel(tmp_path: Path, samples: int) -> None:
    stored = RNG.integers(0, 256, (5, 7, samples), dtype=np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stored, isVector=True), tmp_path / "in.png")
    with pytest.raises(InputError, match=f"colour image of {samples} samples per pixel; .*--channel 0"):
        read(tmp_path / "in.png")
    green = read(tmp_path / "in.png", channel="green")
    np.testing.assert_allclose(green.array, stored[..., 1] / 255, atol=1e-7)


def test_png_palette_is_named(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(RNG.integers(0, 9, (5, 7), dtype=np.uint8)).convert("P").save(tmp_path / "in.png")
    with pytest.raises(InputError, match="PNG with a colour palette"):
        read(tmp_path / "in.png")


def test_png_cut_short_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    write(Volume(RNG.random((50, 70), dtype=np.float32), "YX"), path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(FileError, match="is cut short: it starts as a PNG file"):
        read(path)
    at = content.index(b"IDAT") + 200
    path.write_bytes(content[:at] + b"nonsense" + content[at + 8 :])
    with pytest.raises(FileError, match="starts as a PNG file but is cut short or damaged"):
        read(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_world_is_lps_there_and_ras_here(tmp_path: Path, suffix: str) -> None:
    image = SimpleITK.GetImageFromArray(RNG.random((4, 5, 6), dtype=np.float32))
    image.SetSpacing((1, 2, 3))
    image.SetOrigin((10, 20, 30))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    image.SetMetaData("patient", "nobody")
    SimpleITK.WriteImage(image, tmp_path / f"in{suffix}")
    volume = read(tmp_path / f"in{suffix}")
    assert (volume.spacing, volume.unit) == ((3.0, 2.0, 1.0), "mm")
    x, y, z = image.TransformIndexToPhysicalPoint((5, 3, 2))
    np.testing.assert_allclose(volume.affine @ [2, 3, 5, 1], [-x, -y, z, 1])
    write(volume, tmp_path / f"out{suffix}")
    after = SimpleITK.ReadImage(tmp_path / f"out{suffix}")
    assert after.GetMetaData("patient") == "nobody"
    for name in ("GetDirection", "GetOrigin", "GetSpacing"):
        np.testing.assert_allclose(getattr(after, name)(), getattr(image, name)(), atol=1e-12)
    # A crop moves the origin.
    corner = read(tmp_path / f"in{suffix}", region="2:,3:,5:")
    np.testing.assert_allclose(corner.affine[:3, 3], [-x, -y, z])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_vector_pixels_are_channels(tmp_path: Path, suffix: str) -> None:
    values = RNG.random((2, 4, 5, 6), dtype=np.float32)
    volume = Volume(values, "CZYX", (3.0, 2.0, 1.0), "mm", channels=("a", "b"))
    lost = write(volume, tmp_path / f"map{suffix}")
    assert len(lost) == 1
    assert "cannot hold the channel names a, b" in lost[0]
    again = read(tmp_path / f"map{suffix}")
    assert again.axes == "CZYX"
    assert np.array_equal(again.array, values)


def test_nrrd_units_and_no_space(tmp_path: Path) -> None:
    body = bytes([0, 1] * 12)
    head = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nspacings: 0.5 0.25 2\n{}\n"
    (tmp_path / "um.nrrd").write_bytes(head.format('units: "um" "um" "um"\n').encode() + body)
    volume = read(tmp_path / "um.nrrd")
    assert (volume.spacing, volume.unit, volume.affine) == ((2.0, 0.25, 0.5), "um", None)
    (tmp_path / "no.nrrd").write_bytes(head.format("").encode() + body)
    assert read(tmp_path / "no.nrrd").unit is None
    lost = write(read(tmp_path / "no.nrrd"), tmp_path / "out.nrrd")
    assert lost == ["the unit of its voxel size is unknown; NRRD readers take it as mm."]


def test_mhd_is_read(tmp_path: Path) -> None:
    values = RNG.random((4, 5, 6), dtype=np.float32)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), tmp_path / "in.mhd")
    assert np.array_equal(read(tmp_path / "in.mhd").array, values)
    (tmp_path / "in.raw").unlink()
    with pytest.raises(FileError, match=r"keeps its voxels in in\.raw, which does not exist"):
        read(tmp_path / "in.mhd")


def test_nhdr_without_its_data_file(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(RNG.random((4, 5))), tmp_path / "in.nhdr")
    (tmp_path / "in.raw").unlink()
    with pytest.raises(FileError, match=r"keeps its voxels in in\.raw, which does not exist"):
        read(tmp_path / "in.nhdr")


def test_an_absurd_voxel_size_names_the_file(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(RNG.random((4, 5, 6)))
    image.SetSpacing([1e200] * 3)
    SimpleITK.WriteImage(image, tmp_path / "in.mha")
    with pytest.raises(InputError, match=r"in\.mha: voxel size 1e\+200"):
        read(tmp_path / "in.mha")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_cut_short(volume: Volume, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    write(volume, path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(FileError, match=r"is cut short or damaged \(it[a-z ]+\); copy"):
        read(path)
