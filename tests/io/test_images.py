from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers_typing import SimpleITK, present
from PIL import Image

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
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


def test_png_reports_losses_and_keeps_provenance(tmp_path: Path) -> None:
    volume = Volume(RNG.random((5, 7), dtype=np.float32), "YX", (0.5, 0.5), "um")
    lost = write(volume, tmp_path / "out.png", output_type="uint8", provenance={"command": "softmorph é"})
    assert lost == [
        "uint8 keeps 256 steps: values are rounded by up to 0.002.",
        "PNG cannot hold the voxel size.",
    ]
    with Image.open(tmp_path / "out.png") as image:
        image.load()
        assert image.info["softmorph_divide_by"] == "255"
        assert "softmorph" in image.info["softmorph"]


def test_png_mask_is_0_and_255(tmp_path: Path) -> None:
    volume = Volume(np.eye(6, dtype=np.float32), "YX")
    assert write(volume, tmp_path / "out.png", output_type="mask") == []
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
    with pytest.raises(InputError, match=f"colour image of {samples} samples per pixel; .*channel=0"):
        read(tmp_path / "in.png")
    green = read(tmp_path / "in.png", channel="green")
    np.testing.assert_allclose(green.array, stored[..., 1] / 255, atol=1e-7)


def test_png_palette_of_labels(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8), 16)[None].repeat(48, axis=0)
    labels[0] = 255
    image = Image.fromarray(labels, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, *[0] * (251 * 3), 224, 224, 192])
    image.save(tmp_path / "in.png")
    with pytest.raises(InputError, match=r"holds labels \(1, 2, 3, 255\); .* label=1"):
        read(tmp_path / "in.png")
    for label in (1, 3, 255):
        assert np.array_equal(read(tmp_path / "in.png", label=label).array, labels == label)
    assert "indices into a palette of colours, and are taken as labels" in probe(tmp_path / "in.png").notes[0]


@pytest.mark.parametrize("colours", [[0, 255], [255, 0], [0, 80, 200, 255]])
@pytest.mark.parametrize("bits", [1, 8])
def test_png_palette_of_greys(tmp_path: Path, colours: list[int], bits: int) -> None:
    if bits == 1 and len(colours) > 2:
        bits = 2
    indices = RNG.integers(0, len(colours), (20, 30), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([value for value in colours for _ in range(3)])
    image.save(tmp_path / "in.png", bits=bits)
    meant = np.array(colours, np.uint8)[indices]
    with Image.open(tmp_path / "in.png") as other:
        assert np.array_equal(np.array(other.convert("L")), meant)
    np.testing.assert_allclose(read(tmp_path / "in.png").array, meant / 255, atol=1e-6)


def test_png_with_bytes_after_its_end(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    image = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    Image.fromarray(image).save(path)
    whole = path.read_bytes()
    for more in (bytes(512 - len(whole) % 512), b"IEND", b"\xff" * 7, whole):
        path.write_bytes(whole + more)
        np.testing.assert_allclose(read(path).array, image / 255, atol=1e-6)
    # The letters alone are no end.
    path.write_bytes(whole[:-12] + b"IEND")
    with pytest.raises(FileError, match="is cut short"):
        read(path)


def test_png_with_one_transparent_grey(tmp_path: Path) -> None:
    image = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "in.png", transparency=7)
    np.testing.assert_allclose(read(tmp_path / "in.png").array, image / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "significant"), [(np.uint8, 7), (np.uint8, 4), (np.uint16, 15), (np.uint16, 12)]
)
def test_png_with_fewer_significant_bits_keeps_its_white(
    tmp_path: Path, dtype: type[np.unsignedinteger], significant: int
) -> None:
    top = np.iinfo(dtype).max
    stored = np.linspace(0, top, 48).astype(dtype).reshape(6, 8)
    Image.fromarray(stored).save(tmp_path / "map.png")
    plain = (tmp_path / "map.png").read_bytes()
    body = b"sBIT" + bytes((significant,))
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "map.png").write_bytes(plain[:33] + chunk + plain[33:])
    np.testing.assert_allclose(read(tmp_path / "map.png").array, stored / top, atol=1e-6)


def test_png_of_colours_with_fewer_significant_bits(tmp_path: Path) -> None:
    stored = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3) + np.uint8(100)
    Image.fromarray(stored).save(tmp_path / "map.png")
    plain = (tmp_path / "map.png").read_bytes()
    body = b"sBIT" + bytes((7, 6, 5))
    chunk = struct.pack(">I", 3) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "map.png").write_bytes(plain[:33] + chunk + plain[33:])
    np.testing.assert_allclose(read(tmp_path / "map.png", channel=2).array, stored[..., 2] / 255, atol=1e-6)


