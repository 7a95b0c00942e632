from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
from helpers_typing import tifffile
from numpy.typing import NDArray
from PIL import Image

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import ReadOptions, open_blocks, probe, read, read_labels, tiff, write
from softmorph_cli.io.tiff_segments import count_samples
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

    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", _imagecodecs)
    tables: Any = (TIFF.COMPRESSORS, TIFF.DECOMPRESSORS, TIFF.PREDICTORS, TIFF.UNPREDICTORS)
    for table in tables:
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
    assert "taken as slices along z; axes='TYX' or per_slice=True changes it" in volume.notes[0]
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


@pytest.mark.usefixtures("without_imagecodecs")
def test_lzw_is_read_without_imagecodecs(tmp_path: Path) -> None:
    for name, values in (("f", MAP[0, 0, 0]), ("u", (MAP[0, 0, 0] * 65535).astype(np.uint16))):
        Image.fromarray(values).save(tmp_path / f"{name}.tif", compression="tiff_lzw")
        assert page(tmp_path / f"{name}.tif")[2].name == "LZW"
    assert np.array_equal(read(tmp_path / "f.tif").array, MAP[0, 0, 0])
    np.testing.assert_allclose(read(tmp_path / "u.tif").array, MAP[0, 0, 0], atol=2e-5)


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lzw_of_floats_in_strips_and_tiles(
    tmp_path: Path, dtype: type, tile: tuple[int, int] | None, request: pytest.FixtureRequest
) -> None:
    image: NDArray[Any] = RNG.random((40, 50)).astype(dtype)
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, image, compression="lzw", photometric="minisblack", tile=tile)
    assert np.array_equal(read(path).array, image.astype(np.float32))
    request.getfixturevalue("without_imagecodecs")
    if dtype is np.float32 and tile is None:
        assert np.array_equal(read(path).array, image)
        return
    with pytest.raises(
        FileError, match="is a valid TIFF that softmorph cannot read: its LZW compression needs one"
    ):
        read(path)


def packed(path: Path, how: str) -> Path:
    """Write a file whose compression needs imagecodecs, without having it; tags are written as bytes."""
    image = np.ascontiguousarray(MAP[0, 0, 0])
    if how == "zstd":
        code, predictor, data = 50000, 1, numcodecs.zstd.compress(image.tobytes())
    elif how == "float predictor":
        # TIFF Technical Note 3: the bytes of a row by significance, then the differences along the row.
        rows = image.astype(">f4").view(np.uint8).reshape(*image.shape, 4).transpose(0, 2, 1)
        flat = rows.reshape(len(image), -1)
        code, predictor, data = 8, 3, zlib.compress(np.diff(flat, axis=1, prepend=np.uint8(0)).tobytes())
    else:
        code, predictor, data = int(how), 1, image.tobytes()
    height, width = image.shape
    tags = {256: width, 257: height, 258: 32, 259: code, 262: 1, 273: 0, 277: 1, 278: height, 279: len(data)}
    tags |= {317: predictor, 339: 3}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data)
    return path


CODECS = {
    "zstd": "its ZSTD compression needs one more package: pip install imagecodecs",
    "float predictor": "its ADOBE_DEFLATE compression with the FLOATINGPOINT predictor needs one more package: "
    "pip install imagecodecs",
    "50002": "its JPEGXL compression needs one more package: pip install imagecodecs",
    # Nothing that can be installed reads it.
    "34661": "nothing installed unpacks its JBIG compression; save it with deflate",
}


@pytest.mark.usefixtures("without_imagecodecs")
@pytest.mark.parametrize(("how", "says"), list(CODECS.items()))
def test_a_codec_that_is_not_there_is_named(tmp_path: Path, how: str, says: str) -> None:
    path = packed(tmp_path / "in.tif", how)
    for get in (read, open_blocks):
        with pytest.raises(FileError, match="is a valid TIFF that softmorph cannot read") as caught:
            np.asarray(get(path).read((slice(0, 5), slice(0, 6))) if get is open_blocks else get(path))
        assert says in str(caught.value)
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("how", ["zstd", "float predictor"])
def test_with_imagecodecs_every_compression_is_read(tmp_path: Path, how: str) -> None:
    pytest.importorskip("imagecodecs", reason="python -m pip install '.[test]' brings imagecodecs")
    path = packed(tmp_path / "in.tif", how)
    assert np.array_equal(read(path).array, MAP[0, 0, 0])
    assert np.array_equal(open_blocks(path).read((slice(0, 5), slice(0, 6))), MAP[0, 0, 0])


