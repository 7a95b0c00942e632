"""The strips and tiles of a TIFF: codecs, damage, and bounds on what they decompress to."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
from helpers_tiff import COUNTS, MAP, OFFSETS, RNG, SOFTWARE, entry, page, parts_of, patch, stack
from helpers_typing import tifffile
from numpy.typing import NDArray
from PIL import Image

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.tiff_segments import count_samples
from softmorph_cli.io.writing import write


@pytest.fixture
def without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    from tifffile import _imagecodecs
    from tifffile.tifffile import TIFF

    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", _imagecodecs)
    tables: Any = (TIFF.COMPRESSORS, TIFF.DECOMPRESSORS, TIFF.PREDICTORS, TIFF.UNPREDICTORS)
    for table in tables:
        monkeypatch.setattr(table, "_codecs", {1: table._codecs[1]})


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
@pytest.mark.parametrize(("how", "message"), list(CODECS.items()))
def test_a_missing_codec_is_named(tmp_path: Path, how: str, message: str) -> None:
    path = packed(tmp_path / "in.tif", how)
    for get in (read, open_blocks):
        with pytest.raises(FileError, match="is a valid TIFF that softmorph cannot read") as caught:
            np.asarray(get(path).read((slice(0, 5), slice(0, 6))) if get is open_blocks else get(path))
        assert message in str(caught.value)
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("how", ["zstd", "float predictor"])
def test_with_imagecodecs_every_compression_is_read(tmp_path: Path, how: str) -> None:
    pytest.importorskip("imagecodecs", reason="python -m pip install '.[test]' brings imagecodecs")
    path = packed(tmp_path / "in.tif", how)
    assert np.array_equal(read(path).array, MAP[0, 0, 0])
    assert np.array_equal(open_blocks(path).read((slice(0, 5), slice(0, 6))), MAP[0, 0, 0])


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


def test_a_strip_without_a_length_is_read_whole_and_in_parts(tmp_path: Path) -> None:
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
    requested: list[int] = []
    before = tifffile.FileHandle.read

    def counted(file: Any, size: int = -1, /) -> Any:
        requested.append(size)
        return before(file, size)

    monkeypatch.setattr(tifffile.FileHandle, "read", counted)
    assert np.array_equal(read(tmp_path / "in.tif").array, right)
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)
    assert 0 < max(requested) < 10_000
    patch(tmp_path / "in.tif", OFFSETS, value=2**31)
    with pytest.raises(FileError, match=r"cut short or damaged \(it ends too early\)"):
        read(tmp_path / "in.tif")


def test_missing_tiles_have_a_note_and_are_read_as_0(tmp_path: Path) -> None:
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


def test_what_does_not_fit_is_refused_by_the_header_and_may_be_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = stack(tmp_path / "in.tif", compression="zlib")
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: right.nbytes - 1)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *_, **__: pytest.fail("it is unpacked"))
    with pytest.raises(InputError, match=r"4 x 5 x 6 values, which take .* tile by tile into a .zarr"):
        read(tmp_path / "in.tif")
    assert np.array_equal(parts_of(tmp_path / "in.tif"), right)


def test_a_palette_and_a_tile_of_impossible_sizes_are_refused(tmp_path: Path) -> None:
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
def test_a_strip_that_begins_in_the_header_is_damage(tmp_path: Path, count: int) -> None:
    tifffile.imwrite(tmp_path / "in.tif", MAP[0, 0, 0], metadata=None)
    patch(tmp_path / "in.tif", OFFSETS, value=0)
    patch(tmp_path / "in.tif", COUNTS, value=count)
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match="would begin in its header"):
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


def test_lzw_that_is_cut_short_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.random.default_rng(7).random((6, 20, 18)).astype(np.float32)
    tifffile.imwrite(path, values, compression="lzw", photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


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
    # Its header lacks the size.
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


@pytest.mark.parametrize("compression", ["png", "lerc", "jpegxl"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_sizes_of_samples_of_another_type_than_that_of_the_tiff(compression: str, kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 65535, (40, 50), dtype=np.uint16)
    strip = bytes(getattr(imagecodecs, f"{compression}_encode")(image))
    assert count_samples(compression.upper(), strip, np.dtype(kind)) == 40 * 50


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_tiles_of_volumes_in_jpeg_xl(kind: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((16, 32, 48)).astype(np.float32)
    image = image if kind == "float32" else (image * np.iinfo(kind).max).astype(kind)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, compression="jpegxl", tile=(16, 16, 16), photometric="minisblack")
    wanted = image if kind == "float32" else image / np.iinfo(kind).max
    assert np.allclose(read(path).array, wanted, atol=1e-6)
    # No header states the number of frames.
    many = bytes(imagecodecs.jpegxl_encode(np.zeros((500, 16, 16), kind)))
    assert count_samples("JPEGXL", many, image.dtype) == 500 * 16 * 16


@pytest.mark.parametrize(
    ("compression", "message"), [("lerc", "lerc_decode returned"), ("jpegxl", "JXL_DEC_ERROR")]
)
def test_a_tile_that_its_codec_refuses_is_not_called_cut_short(
    compression: str, message: str, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    strip = bytearray(encoded(compression, image, tmp_path))
    strip[len(strip) // 2 :] = bytes(len(strip) - len(strip) // 2)
    for reading in read_both_ways(with_strip(tmp_path / "a.tif", image, compression, bytes(strip))):
        with pytest.raises(FileError, match=rf"is a valid TIFF that softmorph cannot read: .*{message}"):
            reading()
