"""What cannot fit into memory is refused by what a header says: no voxel is read or unpacked for it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import tifffile
from helpers_peak import peak
from helpers_typing import nibabel

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import reading
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.exclusive import exclusive_classes, find_exclusive
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read, read_labels, read_map
from softmorph_cli.system import machine

SIDE = 1500  # 13.5 GB as float32


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1 << 30)


def _zarr(folder: Path) -> Path:
    path = folder / "z.zarr"
    path.mkdir()
    stated = {"zarr_format": 2, "shape": [SIDE] * 3, "chunks": [500] * 3, "dtype": "<f4", "fill_value": 0.5}
    (path / ".zarray").write_text(json.dumps(stated | {"order": "C", "compressor": None, "filters": None}))
    return path


def _npy(folder: Path) -> Path:
    path = folder / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (SIDE,) * 3)  # no block of it is on the disk
    return path


def _nifti(folder: Path, *, packed: bool) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_shape((SIDE,) * 3)
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    head = header.binaryblock + bytes(4)
    path = folder / ("a.nii.gz" if packed else "a.nii")
    if packed:
        # It claims more than it holds, which must not be reached.
        path.write_bytes(gzip.compress(head + bytes(1000)))
        with path.open("ab") as file:
            file.truncate(14 << 20)  # as many bytes as could unpack to that
    else:
        with path.open("wb") as file:
            file.write(head)
            file.truncate(352 + 4 * SIDE**3)
    return path


def _tiff(folder: Path, *, tile: bool = True) -> Path:
    """Tiles that were never written, as GDAL leaves them out; or one strip."""
    path = folder / "a.tif"
    page = np.zeros((8, 8) if tile else (8, SIDE), np.float32)
    how: dict[str, Any] = {"tile": (SIDE // 4 // 16 * 16,) * 2} if tile else {"rowsperstrip": SIDE}
    tifffile.imwrite(
        path, page, compression="zlib", photometric="minisblack", bigtiff=True, metadata=None, **how
    )
    with tifffile.TiffFile(path) as file:
        sizes = ("ImageLength", "ImageWidth", "RowsPerStrip")
        places = [tag.valueoffset for tag in file.pages.first.tags if tag.name in sizes]
    content = bytearray(path.read_bytes())
    for place in places:
        content[place : place + 4] = (SIDE * 40).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def _png(folder: Path) -> Path:
    path, width = folder / "a.png", 58_095
    head = struct.pack(">2I5B", width, width, 8, 6, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9) * 13_000  # as many bytes as could unpack to that
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")):
            file.write(
                struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            )
    return path


def _npz(folder: Path) -> Path:
    path = folder / "a.npz"
    head = BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (1, *[SIDE] * 3)}
    )
    with (
        ZipFile(path, "w", ZIP_DEFLATED) as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as member,
    ):
        member.write(head.getvalue())
        member.write(os.urandom(14 << 20))  # as many bytes as could unpack to that
    return path


def _nrrd(folder: Path) -> Path:
    path = folder / "a.nrrd"
    stated = f"NRRD0004\ntype: float\ndimension: 3\nsizes: {SIDE} {SIDE} {SIDE}\nendian: little\nencoding: bzip2\n\n"
    path.write_bytes(stated.encode() + bz2.compress(bytes(16 << 20)) * (4 * SIDE**3 // (16 << 20) + 1))
    return path


def _mha(folder: Path) -> Path:
    path = folder / "a.mha"
    stated = f"ObjectType = Image\nNDims = 3\nDimSize = {SIDE} {SIDE} {SIDE}\nElementType = MET_FLOAT\n"
    path.write_bytes(f"{stated}ElementDataFile = LOCAL\n".encode())
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + 4 * SIDE**3)
    return path


# How each is made, and what has to be done before a part of it can be read.
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zarr": (_zarr, ""),
    "npy": (_npy, ""),
    "nii": (lambda folder: _nifti(folder, packed=False), ""),
    "nii.gz": (lambda folder: _nifti(folder, packed=True), "unpack it first (gunzip --keep "),
    "png": (_png, "write it as a TIFF in tiles or as OME-Zarr first"),
    "npz": (_npz, "unpack it first (unzip "),
    "nrrd": (_nrrd, "write it as .nii, .npy or OME-Zarr first"),
    "mha": (_mha, "write it as .nii, .npy or OME-Zarr first"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_larger_than_memory_is_refused_by_its_header(kind: str, tmp_path: Path) -> None:
    make, first = KINDS[kind]
    path = make(tmp_path)
    for reader in (read_map, read_labels):
        with pytest.raises(InputError, match=r"13\.4 GiB|12\.6 GiB|25\.1 GiB") as refused:
            reader(path)
        messages = str(refused.value)
        assert re.match(rf"{re.escape(str(path))} holds [\d x]+ values, which take about", messages)
        assert f"and 1.0 GiB may be used: {first or 'cut out a part with region'}" in messages
    if not first:
        # What the message advises.
        assert read(path, region="0:10,0:10,0:10").array.shape == (10, 10, 10)
        assert open_blocks(path).shape == (SIDE,) * 3


def test_a_strip_larger_than_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"strips of 13\.4 GiB, which cannot be read in parts"):
        read(_tiff(tmp_path, tile=False))


@pytest.mark.parametrize("kind", ["png", "nii.gz", "nrrd"])
def test_a_header_of_more_than_the_data_can_hold(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: None)
    path = KINDS[kind][0](tmp_path)
    path.write_bytes(path.read_bytes()[:1000] + path.read_bytes()[-12:])
    if kind == "png":
        content = bytearray(path.read_bytes())
        content[33:37] = struct.pack(">I", len(content) - 57)
        path.write_bytes(content)
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


@pytest.mark.parametrize("codec", ["zlib", "lzma"])
def test_a_strip_that_decompresses_to_too_many_bytes(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tifffile import _imagecodecs
    from tifffile.tifffile import TIFF

    # imagecodecs bounds it by itself.
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", _imagecodecs)
    tables: Any = (TIFF.COMPRESSORS, TIFF.DECOMPRESSORS)
    for table in tables:
        monkeypatch.setattr(table, "_codecs", {1: table._codecs[1]})
    path, image = tmp_path / "a.tif", np.random.default_rng(0).random((64, 64)).astype(np.float32)
    tifffile.imwrite(path, image, compression=codec, photometric="minisblack", metadata=None)
    assert np.array_equal(read(path).array, image)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        places = page.tags["StripOffsets"].valueoffset, page.tags["StripByteCounts"].valueoffset
    bomb = (zlib.compress if codec == "zlib" else lzma.compress)(bytes(256 << 20))
    content = bytearray(path.read_bytes())
    for place, number in zip(places, (len(content), len(bomb)), strict=True):
        content[place : place + 4] = number.to_bytes(4, "little")
    path.write_bytes(bytes(content) + bomb)
    with pytest.raises(FileError, match="holds more than the numbers of a strip, and is not unpacked"):
        read(path)


def test_the_header_of_a_member_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with ZipFile(path, "w", ZIP_BZIP2) as archive:
        archive.writestr(
            "probabilities.npy", b"\x93NUMPY\2\0" + (1 << 28).to_bytes(4, "little") + bytes(64 << 20)
        )
    with pytest.raises(FileError, match=r"its header is of version 2\.0 and has 268,435,456 bytes"):
        read(path)


@pytest.mark.linux
@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("zarr", "stats"),
        ("zarr", "erode"),
        ("png", "stats"),
        ("npz", "stats"),
        ("nrrd", "stats"),
    ],
)
def test_nothing_is_read_before_it_is_refused(
    kind: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1000")
    path = KINDS[kind][0](tmp_path)
    status, megabytes, messages = peak(command, path, *[tmp_path / "o.zarr"] * (command == "erode"))
    assert status == 1
    assert "may be used" in messages
    assert megabytes < 500


@pytest.mark.parametrize("reader", [read_map, read_labels])
@pytest.mark.parametrize(("suffix", "before"), [(".npy", 0), (".nii.gz", 4000)])
def test_a_mask_is_counted_beside_its_map(
    reader: Callable[..., Any], suffix: str, before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1000 voxels: 4 bytes each of the map, 1 of the mask as it is used, 8 more of the mask as it is stored."""
    path, mask = tmp_path / f"map{suffix}", tmp_path / "mask.npy"
    labels = np.random.default_rng(0).integers(0, 2, (10, 10, 10)).astype(np.float32)
    if suffix == ".npy":
        np.save(path, labels)
    else:
        nibabel.Nifti1Image(labels.T, np.eye(4)).to_filename(path)
    inside = np.random.default_rng(1).integers(0, 2, (10, 10, 10)).astype(np.float64)
    np.save(mask, inside)

    def tried(allowed: int, **options: Any) -> Any:
        monkeypatch.setattr(machine, "memory", lambda: allowed)
        chosen = ReadOptions(mask=mask, **options)
        return reader(path, chosen)

    with pytest.raises(InputError, match=rf"{re.escape(str(path))} holds 10 x 10 x 10 values"):
        tried(4999)
    with pytest.raises(InputError, match=rf"{re.escape(str(mask))} holds 10 x 10 x 10 values"):
        tried(before + 8999)
    found = tried(before + 9000)
    assert np.array_equal(found.array if reader is read_map else found[0], labels * inside)
    # Half of it, as the message advises.
    found = tried(before + 4500, region="5:10,:,:")
    assert np.array_equal(found.array if reader is read_map else found[0], (labels * inside)[5:])


def test_channels_are_compared_only_if_the_map_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1000 voxels: 4 bytes each of the channel that is read, 1 of the most probable class."""
    channels = np.random.default_rng(0).random((3, 10, 10, 10)).astype(np.float32)
    channels /= channels.sum(axis=0)
    np.save(tmp_path / "map.npy", channels)
    looked: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        looked.append(1)
        return find_exclusive(*arguments, **options)

    monkeypatch.setattr(reading, "find_exclusive", counted)
    for allowed in (4999, 5000):
        monkeypatch.setattr(machine, "memory", lambda allowed=allowed: allowed)
        if allowed < 5000:
            with pytest.raises(InputError, match="holds 10 x 10 x 10 values"):
                read(tmp_path / "map.npy", axes="CZYX", channel=1, exclusive=True)
            assert not looked
        else:
            volume = read(tmp_path / "map.npy", axes="CZYX", channel=1, exclusive=True)
            found = exclusive_classes(volume)
            assert found is not None
            assert np.array_equal(found.winner, channels.argmax(axis=0))


def test_sizes_beyond_any_float_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which take about"):
        check_room((10**400, 5), 4, tmp_path / "in.tif")