def test_rgb(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (7, 8, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    with pytest.raises(InputError, match="colour image of 3 samples per pixel; choose one with channel=0"):
        read(tmp_path / "rgb.tif")
    blue = read(tmp_path / "rgb.tif", channel="2")
    np.testing.assert_allclose(blue.array, colour[..., 2] / 255, atol=1e-7)
    assert read(tmp_path / "rgb.tif", axes="YXC").axes == "CYX"


def test_several_series_are_noted(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(MAP[0, 0, 0])
        file.write(MAP[0, 0, 0, :3, :3])
    (note,) = read(tmp_path / "in.tif").notes
    assert note == "it holds 2 image series; the first is read, and series=N takes another: 1 of 3 × 3."
    assert np.array_equal(read(tmp_path / "in.tif", series=1).array, MAP[0, 0, 0, :3, :3])
    assert np.array_equal(
        open_blocks(tmp_path / "in.tif", ReadOptions(series=1)).read((slice(0, 3),) * 2), MAP[0, 0, 0, :3, :3]
    )
    with pytest.raises(InputError, match="has no series 2; it holds 2: series=0 to 1"):
        read(tmp_path / "in.tif", series=2)
    write(Volume(MAP[0, 0, 0], "YX"), tmp_path / "one.png")
    with pytest.raises(InputError, match="is PNG and has no series; leave series out"):
        read(tmp_path / "one.png", series=0)


def test_a_thumbnail_is_not_the_image(tmp_path: Path) -> None:
    image = RNG.random((64, 80), dtype=np.float32)
    small = (image[::4, ::4] * 255).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(small, metadata=None, subfiletype=1, photometric="minisblack")
        file.write(image, metadata=None, photometric="minisblack")
    found = read(tmp_path / "in.tif")
    assert np.array_equal(found.array, image)
    assert "number 1, the first that is no reduced copy, is read" in found.notes[0]
    assert np.array_equal(open_blocks(tmp_path / "in.tif").read((slice(0, 64), slice(0, 80))), image)
    np.testing.assert_allclose(read(tmp_path / "in.tif", series=0).array, small / 255, atol=1e-6)


def test_a_series_has_the_size_of_its_own_image(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.ome.tif") as file:
        for size, shape in ((0.5, (5, 6)), (2.0, (3, 4))):
            file.write(np.zeros(shape, np.float32), metadata={"PhysicalSizeX": size, "PhysicalSizeY": size})
    assert read(tmp_path / "in.ome.tif").spacing == (0.5, 0.5)
    assert read(tmp_path / "in.ome.tif", series=1).spacing == (2.0, 2.0)


# What numbers stand for


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_white_is_zero(tmp_path: Path, dtype: type) -> None:
    mask = np.zeros((40, 50), bool)
    mask[10:20, 5:45] = True
    path = tmp_path / "in.tif"
    if dtype is np.uint8:
        tifffile.imwrite(path, mask.astype(np.uint8) * 255, photometric="miniswhite")
        found = read(path)
        assert "its numbers are taken as they are stored" in found.notes[0]
        assert np.array_equal(found.array, mask)
        return
    tifffile.imwrite(path, ~mask, photometric="miniswhite")
    # What another reader shows white is the object.
    with Image.open(path) as other:
        assert np.array_equal(np.array(other), mask)
    found = read(path)
    assert np.array_equal(found.array, mask)
    assert "'white is zero': what is stored as 0 is shown white, and taken as 1" in found.notes[0]
    assert np.array_equal(open_blocks(path).read((slice(0, 40), slice(0, 50))), mask)
    write(found, tmp_path / "out.tif", output_type="mask")
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), mask)


@pytest.mark.parametrize(
    ("photometric", "planar", "names"),
    [
        ("rgb", "contig", "0 (red), 1 (green) or 2 (blue)"),
        ("separated", "contig", "0 (cyan), 1 (magenta), 2 (yellow) or 3 (black)"),
        ("separated", "separate", "0 (cyan), 1 (magenta), 2 (yellow) or 3 (black)"),
        ("cielab", "contig", "0 (lightness), 1 (a) or 2 (b)"),
    ],
)
def test_colours_have_their_names(tmp_path: Path, photometric: str, planar: str, names: str) -> None:
    count = 4 if photometric == "separated" else 3
    shape = (7, 8, count) if planar == "contig" else (count, 7, 8)
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", image, photometric=photometric, planarconfig=planar)
    with pytest.raises(InputError, match=re.escape(f"choose one with channel={names}, or name the axes")):
        read(tmp_path / "in.tif")
    second = re.findall(r"\((\w+)\)", names)[1]
    one = image[..., 1] if planar == "contig" else image[1]
    np.testing.assert_allclose(read(tmp_path / "in.tif", channel=second).array, one / 255, atol=1e-6)
    axes = "YXC" if planar == "contig" else "CYX"
    assert read(tmp_path / "in.tif", axes=axes).channels is None


def test_samples_that_are_no_colour_are_channels(tmp_path: Path) -> None:
    image = RNG.random((20, 21, 5), dtype=np.float32)
    tifffile.imwrite(
        tmp_path / "in.tif", image, photometric="minisblack", planarconfig="contig", metadata=None
    )
    found = read(tmp_path / "in.tif")
    assert (found.axes, found.channels) == ("CYX", None)
    assert np.array_equal(found.array, image.transpose(2, 0, 1))


def test_a_camera_s_raw_samples_are_refused(tmp_path: Path) -> None:
    image = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", image, photometric="cfa")
    with pytest.raises(InputError, match="raw samples of a camera's colour filter array"):
        read(tmp_path / "in.tif")


def fire() -> np.ndarray:
    """Return a palette of 256 colours as ImageJ's Fire: black, blue, red, yellow, white."""
    stops = np.array([[0, 0, 0], [49, 0, 165], [146, 0, 227], [229, 90, 64], [255, 175, 0], [255, 255, 255]])
    at = np.linspace(0, len(stops) - 1, 256)
    return (
        np.array([np.interp(at, np.arange(len(stops)), column) for column in stops.T]).astype(np.uint16) * 257
    )


def test_palettes(tmp_path: Path) -> None:
    indices = RNG.integers(0, 256, (30, 31), dtype=np.uint8)
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    for name, table, meant in (
        ("ramp", ramp, indices),
        # What another reader shows white is 1.
        ("falling", ramp[:, ::-1], 255 - indices),
        ("fire", fire(), indices),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, indices, photometric="palette", colormap=table)
        np.testing.assert_allclose(read(path).array, meant / 255, atol=1e-6)
        part = open_blocks(path).read((slice(3, 9), slice(0, 31)))
        np.testing.assert_allclose(part, meant[3:9] / 255, atol=1e-6)
        assert "its palette" in read(path).notes[0]
    labels = np.repeat(np.array([0, 1, 2, 3, 255], np.uint8), 12)[None].repeat(30, axis=0)
    table = np.zeros((3, 256), np.uint16)
    table[:, 1:4], table[:, 255] = [[32896, 0, 32896], [0, 32896, 32896], [0, 0, 0]], (57568, 57568, 49344)
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="palette", colormap=table)
    with pytest.raises(InputError, match=r"holds labels \(1, 2, 3, 255\); .*label=1"):
        read(tmp_path / "labels.tif")
    assert np.array_equal(read(tmp_path / "labels.tif", label=2).array, labels == 2)
    found = read_labels(tmp_path / "labels.tif")
    assert found is not None
    assert np.array_equal(found[0], labels)


@pytest.mark.parametrize("colours", [[0, 65535], [65535, 0], [65535, 30000]])
def test_a_palette_of_two_greys(tmp_path: Path, colours: list[int]) -> None:
    mask = RNG.random((30, 32)) > 0.6
    data, table = np.packbits(mask, axis=1).tobytes(), struct.pack("<6H", *colours * 3)
    tags = [(256, 4, 1, 32), (257, 4, 1, 30), (258, 3, 1, 1), (259, 3, 1, 1), (262, 3, 1, 3), (273, 4, 1, 0)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 30), (279, 4, 1, len(data)), (320, 3, 6, 0)]
    end = 8 + 2 + 12 * len(tags) + 4
    tags[5], tags[9] = (273, 4, 1, end), (320, 3, 6, end + len(data))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path = tmp_path / "in.tif"
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data + table)
    with Image.open(path) as other:
        white = np.array(other.convert("L"))
    assert np.array_equal(white == white.max(), read(path).array > 0.5)
    assert np.array_equal(read(path).array > 0.5, mask if colours[1] > colours[0] else ~mask)