def test_damage_under_a_palette_is_found(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    image = Image.fromarray(RNG.integers(0, 4, (60, 70), dtype=np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    image.save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 200] ^= 64
    path.write_bytes(content)
    with pytest.raises(FileError, match="starts as a PNG file but is cut short or damaged"):
        read(path)


@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize("bits", [8, 16])
def test_png_of_grey_and_alpha(tmp_path: Path, opaque: bool, bits: int) -> None:
    path, top = tmp_path / "in.png", 2**bits - 1
    stored = RNG.integers(0, top + 1, (20, 30, 2)).astype(f">u{bits // 8}")
    if opaque:
        stored[..., 1] = top
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 30, 20, bits, 4, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )
    if opaque:
        found = read(path)
        assert "its alpha channel is opaque everywhere, and is left out." in found.notes
    else:
        with pytest.raises(InputError, match=r"channel=0 \(grey\) or 1 \(alpha\)"):
            read(path)
        found = read(path, channel="grey")
        np.testing.assert_allclose(read(path, channel=1).array, stored[..., 1] / top, atol=1e-6)
    np.testing.assert_allclose(found.array, stored[..., 0] / top, atol=1e-6)


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
    np.testing.assert_allclose(present(volume.affine) @ [2, 3, 5, 1], [-x, -y, z, 1])
    write(volume, tmp_path / f"out{suffix}")
    after = SimpleITK.ReadImage(tmp_path / f"out{suffix}")
    assert after.GetMetaData("patient") == "nobody"
    for name in ("GetDirection", "GetOrigin", "GetSpacing"):
        np.testing.assert_allclose(getattr(after, name)(), getattr(image, name)(), atol=1e-12)
    # A crop moves the origin.
    corner = read(tmp_path / f"in{suffix}", region="2:,3:,5:")
    np.testing.assert_allclose(present(corner.affine)[:3, 3], [-x, -y, z])


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


PLAIN = "spacings: 0.5 0.25 2\n"
PLACED = (
    "space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0.25,0) (0,0,2)\nspace origin: (1,2,3)\n"
)


def nrrd(path: Path, fields: str) -> Volume:
    head = f"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n{fields}\n"
    path.write_bytes(head.encode("latin-1") + bytes([0, 1] * 12))
    return read(path)


DIRECTIONS = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n"


def test_an_unknown_kind_makes_no_channels(tmp_path: Path) -> None:
    volume = nrrd(tmp_path / "map.nrrd", f"{DIRECTIONS}kinds: domain eomain domain\n")
    assert (volume.axes, volume.spacing) == ("ZYX", (3.0, 2.0, 1.0))
    assert "its kind of axis 'eomain' is not known, and is left out." in volume.notes


@pytest.mark.parametrize("kind", ["vector", "RGB-color", "3D-masked-symmetric-matrix", "3-gradient", "list"])
def test_kinds_of_components_make_channels(tmp_path: Path, kind: str) -> None:
    fields = f"{DIRECTIONS.replace('(1,0,0)', 'none')}kinds: {kind} domain domain\n"
    assert nrrd(tmp_path / "map.nrrd", fields).axes == "CYX"


@pytest.mark.parametrize("vector", ["(0,2,0", "(0,2,0)x", "nothing", "0,2,0)"])
def test_a_direction_that_is_no_vector_is_refused(tmp_path: Path, vector: str) -> None:
    with pytest.raises(FileError, match="where a vector or none for each of 3 axes belongs"):
        nrrd(tmp_path / "map.nrrd", DIRECTIONS.replace("(0,2,0)", vector))


def test_an_unknown_field_has_a_note(tmp_path: Path) -> None:
    volume = nrrd(tmp_path / "map.nrrd", DIRECTIONS.replace("space directions", "space dirfctions"))
    assert volume.spacing is None
    assert "its field 'space dirfctions' is none of NRRD's, and is left out." in volume.notes


@pytest.mark.parametrize(
    ("named", "unit", "factor", "to_mm"),
    [
        ("", "mm", 1.0, 1.0),
        ('space units: "" "" ""\n', "mm", 1.0, 1.0),
        ('space units: "mm" "mm" "mm"\n', "mm", 1.0, 1.0),
        ('space units: "cm" "cm" "cm"\n', "mm", 10.0, 10.0),
        ('space units: "micrometer" "micrometer" "micrometer"\n', "um", 1.0, 1e-3),
        ('space units: "\xb5m" "um" "micron"\n', "um", 1.0, 1e-3),
        ('space units: "Angstrom" "Angstrom" "Angstrom"\n', "nm", 0.1, 1e-7),
    ],
)
def test_nrrd_unit_scales_voxel_size_and_affine(
    tmp_path: Path, named: str, unit: str, factor: float, to_mm: float
) -> None:
    volume = nrrd(tmp_path / "in.nrrd", PLACED + named)
    assert volume.unit == unit
    assert volume.spacing == pytest.approx((2.0 * factor, 0.25 * factor, 0.5 * factor))
    assert volume.affine is not None
    expected = np.array([[0, 0, -0.5, -1], [0, -0.25, 0, -2], [2, 0, 0, 3]]) * to_mm
    np.testing.assert_allclose(volume.affine[:3], expected, rtol=1e-12)
    write(volume, tmp_path / "out.nrrd")
    again = read(tmp_path / "out.nrrd")
    assert again.unit == unit
    assert again.spacing == pytest.approx((2.0 * factor, 0.25 * factor, 0.5 * factor))
    np.testing.assert_allclose(present(again.affine)[:3], expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("named", "unit", "factor"),
    [("", None, 1.0), ('units: "" "" ""\n', None, 1.0), ('units: "cm" "cm" "cm"\n', "mm", 10.0)],
)
def test_nrrd_unit_without_space(tmp_path: Path, named: str, unit: str | None, factor: float) -> None:
    volume = nrrd(tmp_path / "in.nrrd", PLAIN + named)
    assert (volume.spacing, volume.unit, volume.affine) == (
        (2.0 * factor, 0.25 * factor, 0.5 * factor),
        unit,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        (
            PLACED + 'space units: "nautical mile" "nautical mile" "nautical mile"\n',
            "its units of length, nautical mile, are not known: the unit, orientation and origin are dropped.",
        ),
        (
            PLACED + 'space units: "mm" "mm" "cm"\n',
            "its units of length, mm, cm, differ from axis to axis: "
            "the unit, orientation and origin are dropped.",
        ),
        (
            PLAIN + 'units: "parsec" "parsec" "parsec"\n',
            "its units of length, parsec, are not known: the unit is dropped.",
        ),
    ],
)
def test_an_unknown_unit_of_nrrd_is_not_millimetres(tmp_path: Path, fields: str, note: str) -> None:
    volume = nrrd(tmp_path / "in.nrrd", fields)
    assert (volume.spacing, volume.unit, volume.affine) == ((2.0, 0.25, 0.5), None, None)
    assert probe(tmp_path / "in.nrrd").notes[:-1] == (note,)
    assert probe(tmp_path / "in.nrrd").notes[-1].endswith("state it, such as --unit um.")


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


