"""The pages of a TIFF: series, colours, palettes, missing planes, and impossible fields."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers_tiff import MAP, RNG, parts_of, patch, stack
from helpers_typing import tifffile
from PIL import Image

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read, read_labels
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


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


def test_raw_samples_of_a_camera_are_refused(tmp_path: Path) -> None:
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


def test_planes_beyond_the_metadata_have_a_note(tmp_path: Path) -> None:
    planes = acquired(tmp_path / "in.ome.tif", 3, 5)
    found = read(tmp_path / "in.ome.tif")
    assert np.array_equal(found.array, planes[:3])
    assert "its metadata describe 3 planes and the file has 5: the last 2 are left out." in found.notes
    acquired(tmp_path / "one.ome.tif", 4, 5)
    words = "its metadata describe 4 planes and the file has 5: the last one is left out."
    assert words in read(tmp_path / "one.ome.tif").notes
    acquired(tmp_path / "whole.ome.tif", 5, 5)
    assert read(tmp_path / "whole.ome.tif").notes == ()


def test_planes_in_other_files_are_refused(tmp_path: Path) -> None:
    elsewhere = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(("in.ome.tif", "second.ome.tif"))
    )
    acquired(tmp_path / "in.ome.tif", 2, 1, more=elsewhere)
    with pytest.raises(
        FileError, match=r"multi-file OME-TIFF, and of the 2 planes .* 1 lie in other files, such as second"
    ):
        read(tmp_path / "in.ome.tif")


@pytest.mark.parametrize(("tag", "kind", "count", "value", "messages"), [
    (259, 3, 1, 65535, "its compression has the number 65535, which is not known"),
    (259, 3, 0, 0, r"its compression is \(\), and one number belongs there"),
    (258, 3, 1, 438, "its samples have 438 bits"),
    (277, 3, 1, 0, "its pixels have no samples"),
    (277, 3, 99, 1, "its field 277 holds what cannot be read"),
    (279, 2, 2, 0x4141, "does not tell in whole numbers where its strips or tiles are"),
    (257, 4, 1, 2**32 - 192, "lists fewer strips or tiles than its size needs"),
])  # fmt: skip
def test_impossible_fields_are_named(
    tmp_path: Path, tag: int, kind: int, count: int, value: int, messages: str
) -> None:
    values = (np.tile(MAP[0, 0, 0], (8, 6)) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", values, metadata=None, rowsperstrip=4)
    patch(tmp_path / "in.tif", tag, kind=kind, count=count, value=value)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=messages):
            look(tmp_path / "in.tif")


@pytest.mark.parametrize(("kind", "value", "messages"), [
    (3, 367, "its compression has the number 367, which is not known"),
    (7, 1, r"its compression is b'\\x01', and one number belongs there"),
])  # fmt: skip
def test_impossible_fields_of_any_page_are_named(
    tmp_path: Path, kind: int, value: int, messages: str
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
        with pytest.raises(FileError, match=messages):
            look(path)


def test_a_file_whose_first_page_is_beyond_its_end(tmp_path: Path) -> None:
    stack(tmp_path / "in.tif")
    content = bytearray((tmp_path / "in.tif").read_bytes())
    content[4:8] = struct.pack("<I", 2**30)
    (tmp_path / "in.tif").write_bytes(content)
    with pytest.raises(FileError, match="its table of pages is broken"):
        read(tmp_path / "in.tif")


@pytest.mark.parametrize("back_to", [0, 1])
def test_a_circular_list_of_pages_is_detected(tmp_path: Path, back_to: int) -> None:
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
def test_metadata_of_too_many_planes_are_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
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


def test_pages_beyond_the_metadata_have_a_note_whole_and_in_parts(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        for number, values in enumerate(MAP[0, :, 0]):
            text = "ImageJ=1.11a\nimages=4\nslices=2\nhyperstack=true" if number == 0 else None
            file.write(values, contiguous=False, compression="zlib", description=text, metadata=None)
    volume = read(tmp_path / "in.tif")
    assert "its metadata describe 2 planes and the file has 4: the last 2 are left out." in volume.notes
    assert np.array_equal(volume.array, MAP[0, :2, 0])
    assert np.array_equal(parts_of(tmp_path / "in.tif"), MAP[0, :2, 0])


def test_axes_that_are_no_string_are_refused(tmp_path: Path) -> None:
    text = '{"shape": [4, 5, 6], "axes": ["Z", "Y", "X"]}'
    stack(tmp_path / "in.tif", description=text)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match="its axes are"):
            look(tmp_path / "in.tif")


def test_a_shape_beyond_2_to_the_63_is_refused(tmp_path: Path) -> None:
    stated = f'{{"shape": [{10**30}, 5, 6]}}'
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], description=stated, metadata=None)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=r"cannot read: by its metadata it holds over 2\^63 bytes"):
            look(tmp_path / "in.tif")