# Planes that are there and planes that are described


def acquired(
    path: Path, described: int, there: int, *, axis: str = "Z", more: str = "<TiffData/>"
) -> np.ndarray:
    """Write an OME-TIFF whose metadata describe so many planes along an axis, and which has so many."""
    planes = RNG.random((there, 20, 21), dtype=np.float32)
    sizes = " ".join(f'Size{a}="{described if a == axis else 1}"' for a in "ZCT")
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="float" SizeX="21" SizeY="20" {sizes}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{more}</Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(planes):
            description = xml.encode() if number == 0 else None
            file.write(
                plane, contiguous=False, metadata=None, photometric="minisblack", description=description
            )
    return planes


@pytest.mark.parametrize("axis", ["Z", "T"])
def test_an_acquisition_that_stopped_early(tmp_path: Path, axis: str) -> None:
    planes = acquired(tmp_path / "in.ome.tif", 7, 5, axis=axis)
    found = read(tmp_path / "in.ome.tif")
    assert np.array_equal(found.array, planes)
    assert "its OME metadata describe 7 planes and the file has 5: those are read." in found.notes
    if axis == "Z":
        part = open_blocks(tmp_path / "in.ome.tif")
        assert part.shape == planes.shape
        assert np.array_equal(part.read((slice(1, 5), slice(0, 20), slice(0, 21))), planes[1:])


def test_planes_that_nobody_describes_are_told(tmp_path: Path) -> None:
    planes = acquired(tmp_path / "in.ome.tif", 3, 5)
    found = read(tmp_path / "in.ome.tif")
    assert np.array_equal(found.array, planes[:3])
    assert "its metadata describe 3 planes and the file has 5: the last 2 are left out." in found.notes
    acquired(tmp_path / "one.ome.tif", 4, 5)
    words = "its metadata describe 4 planes and the file has 5: the last one is left out."
    assert words in read(tmp_path / "one.ome.tif").notes
    acquired(tmp_path / "whole.ome.tif", 5, 5)
    assert read(tmp_path / "whole.ome.tif").notes == ()


def test_planes_in_other_files(tmp_path: Path) -> None:
    elsewhere = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(("in.ome.tif", "second.ome.tif"))
    )
    acquired(tmp_path / "in.ome.tif", 2, 1, more=elsewhere)
    with pytest.raises(
        FileError, match=r"multi-file OME-TIFF, and of the 2 planes .* 1 lie in other files, such as second"
    ):
        read(tmp_path / "in.ome.tif")


# Axes, names and resolutions come back


