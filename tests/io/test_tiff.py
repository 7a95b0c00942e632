"""The metadata of TIFF in its flavours (OME, ImageJ, plain): voxel size, unit, time, channels, axes."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_tiff import MAP, RNG, entry, page, parts_of, patch, retagged
from helpers_typing import tifffile
from PIL import Image

from softmorph_cli.errors import InputError
from softmorph_cli.io import tiff
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


def test_imagej_hyperstack_stays_imagej(tmp_path: Path) -> None:
    stated = {"axes": "TZCYX", "unit": "micron", "spacing": 2.0, "Info": "bought in Ulm", "finterval": 3.5}
    tifffile.imwrite(tmp_path / "in.tif", MAP, imagej=True, resolution=(4.0, 2.0), metadata=stated)
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
    stated = {
        "axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2000.0,
        "PhysicalSizeZUnit": "nm", "TimeIncrement": 3.0, "Channel": {"Name": ["wall", "lumen", "rest"]},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "in.tif", MAP, ome=True, metadata=stated)
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


def test_plain_pages_are_slices_with_a_note(tmp_path: Path) -> None:
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
    stated: dict[str, Any] = {"axes": order}
    stated |= {"Channel": {"Name": names}} if flavour == "ome" else {"channels": names}
    tifffile.imwrite(source, array, ome=flavour == "ome", metadata=stated, photometric="minisblack")
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


@pytest.mark.parametrize(
    ("name", "content", "spacing", "message"),
    [
        ("ResolutionUnit", (16).to_bytes(2, "little"), None, "unknown unit 16"),
        ("ResolutionUnit", (0).to_bytes(2, "little"), None, "unknown unit 0"),
        ("XResolution", bytes(8), None, ""),
        ("YResolution", (5).to_bytes(4, "little") + bytes(4), None, ""),
        ("ResolutionUnit", (3).to_bytes(2, "little"), (5.0, 5.0), ""),
    ],
)
def test_an_invalid_resolution_is_ignored_and_not_written(
    tmp_path: Path, name: str, content: bytes, spacing: tuple[float, ...] | None, message: str
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], resolution=(2, 2), resolutionunit=3)
    retagged(tmp_path / "in.tif", name, content)
    volume = read(tmp_path / "in.tif")
    assert volume.spacing == spacing
    assert message in " ".join(volume.notes)
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
    stated: dict[str, Any] = {"axes": "ZYX", "unit": "um", "spacing": 1.5, "tunit": "s", "fps": 2.5}
    lines = "".join(f"{name}={one}\n" for name, one in (stated | {key: value}).items() if name != "axes")
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
def test_the_voxel_size_of_a_description_is_checked(
    tmp_path: Path, spacing: dict[str, Any], unit: Any, expected: tuple[Any, Any]
) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif", MAP[0, 0, 0], metadata={"axes": "YX", "spacing": spacing, "unit": unit}
    )
    volume = read(tmp_path / "in.tif")
    assert (volume.spacing, volume.unit) == expected
    write(volume, tmp_path / "out.tif")


@pytest.mark.parametrize("size", ["wide", "inf", "nan", "-1", "0"])
def test_an_invalid_size_of_ome_is_ignored(tmp_path: Path, size: str) -> None:
    stated = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 7.125,
        "TimeIncrement": 8.125,
    }
    tifffile.imwrite(tmp_path / "in.ome.tif", MAP[0, :, 0], ome=True, metadata=stated)
    content = (tmp_path / "in.ome.tif").read_bytes()
    for before in (b"7.125", b"8.125"):
        content = content.replace(before, size.encode().ljust(5))
    (tmp_path / "in.ome.tif").write_bytes(content)
    volume = read(tmp_path / "in.ome.tif")
    assert volume.spacing is None
    write(volume, tmp_path / "out.ome.tif")
    assert read(tmp_path / "out.ome.tif").spacing is None


def test_imagej_units_of_each_axis(tmp_path: Path) -> None:
    stated = {"axes": "ZYX", "spacing": 2.0, "unit": "micron", "zunit": "mm"}
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, :, 0], imagej=True, resolution=(4.0, 2.0), metadata=stated)
    assert read(tmp_path / "in.tif").spacing == (2000.0, 0.5, 0.25)
    tifffile.imwrite(
        tmp_path / "odd.tif",
        MAP[0, :, 0],
        imagej=True,
        resolution=(4.0, 2.0),
        metadata=stated | {"zunit": "slice"},
    )
    odd = read(tmp_path / "odd.tif")
    assert odd.spacing is None
    assert "its voxel size along z is in no known unit, and is left out: lengths are in voxels." in odd.notes


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_axes_without_a_known_unit(tmp_path: Path, unit: str) -> None:
    stated = {
        "axes": "ZYX",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": unit,
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
    }
    tifffile.imwrite(tmp_path / "in.ome.tif", MAP[0, :, 0], metadata=stated)
    found = read(tmp_path / "in.ome.tif")
    assert (found.spacing, found.unit) == (None, "um")
    assert "its voxel size along z is in no known unit" in found.notes[0]
    assert read(tmp_path / "in.ome.tif", axes="TYX").spacing == (0.5, 0.5)


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


def test_a_resolution_that_is_no_ratio_is_ignored(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], resolution=(100, 50), resolutionunit=3, metadata=None)
    patch(tmp_path / "in.tif", 282, kind=3, value=6)
    volume = read(tmp_path / "in.tif")
    assert np.array_equal(volume.array, MAP[0, 0, 0])
    assert volume.spacing is None


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
def test_a_resolution_of_1_without_a_unit_is_not_written_again(
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


@pytest.mark.parametrize("stated", [
    {"spacing": {"Y": 2.0, "X": 0.5}, "unit": {"a": 1}}, {"spacing": {"Y": 2.0, "X": 0.5}, "unit": "parsec"},
    {"spacing": {"Y": -1, "X": "a"}, "unit": "mm"}, {"spacing": [1, 2], "unit": "mm"},
])  # fmt: skip
def test_invalid_sizes_and_units_of_a_description_are_ignored(tmp_path: Path, stated: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], metadata={"axes": "YX", **stated})
    volume = read(tmp_path / "in.tif")
    assert volume.unit is None
    assert volume.spacing in (None, (2.0, 0.5))
    for suffix in (".tif", ".nrrd", ".nii", ".mha"):
        write(volume, tmp_path / f"out{suffix}")
        assert np.array_equal(read(tmp_path / f"out{suffix}").array, MAP[0, 0, 0])


@pytest.mark.parametrize(
    ("axes", "other", "kind"), [("CYX", "ZYX", "slices"), ("ZCYX", "ZTYX", "images in time")]
)
def test_more_than_eight_channels_without_names_are_asked_about(
    tmp_path: Path, axes: str, other: str, kind: str
) -> None:
    path, count = tmp_path / "map.tif", axes.index("C")
    for channels in (8, 9):
        shape = (*(3,) * count, channels, 5, 6)
        stored = np.random.default_rng(0).random(shape, dtype=np.float32)
        tifffile.imwrite(path, stored, imagej=True, metadata={"axes": axes})
        if channels == 8:
            assert read(path).channel_axis() is not None
    with pytest.raises(
        InputError,
        match=rf"states 9 channels .*channel=0, .*axes='{other}' if they are {kind}, axes='{axes}' if",
    ):
        read(path)
    assert read(path, axes=other).axes == other.replace("ZT", "TZ")
    assert read(path, axes=axes).array.shape[0] == 9
    assert read(path, channel=3).axes.endswith("YX")
    assert probe(path).suggestion.endswith(f"--axes {other}")
    tifffile.imwrite(
        tmp_path / "named.ome.tif", stored, metadata={"axes": axes, "Channel": {"Name": [*"abcdefghi"]}}
    )
    assert read(tmp_path / "named.ome.tif").channels == tuple("abcdefghi")


@pytest.mark.parametrize("flavour", ["imagej", "ome"])
def test_a_last_axis_of_three_is_not_run_as_forty_maps(tmp_path: Path, flavour: str) -> None:
    # Without axes tifffile calls the first axis of such an array channels.
    stored = np.random.default_rng(0).random((40, 50, 3), dtype=np.float32)
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, stored, photometric="minisblack", **{flavour: True})
    with pytest.raises(
        InputError, match=r"states 40 channels .*axes='YXC' if its last axis holds the channels"
    ):
        read(path)
    volume = read(path, axes="YXC")
    assert (volume.axes, volume.array.shape) == ("CYX", (3, 40, 50))
    assert np.array_equal(volume.array, stored.transpose(2, 0, 1))
    # What was written here is not in doubt.
    write(read(path, axes="CYX"), tmp_path / "own.tif", provenance={"command": "softmorph erode"})
    assert read(tmp_path / "own.tif").array.shape == (40, 50, 3)
    assert probe(path).suggestion.endswith("--axes YXC")
