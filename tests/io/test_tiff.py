from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import read, tiff, write
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
MAP = RNG.random((2, 4, 3, 5, 6), dtype=np.float32)  # T Z C Y X


def page(path: Path) -> tuple[str, str, Any, bool]:
    with tifffile.TiffFile(path) as file:
        flavour = "ome" if file.is_ome else "imagej" if file.is_imagej else "plain"
        return flavour, file.series[0].axes, file.pages[0].compression, file.is_bigtiff


@pytest.fixture
def without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    from tifffile import _imagecodecs
    from tifffile.tifffile import TIFF

    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", _imagecodecs)
    for table in (TIFF.COMPRESSORS, TIFF.DECOMPRESSORS, TIFF.PREDICTORS, TIFF.UNPREDICTORS):
        monkeypatch.setattr(table, "_codecs", {1: table._codecs[1]})


def test_imagej_hyperstack_stays_imagej(tmp_path: Path) -> None:
    told = {"axes": "TZCYX", "unit": "micron", "spacing": 2.0, "Info": "bought in Ulm", "finterval": 3.5}
    tifffile.imwrite(tmp_path / "in.tif", MAP, imagej=True, resolution=(4.0, 2.0), metadata=told)
    volume = read(tmp_path / "in.tif")
    assert (volume.axes, volume.spacing, volume.unit) == ("TCZYX", (2.0, 0.5, 0.25), "um")
    assert np.array_equal(volume.array, MAP.transpose(0, 2, 1, 3, 4))
    lost = write(volume, tmp_path / "out.tif", provenance={"command": "softmorph erode"})
    assert lost == []
    assert page(tmp_path / "out.tif")[:2] == ("imagej", "TZCYX")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        after = file.imagej_metadata or {}
        assert np.array_equal(file.asarray(), MAP)
    assert after["Info"].startswith("bought in Ulm\n")
    assert "softmorph erode" in after["Info"]
    assert (after["unit"], after["spacing"], after["finterval"], after["max"]) == ("micron", 2.0, 3.5, 1)
    again = read(tmp_path / "out.tif")
    assert (again.spacing, again.unit) == (volume.spacing, "um")


def test_ome_stays_ome(tmp_path: Path) -> None:
    told = {
        "axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2000.0,
        "PhysicalSizeZUnit": "nm", "TimeIncrement": 3.0, "Channel": {"Name": ["wall", "lumen", "rest"]},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "in.tif", MAP, ome=True, metadata=told)
    volume = read(tmp_path / "in.tif")
    assert (volume.axes, volume.spacing, volume.unit) == ("TCZYX", (2.0, 0.5, 0.5), "um")
    assert volume.channels == ("wall", "lumen", "rest")
    lost = write(volume, tmp_path / "out.tif", provenance={"command": "softmorph <erode>"})
    assert lost == []
    flavour, _, compression, big = page(tmp_path / "out.tif")
    assert (flavour, compression.name, big) == ("ome", "ADOBE_DEFLATE", False)
    again = read(tmp_path / "out.tif")
    assert np.array_equal(again.array, volume.array)
    assert (again.spacing, again.unit, again.channels) == (volume.spacing, "um", volume.channels)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert 'TimeIncrement="3.0"' in (file.ome_metadata or "")
        assert "softmorph &lt;erode&gt;" in (file.ome_metadata or "")
    lumen = read(tmp_path / "in.tif", channel="lumen")
    assert lumen.axes == "TZYX"
    assert np.array_equal(lumen.array, MAP[:, :, 1])


def test_plain_pages_are_slices_and_it_is_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        for image in MAP[0, :, 0]:
            file.write(image, contiguous=False, photometric="minisblack", metadata=None)
    volume = read(tmp_path / "in.tif")
    assert volume.axes == "ZYX"
    assert "taken as slices along z; --axes TYX or --per-slice changes it" in volume.notes[0]
    assert read(tmp_path / "in.tif", axes="TYX").axes == "TYX"
    write(volume, tmp_path / "out.tif")
    assert page(tmp_path / "out.tif")[0] == "plain"
    again = read(tmp_path / "out.tif")
    assert np.array_equal(again.array, volume.array)
    assert (again.axes, again.notes) == ("ZYX", ())


def test_resolution_tags(tmp_path: Path) -> None:
    image = MAP[0, 0, 0]
    tifffile.imwrite(tmp_path / "cm.tif", image, resolution=(100, 50), resolutionunit=3, metadata=None)
    volume = read(tmp_path / "cm.tif")
    assert (volume.spacing, volume.unit) == ((0.2, 0.1), "mm")
    write(volume, tmp_path / "out.tif")
    again = read(tmp_path / "out.tif")
    assert (again.spacing, again.unit) == ((0.2, 0.1), "mm")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].tags["XResolution"].value == (100, 1)
    tifffile.imwrite(tmp_path / "in.tif", image, resolution=(300, 300), resolutionunit=2, metadata=None)
    printed = read(tmp_path / "in.tif")
    assert printed.spacing is None
    assert "taken as a print size" in printed.notes[0]