@pytest.mark.parametrize("unit", [1, 3, None])
def test_a_resolution_keeps_its_unit(tmp_path: Path, unit: int | None) -> None:
    image = MAP[0, 0, 0]
    tifffile.imwrite(
        tmp_path / "in.tif", image, resolution=(100, 50), resolutionunit=unit or 1, metadata=None
    )
    if unit is None:
        # The tag gets a private number, as if it were not there.
        content = bytearray((tmp_path / "in.tif").read_bytes())
        at = content.index(struct.pack("<HHI", 296, 3, 1))
        content[at : at + 2] = struct.pack("<H", 65000)
        (tmp_path / "in.tif").write_bytes(content)
    volume = read(tmp_path / "in.tif")
    assert volume.unit == ("mm" if unit == 3 else None)
    write(volume, tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as opened:
        other: Any = opened
        assert (other.tag_v2[282], other.tag_v2[283], other.tag_v2[296]) == (100, 50, unit or 1)


@pytest.mark.parametrize("order", ["TCZYX", "TZCYX", "CTZYX", "ZTCYX"])
@pytest.mark.parametrize("flavour", ["ome", "plain"])
def test_the_order_of_axes_and_the_names_of_channels_come_back(
    tmp_path: Path, order: str, flavour: str
) -> None:
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
    array = RNG.random([sizes[a] for a in order], dtype=np.float32)
    source, target = tmp_path / f"in.{flavour}.tif", tmp_path / f"out.{flavour}.tif"
    names = ["artery", "vein", "rest"]
    told: dict[str, Any] = {"axes": order}
    told |= {"Channel": {"Name": names}} if flavour == "ome" else {"channels": names}
    tifffile.imwrite(source, array, ome=flavour == "ome", metadata=told, photometric="minisblack")
    volume = read(source)
    assert volume.channels == tuple(names)
    write(volume, target)
    with tifffile.TiffFile(target) as file:
        assert file.series[0].axes == order
        assert np.array_equal(file.series[0].asarray(), array)
        # A reader that looks at pages alone finds them in the order that they had.
        assert np.array_equal(file.pages[1].asarray(), array.reshape(-1, 5, 6)[1])
        text = file.ome_metadata if flavour == "ome" else file.pages[0].description
    assert all(name in (text or "") for name in names)
    assert read(target).channels == tuple(names)


def test_a_map_from_elsewhere_is_written_in_the_usual_order(tmp_path: Path) -> None:
    volume = Volume(MAP.transpose(0, 2, 1, 3, 4), "TCZYX", (2.0, 1.0, 1.0), "um")
    for name, order in (("out.ome.tif", "TCZYX"), ("out.tif", "TZCYX")):
        write(volume, tmp_path / name)
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.series[0].axes == order
        assert np.array_equal(read(tmp_path / name).array, volume.array)


def retagged(path: Path, name: str, content: bytes) -> None:
    """Put other bytes in the place of a tag's value, on every page."""
    with tifffile.TiffFile(path) as file:
        places = [one.tags[name].valueoffset for one in file.pages if name in one.tags]
    changed = bytearray(path.read_bytes())
    for place in places:
        changed[place : place + len(content)] = content
    path.write_bytes(changed)


@pytest.mark.parametrize(
    ("name", "content", "spacing", "says"),
    [
        ("ResolutionUnit", (16).to_bytes(2, "little"), None, "unknown unit 16"),
        ("ResolutionUnit", (0).to_bytes(2, "little"), None, "unknown unit 0"),
        ("XResolution", bytes(8), None, ""),
        ("YResolution", (5).to_bytes(4, "little") + bytes(4), None, ""),
        ("ResolutionUnit", (3).to_bytes(2, "little"), (5.0, 5.0), ""),
    ],
)
def test_a_resolution_that_is_none_is_left_out_and_not_written(
    tmp_path: Path, name: str, content: bytes, spacing: tuple[float, ...] | None, says: str
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], resolution=(2, 2), resolutionunit=3)
    retagged(tmp_path / "in.tif", name, content)
    volume = read(tmp_path / "in.tif")
    assert volume.spacing == spacing
    assert says in " ".join(volume.notes)
    write(volume, tmp_path / "out.tif")
    again = read(tmp_path / "out.tif")
    assert np.array_equal(again.array, MAP[0, 0, 0])
    assert again.spacing == spacing


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unit", 99), ("unit", "true"), ("tunit", 4), ("mode", 7), ("loop", 9), ("fps", "often"), ("Info", 5),
        ("spacing", "inf"), ("spacing", "far"), ("spacing", 0),
    ],
)  # fmt: skip
def test_imagej_metadata_of_another_type_are_not_kept(tmp_path: Path, key: str, value: object) -> None:
    told: dict[str, Any] = {"axes": "ZYX", "unit": "um", "spacing": 1.5, "tunit": "s", "fps": 2.5}
    lines = "".join(f"{name}={one}\n" for name, one in (told | {key: value}).items() if name != "axes")
    # As lines of the description, where any program may write them; the last one of a name counts.
    written = {"axes": "ZYX", "spacing": f"1.5\n{lines}"}
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, :, 0], imagej=True, resolution=(2, 2), metadata=written)
    volume = read(tmp_path / "in.tif")
    assert volume.unit == (None if key == "unit" else "um")
    assert volume.spacing == (None if key == "spacing" else (1.5, 0.5, 0.5))
    write(volume, tmp_path / "out.tif")
    again = read(tmp_path / "out.tif")
    assert (again.unit, again.spacing) == (volume.unit, volume.spacing)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        kept = file.imagej_metadata or {}
    assert "fps" not in kept if key == "fps" else kept["fps"] == 2.5
    assert kept.get("tunit") == (None if key == "tunit" else "s")


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ({"Y": 0.5, "X": "0.25"}, "mm", ((0.5, 0.25), "mm")),
        ({"Y": 0.5, "X": "wide"}, "mm", (None, "mm")),
        ({"Y": 0.5, "X": float("inf")}, "um", (None, "um")),
        ({"Y": 0.5, "X": 0.25}, 5, ((0.5, 0.25), None)),
        ({"Y": 0.5, "X": [0.25]}, ["mm"], (None, None)),
    ],
)
def test_what_a_description_says_of_the_voxel_size_is_looked_at(
    tmp_path: Path, spacing: dict[str, Any], unit: Any, expected: tuple[Any, Any]
) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif", MAP[0, 0, 0], metadata={"axes": "YX", "spacing": spacing, "unit": unit}
    )
    volume = read(tmp_path / "in.tif")
    assert (volume.spacing, volume.unit) == expected
    write(volume, tmp_path / "out.tif")


@pytest.mark.parametrize("size", ["wide", "inf", "nan", "-1", "0"])
def test_an_ome_size_that_is_none_is_left_out(tmp_path: Path, size: str) -> None:
    told = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 7.125,
        "TimeIncrement": 8.125,
    }
    tifffile.imwrite(tmp_path / "in.ome.tif", MAP[0, :, 0], ome=True, metadata=told)
    content = (tmp_path / "in.ome.tif").read_bytes()
    for before in (b"7.125", b"8.125"):
        content = content.replace(before, size.encode().ljust(5))
    (tmp_path / "in.ome.tif").write_bytes(content)
    volume = read(tmp_path / "in.ome.tif")
    assert volume.spacing is None
    write(volume, tmp_path / "out.ome.tif")
    assert read(tmp_path / "out.ome.tif").spacing is None