@pytest.mark.parametrize("length", [0, 8, 12, 14])
def test_png_whose_header_is_of_another_length(tmp_path: Path, length: int) -> None:
    body = struct.pack(">IIBBBBB", 7, 6, 8, 0, 0, 0, 0).ljust(14, b"\0")[:length]
    parts = ((b"IHDR", body), (b"IDAT", zlib.compress(bytes(48))), (b"IEND", b""))
    chunks = (
        len(b).to_bytes(4, "big") + name + b + zlib.crc32(name + b).to_bytes(4, "big") for name, b in parts
    )
    (tmp_path / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    for look in (read, probe):
        with pytest.raises(FileError, match="starts as a PNG file but does not end as one"):
            look(tmp_path / "in.png")


@pytest.mark.parametrize(("kind", "depth"), [(3, 16), (0, 3), (2, 4), (5, 8), (6, 1)])
def test_png_of_an_unknown_kind(tmp_path: Path, kind: int, depth: int) -> None:
    body = struct.pack(">IIBBBBB", 7, 6, depth, kind, 0, 0, 0)
    parts = ((b"IHDR", body), (b"PLTE", bytes(768)), (b"IDAT", zlib.compress(bytes(400))), (b"IEND", b""))
    chunks = (
        len(b).to_bytes(4, "big") + name + b + zlib.crc32(name + b).to_bytes(4, "big") for name, b in parts
    )
    (tmp_path / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    for look in (read, probe):
        with pytest.raises(FileError, match=f"its pixels are of kind {kind} with {depth} bits"):
            look(tmp_path / "in.png")


@pytest.mark.parametrize("part", [b"IHDR", b"PLTE", b"tEXt"])
def test_png_with_wrong_checksums(tmp_path: Path, part: bytes) -> None:
    from PIL import Image, PngImagePlugin

    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert("P")
    stated = PngImagePlugin.PngInfo()
    stated.add_text("softmorph_divide_by", "255")
    image.save(tmp_path / "in.png", pnginfo=stated)
    content = bytearray((tmp_path / "in.png").read_bytes())
    read(tmp_path / "in.png")
    # The height, a colour, a letter.
    content[content.index(part) + 11] ^= 1
    (tmp_path / "in.png").write_bytes(content)
    with pytest.raises(FileError, match=f"damaged .the checksum of its {part.decode()} does not fit"):
        read(tmp_path / "in.png")