def test_past_4_gib_is_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_LIMIT", 100)
    lost = write(Volume(MAP[0, :, 0], "ZYX", (2.0, 1.0, 1.0), "um"), tmp_path / "out.tif")
    assert lost == ["ImageJ's own TIFF ends at 4 GiB; this is an OME BigTIFF."]
    assert page(tmp_path / "out.tif")[::3] == ("ome", True)
    assert np.array_equal(read(tmp_path / "out.tif").array, MAP[0, :, 0])


@pytest.mark.usefixtures("without_imagecodecs")
@pytest.mark.parametrize("flavour", [{"imagej": True}, {"ome": True}, {}])
@pytest.mark.parametrize("compression", ["zlib", "lzma", None])
def test_compressed_input_without_imagecodecs(
    tmp_path: Path, flavour: dict[str, bool], compression: str | None
) -> None:
    values = MAP[0, :, 0]
    tifffile.imwrite(
        tmp_path / "in.tif",
        values,
        compression=compression,
        photometric="minisblack",
        metadata={"axes": "ZYX"},
        **flavour,
    )
    volume = read(tmp_path / "in.tif")
    assert np.array_equal(volume.array, values)
    write(volume, tmp_path / "out.tif")
    assert page(tmp_path / "out.tif")[2].name == "ADOBE_DEFLATE"


def test_lzw_is_read_without_imagecodecs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("imagecodecs")
    for name, values in (("f", MAP[0, :, 0]), ("u", (MAP[0, :, 0] * 65535).astype(np.uint16))):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", values, compression="lzw", predictor=name == "u", imagej=True
        )
    request.getfixturevalue("without_imagecodecs")
    assert np.array_equal(read(tmp_path / "f.tif").array, MAP[0, :, 0])
    np.testing.assert_allclose(read(tmp_path / "u.tif").array, MAP[0, :, 0], atol=2e-5)


def test_a_codec_nobody_has_is_named(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], compression="jpegxl")
    request.getfixturevalue("without_imagecodecs")
    with pytest.raises(FileError, match=r"compressed with JPEGXL, .*pip install imagecodecs"):
        read(tmp_path / "in.tif")


def test_rgb_and_palette(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (7, 8, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    with pytest.raises(InputError, match="colour image of 3 samples per pixel; choose one with --channel 0"):
        read(tmp_path / "rgb.tif")
    blue = read(tmp_path / "rgb.tif", channel="2")
    np.testing.assert_allclose(blue.array, colour[..., 2] / 255, atol=1e-7)
    assert read(tmp_path / "rgb.tif", axes="YXC").axes == "CYX"
    table = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "pal.tif", colour[..., 0], photometric="palette", colormap=table)
    with pytest.raises(InputError, match="TIFF with a colour palette"):
        read(tmp_path / "pal.tif")


def test_several_series_are_noted(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(MAP[0, 0, 0])
        file.write(MAP[0, 0, 0, :3, :3])
    assert "it holds 2 image series; the first is read." in read(tmp_path / "in.tif").notes


def test_channel_names_are_warned_about(tmp_path: Path) -> None:
    volume = Volume(MAP[0, 0], "CYX", channels=("a", "b", "c"))
    assert write(volume, tmp_path / "x.tif") == [
        "ImageJ's TIFF cannot hold the channel names a, b, c; .ome.tif can."
    ]
    assert write(volume, tmp_path / "x.ome.tif") == []
    assert read(tmp_path / "x.ome.tif").channels == ("a", "b", "c")
    with pytest.raises(InputError, match="TIFF holds time and channel beside space"):
        write(replace(volume, array=MAP[None, :, :, 0], axes="TQCYX"), tmp_path / "y.tif")


@pytest.mark.parametrize("keep", [5, 60, 0.4, 0.6, 0.95])
@pytest.mark.parametrize("flavour", [{"imagej": True}, {"ome": True}, {}, {"metadata": None}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_short(tmp_path: Path, keep: float, flavour: dict[str, Any], compression: str | None) -> None:
    path = tmp_path / "in.tif"
    values = RNG.random((9, 40, 50), dtype=np.float32)
    tifffile.imwrite(path, values, photometric="minisblack", compression=compression, **flavour)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(FileError, match="starts as a TIFF file but is cut short or damaged"):
        read(path)