def test_imagej_units_of_each_axis(tmp_path: Path) -> None:
    told = {"axes": "ZYX", "spacing": 2.0, "unit": "micron", "zunit": "mm"}
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, :, 0], imagej=True, resolution=(4.0, 2.0), metadata=told)
    assert read(tmp_path / "in.tif").spacing == (2000.0, 0.5, 0.25)
    tifffile.imwrite(
        tmp_path / "odd.tif",
        MAP[0, :, 0],
        imagej=True,
        resolution=(4.0, 2.0),
        metadata=told | {"zunit": "slice"},
    )
    odd = read(tmp_path / "odd.tif")
    assert odd.spacing is None
    assert "its voxel size along z is in no known unit, and is left out: lengths are in voxels." in odd.notes


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_axes_without_a_known_unit(tmp_path: Path, unit: str) -> None:
    told = {
        "axes": "ZYX",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": unit,
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
    }
    tifffile.imwrite(tmp_path / "in.ome.tif", MAP[0, :, 0], metadata=told)
    found = read(tmp_path / "in.ome.tif")
    assert (found.spacing, found.unit) == (None, "um")
    assert "its voxel size along z is in no known unit" in found.notes[0]
    assert read(tmp_path / "in.ome.tif", axes="TYX").spacing == (0.5, 0.5)


# A short last axis without a name


@pytest.mark.parametrize("last", [2, 3, 4])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_a_last_axis_of_2_to_4_is_channels(tmp_path: Path, last: int, suffix: str) -> None:
    stack, image = (
        RNG.random((20, 30, 32, last), dtype=np.float32),
        RNG.random((30, 32, last), dtype=np.float32),
    )
    for name, array in (("stack", stack), ("image", image)):
        if suffix == ".npy":
            np.save(tmp_path / f"{name}.npy", array)
        else:
            tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric="minisblack")
    with pytest.raises(InputError, match="axes='ZYXC'") as caught:
        read(tmp_path / f"stack{suffix}")
    advised = str(caught.value).split("axes=")[1].strip("'.")
    found = read(tmp_path / f"stack{suffix}", axes=advised)
    assert found.axes == "CZYX"
    assert np.array_equal(found.array, stack.transpose(3, 0, 1, 2))
    assert probe(tmp_path / f"stack{suffix}").suggestion.endswith("--axes ZYXC")
    flat = read(tmp_path / f"image{suffix}")
    assert flat.axes == "CYX"
    assert np.array_equal(flat.array, image.transpose(2, 0, 1))
    assert f"its last axis, of {last}, is taken as channels; axes='ZYX' changes it." in flat.notes
    assert read(tmp_path / f"image{suffix}", axes="ZYX").axes == "ZYX"


def test_a_first_axis_of_channels_is_still_proposed(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", RNG.random((2, 30, 32, 33), dtype=np.float32))
    with pytest.raises(InputError, match="axes='CZYX'"):
        read(tmp_path / "in.npy")
    np.save(tmp_path / "thin.npy", RNG.random((3, 3, 4), dtype=np.float32))
    assert read(tmp_path / "thin.npy").axes == "ZYX"


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


def entry(path: Path, tag: int) -> int:
    """Where the entry of a tag of the first page lies; for classic little-endian files."""
    content = path.read_bytes()
    at = struct.unpack_from("<I", content, 4)[0]
    (count,) = struct.unpack_from("<H", content, at)
    places = range(at + 2, at + 2 + 12 * count, 12)
    return next(place for place in places if struct.unpack_from("<H", content, place)[0] == tag)


def patch(
    path: Path, tag: int, *, number: int | None = None, kind: int = 4, count: int = 1, value: int
) -> None:
    """Give the entry of a tag other content, and another number if one is given."""
    content, place = bytearray(path.read_bytes()), entry(path, tag)
    struct.pack_into("<HHII", content, place, tag if number is None else number, kind, count, value)
    path.write_bytes(content)


def parts_of(path: Path) -> Any:
    blocks = open_blocks(path)
    return blocks.read([slice(None)] * len(blocks.shape))


def stack(path: Path, **told: Any) -> Any:
    tifffile.imwrite(path, MAP[0, :, 0], photometric="minisblack", metadata=None, **told)
    return MAP[0, :, 0]


SOFTWARE, OFFSETS, COUNTS = 305, 273, 279


def test_a_strip_whose_length_is_not_told_is_read_whole_and_in_parts(tmp_path: Path) -> None:
    right = stack(tmp_path / "in.tif")
    patch(tmp_path / "in.tif", COUNTS, value=0)
    assert np.array_equal(read(tmp_path / "in.tif").array, right)
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)


def test_a_strip_with_fewer_rows_than_it_has_is_read_whole_and_in_parts(tmp_path: Path) -> None:
    right = MAP[0, 0, 0]
    tifffile.imwrite(tmp_path / "in.tif", right, metadata=None)
    patch(tmp_path / "in.tif", 278, value=2)
    assert np.array_equal(read(tmp_path / "in.tif").array, right)
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)


def test_without_compression_no_predictor_is_undone(tmp_path: Path) -> None:
    values = (MAP[0, 0, 0] * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", values, metadata=None)
    patch(tmp_path / "in.tif", SOFTWARE, number=317, kind=3, value=2)
    right = values.astype(np.float32) / 255
    assert np.array_equal(read(tmp_path / "in.tif").array, right)
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)


def test_a_strip_ends_where_the_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = stack(tmp_path / "in.tif", compression="zlib")
    patch(tmp_path / "in.tif", COUNTS, value=2**32 - 1)
    asked: list[int] = []
    before = tifffile.FileHandle.read

    def counted(file: Any, size: int = -1, /) -> Any:
        asked.append(size)
        return before(file, size)

    monkeypatch.setattr(tifffile.FileHandle, "read", counted)
    assert np.array_equal(read(tmp_path / "in.tif").array, right)
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)
    assert 0 < max(asked) < 10_000
    patch(tmp_path / "in.tif", OFFSETS, value=2**31)
    with pytest.raises(FileError, match=r"cut short or damaged \(it ends too early\)"):
        read(tmp_path / "in.tif")


def test_tiles_that_were_left_out_are_told_and_read_as_0(tmp_path: Path) -> None:
    values = np.tile(MAP[0, 0, 0], (8, 6))  # 40 x 36: 3 x 3 tiles
    tifffile.imwrite(tmp_path / "in.tif", values, tile=(16, 16), metadata=None)
    content = bytearray((tmp_path / "in.tif").read_bytes())
    for tag in (324, 325):
        _, kind, _, first = struct.unpack_from("<HHII", content, entry(tmp_path / "in.tif", tag))
        struct.pack_into("<H" if kind == 3 else "<I", content, first, 0)
    (tmp_path / "in.tif").write_bytes(content)
    right = values.copy()
    right[:16, :16] = 0
    volume = read(tmp_path / "in.tif")
    assert volume.notes == ("1 of its 9 strips or tiles holds no data and is read as 0.",)
    assert np.array_equal(volume.array, right)
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)


@pytest.mark.parametrize(("tag", "kind", "count", "value", "said"), [
    (259, 3, 1, 65535, "its compression has the number 65535, which is not known"),
    (259, 3, 0, 0, r"its compression is \(\), and one number belongs there"),
    (258, 3, 1, 438, "its samples have 438 bits"),
    (277, 3, 1, 0, "its pixels have no samples"),
    (277, 3, 99, 1, "its field 277 holds what cannot be read"),
    (279, 2, 2, 0x4141, "does not tell in whole numbers where its strips or tiles are"),
    (257, 4, 1, 2**32 - 192, "lists fewer strips or tiles than its size needs"),
])  # fmt: skip
def test_fields_that_say_what_cannot_be_are_named(
    tmp_path: Path, tag: int, kind: int, count: int, value: int, said: str
) -> None:
    values = (np.tile(MAP[0, 0, 0], (8, 6)) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", values, metadata=None, rowsperstrip=4)
    patch(tmp_path / "in.tif", tag, kind=kind, count=count, value=value)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=said):
            look(tmp_path / "in.tif")


@pytest.mark.parametrize(("kind", "value", "said"), [
    (3, 367, "its compression has the number 367, which is not known"),
    (7, 1, r"its compression is b'\\x01', and one number belongs there"),
])  # fmt: skip
def test_fields_of_any_page_that_say_what_cannot_be_are_named(
    tmp_path: Path, kind: int, value: int, said: str
) -> None:
    """Pages of one series may be stored in different ways: ImageJ's metadata make one series of them all."""
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, MAP[0, :, 0], imagej=True, metadata={"axes": "ZYX"}, contiguous=False)
    with tifffile.TiffFile(path) as file:
        second = file.pages[1].tags[259]
    content = bytearray(path.read_bytes())
    struct.pack_into("<HHII", content, second.offset, 259, kind, 1, value)
    path.write_bytes(content)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=said):
            look(path)


def test_a_file_whose_first_page_is_beyond_its_end(tmp_path: Path) -> None:
    stack(tmp_path / "in.tif")
    content = bytearray((tmp_path / "in.tif").read_bytes())
    content[4:8] = struct.pack("<I", 2**30)
    (tmp_path / "in.tif").write_bytes(content)
    with pytest.raises(FileError, match="its table of pages is broken"):
        read(tmp_path / "in.tif")


def test_a_resolution_that_is_no_ratio_is_none(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], resolution=(100, 50), resolutionunit=3, metadata=None)
    patch(tmp_path / "in.tif", 282, kind=3, value=6)
    volume = read(tmp_path / "in.tif")
    assert np.array_equal(volume.array, MAP[0, 0, 0])
    assert volume.spacing is None


def test_what_does_not_fit_is_refused_by_the_header_and_may_be_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = stack(tmp_path / "in.tif", compression="zlib")
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: right.nbytes - 1)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *_, **__: pytest.fail("it is unpacked"))
    with pytest.raises(InputError, match=r"4 x 5 x 6 values, which take .* tile by tile into a .zarr"):
        read(tmp_path / "in.tif")
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)


@pytest.mark.parametrize("back_to", [0, 1])
def test_pages_in_a_circle_end(tmp_path: Path, back_to: int) -> None:
    stack(tmp_path / "in.tif")
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        starts = [page.offset for page in file.pages]
    content = bytearray((tmp_path / "in.tif").read_bytes())
    (count,) = struct.unpack_from("<H", content, starts[2])
    struct.pack_into("<I", content, starts[2] + 2 + 12 * count, starts[back_to])
    (tmp_path / "in.tif").write_bytes(content)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match="its table of pages is broken"):
            look(tmp_path / "in.tif")


@pytest.mark.parametrize("sizes", [
    {"SizeZ": 10**9, "SizeC": 1}, {"SizeX": 10**12, "SizeZ": 10**6}, {"SizeZ": 4, "PlaneCount": 10**9},
])  # fmt: skip
def test_more_planes_than_any_file_has(tmp_path: Path, sizes: dict[str, int]) -> None:
    tifffile.imwrite(
        tmp_path / "in.ome.tif", MAP[0, :, 0], ome=True, metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    with tifffile.TiffFile(tmp_path / "in.ome.tif") as file:
        text = file.ome_metadata or ""
    for name, size in sizes.items():
        text, count = re.subn(rf'\b{name}="\d+"', f'{name}="{size}"', text)
        assert count == 1
    stack(tmp_path / "in.ome.tif", description=text)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=r"its OME metadata describe [0-9,]+ planes"):
            look(tmp_path / "in.ome.tif")


def test_pages_beyond_those_of_the_metadata_are_told_whole_and_in_parts(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        for number, values in enumerate(MAP[0, :, 0]):
            text = "ImageJ=1.11a\nimages=4\nslices=2\nhyperstack=true" if number == 0 else None
            file.write(values, contiguous=False, compression="zlib", description=text, metadata=None)
    volume = read(tmp_path / "in.tif")
    assert "its metadata describe 2 planes and the file has 4: the last 2 are left out." in volume.notes
    assert np.array_equal(volume.array, MAP[0, :2, 0])
    assert np.array_equal(parts_of(tmp_path / "in.tif"), MAP[0, :2, 0])


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize("shape", [(6, 7, 1), (6, 1, 7), (1, 6, 7), (7, 1)])
def test_axes_of_one_are_written_so_that_they_are_read(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    array = RNG.random(shape, dtype=np.float32)
    np.save(tmp_path / "in.npy", array)
    volume = read(tmp_path / "in.npy", axes="ZYX"[-len(shape) :])
    write(volume, tmp_path / f"out{suffix}", provenance={"command": "softmorph erode"})
    again = read(tmp_path / f"out{suffix}")
    assert np.array_equal(again.array.squeeze(), array.squeeze())
    assert np.array_equal(parts_of(tmp_path / f"out{suffix}").squeeze(), array.squeeze())
    with tifffile.TiffFile(tmp_path / f"out{suffix}") as file:
        assert np.array_equal(file.asarray().squeeze(), array.squeeze())


@pytest.mark.parametrize(("ratio", "unit"), [((5, 0), 3), ((0, 5), 3), ((5, 1), 65535)])
def test_a_resolution_that_says_nothing_is_not_written_again(
    tmp_path: Path, ratio: tuple[int, int], unit: int
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], resolution=(100, 50), resolutionunit=3, metadata=None)
    content = bytearray((tmp_path / "in.tif").read_bytes())
    (at,) = struct.unpack_from("<I", content, entry(tmp_path / "in.tif", 282) + 8)
    struct.pack_into("<II", content, at, *ratio)
    struct.pack_into("<I", content, entry(tmp_path / "in.tif", 296) + 8, unit)
    (tmp_path / "in.tif").write_bytes(content)
    volume = read(tmp_path / "in.tif")
    assert volume.spacing is None
    write(volume, tmp_path / "out.tif")
    assert np.array_equal(read(tmp_path / "out.tif").array, MAP[0, 0, 0])


@pytest.mark.parametrize("told", [
    {"spacing": {"Y": 2.0, "X": 0.5}, "unit": {"a": 1}}, {"spacing": {"Y": 2.0, "X": 0.5}, "unit": "parsec"},
    {"spacing": {"Y": -1, "X": "a"}, "unit": "mm"}, {"spacing": [1, 2], "unit": "mm"},
])  # fmt: skip
def test_a_description_with_what_is_no_size_or_unit(tmp_path: Path, told: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], metadata={"axes": "YX", **told})
    volume = read(tmp_path / "in.tif")
    assert volume.unit is None
    assert volume.spacing in (None, (2.0, 0.5))
    for suffix in (".tif", ".nrrd", ".nii", ".mha"):
        write(volume, tmp_path / f"out{suffix}")
        assert np.array_equal(read(tmp_path / f"out{suffix}").array, MAP[0, 0, 0])


def test_a_palette_of_another_length_and_a_tile_of_another_world(tmp_path: Path) -> None:
    values = (MAP[0, 0, 0] * 255).astype(np.uint8)
    table = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="palette", colormap=table, metadata=None)
    patch(tmp_path / "in.tif", 320, kind=3, count=6, value=200)
    with pytest.raises(FileError, match="its palette has 6 numbers for 8 bits"):
        read(tmp_path / "in.tif")
    tifffile.imwrite(tmp_path / "in.tif", np.tile(values, (8, 6)), tile=(16, 16), compression="zlib")
    patch(tmp_path / "in.tif", 323, value=2**31)
    for look in (read, open_blocks):
        with pytest.raises(FileError, match="a strip or tile of it has 2147483648 x 16 pixels"):
            look(tmp_path / "in.tif")


@pytest.mark.parametrize("count", [0, 120])
def test_a_strip_that_would_begin_in_the_header(tmp_path: Path, count: int) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], metadata=None)
    patch(tmp_path / "in.tif", OFFSETS, value=0)
    patch(tmp_path / "in.tif", COUNTS, value=count)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match="would begin in its header"):
            look(tmp_path / "in.tif")


def test_axes_that_are_no_text(tmp_path: Path) -> None:
    text = '{"shape": [4, 5, 6], "axes": ["Z", "Y", "X"]}'
    stack(tmp_path / "in.tif", description=text)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match="its axes are"):
            look(tmp_path / "in.tif")


@pytest.mark.parametrize("compression", ["zlib", "lzw"])
def test_the_second_half_was_never_copied(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.tif"
    values = np.random.default_rng(7).random((6, 20, 18)).astype(np.float32)
    tifffile.imwrite(path, values, compression=compression, photometric="minisblack")
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes(len(content) - half))
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


def test_lzw_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.random.default_rng(7).random((6, 20, 18)).astype(np.float32)
    tifffile.imwrite(path, values, compression="lzw", photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


def test_a_shape_beyond_any_file(tmp_path: Path) -> None:
    told = f'{{"shape": [{10**30}, 5, 6]}}'
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], description=told, metadata=None)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=r"cannot read: by its metadata it holds over 2\^63 bytes"):
            look(tmp_path / "in.tif")


STATED: dict[str, dict[str, Any]] = {
    "jpegxl": {}, "jpeg2000": {}, "lerc": {}, "png": {}, "jpegxr": {}, "webp": {"photometric": "rgb"}, "jpeg": {},
}  # fmt: skip


def encoded(compression: str, image: np.ndarray[Any, Any], folder: Path) -> bytes:
    """The one strip of an image."""
    path = folder / "strip.tif"
    how = {"photometric": "minisblack"} | STATED[compression]
    tifffile.imwrite(path, image, compression=compression, metadata=None, rowsperstrip=1 << 16, **how)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        ((start,), (length,)) = page.dataoffsets, page.databytecounts
    return path.read_bytes()[start : start + length]


def with_strip(path: Path, image: np.ndarray[Any, Any], compression: str, strip: bytes) -> Path:
    """A TIFF whose strip is another one."""
    how = {"photometric": "minisblack"} | STATED[compression]
    tifffile.imwrite(path, image, compression=compression, metadata=None, **how)
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        places = tags["StripOffsets"].valueoffset, tags["StripByteCounts"].valueoffset
    content = bytearray(path.read_bytes())
    for place, number in zip(places, (len(content), len(strip)), strict=True):
        content[place : place + 4] = number.to_bytes(4, "little")
    path.write_bytes(bytes(content) + strip)
    return path


def read_both_ways(path: Path, **options: Any) -> list[Callable[[], Any]]:
    return [
        lambda: read(path, **options).array,
        lambda: open_blocks(path, ReadOptions(**options)).read([slice(None)] * 2),
    ]


@pytest.mark.parametrize("compression", STATED)
def test_a_strip_that_states_another_size_is_not_unpacked(compression: str, tmp_path: Path) -> None:
    colours = (3,) if STATED[compression] else ()
    options: dict[str, Any] = {"channel": 0} if colours else {}
    image = np.random.default_rng(0).integers(0, 255, (40, 50, *colours), dtype=np.uint8)
    intact = with_strip(tmp_path / "intact.tif", image, compression, encoded(compression, image, tmp_path))
    for reading in read_both_ways(intact, **options):
        wanted = (image[..., 0] if colours else image) / 255
        assert np.allclose(reading(), wanted, atol=0.05 if compression == "jpeg" else 1e-6)
    # 3000 x 3000, and 40 x 50 of which the header was changed would do as well.
    large = encoded(compression, np.zeros((3000, 3000, *colours), np.uint8), tmp_path)
    for reading in read_both_ways(with_strip(tmp_path / "a.tif", image, compression, large), **options):
        with pytest.raises(FileError, match="holds more than the numbers of a strip, and is not unpacked"):
            reading()
    # Nothing in it says a size.
    for reading in read_both_ways(with_strip(tmp_path / "b.tif", image, compression, large[:4]), **options):
        with pytest.raises(
            FileError, match=r"is a valid TIFF that softmorph cannot read: a strip or tile of it is no"
        ):
            reading()


@pytest.mark.parametrize(
    "how", [{"usecontainer": True}, {"level": 90, "lossless": False}, {"photometric": 2}]
)
def test_sizes_in_jpeg_xl(how: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    colours = (3,) if "photometric" in how else ()
    # Sizes of each number of bits, and of each ratio.
    shapes = [
        (1, 1),
        (30, 40),
        (64, 64),
        (512, 600),
        (3, 2000),
        (9000, 3),
        (50, 60),
        (60, 80),
        (60, 90),
        (90, 160),
    ]
    for shape in [*shapes, (80, 100), (60, 120), (40, 40)]:
        image = random.integers(0, 255, (*shape, *colours), dtype=np.uint8)
        strip = bytes(imagecodecs.jpegxl_encode(image, **how))
        assert count_samples("JPEGXL", strip, image.dtype) == image.size


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_tiles_of_volumes_in_jpeg_xl(kind: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((16, 32, 48)).astype(np.float32)
    image = image if kind == "float32" else (image * np.iinfo(kind).max).astype(kind)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, compression="jpegxl", tile=(16, 16, 16), photometric="minisblack")
    wanted = image if kind == "float32" else image / np.iinfo(kind).max
    assert np.allclose(read(path).array, wanted, atol=1e-6)
    # No header says how many frames there are.
    many = bytes(imagecodecs.jpegxl_encode(np.zeros((500, 16, 16), kind)))
    assert count_samples("JPEGXL", many, image.dtype) == 500 * 16 * 16


@pytest.mark.parametrize(
    ("compression", "says"), [("lerc", "lerc_decode returned"), ("jpegxl", "JXL_DEC_ERROR")]
)
def test_a_tile_that_its_codec_refuses_is_not_called_cut_short(
    compression: str, says: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    strip = bytearray(encoded(compression, image, tmp_path))
    strip[len(strip) // 2 :] = bytes(len(strip) - len(strip) // 2)
    for reading in read_both_ways(with_strip(tmp_path / "a.tif", image, compression, bytes(strip))):
        with pytest.raises(FileError, match=rf"is a valid TIFF that softmorph cannot read: .*{says}"):
            reading()
