"""Voxel data of NRRD and MetaImage: encodings, files, damage, and headers that are not trusted."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_stored import BIG, LITTLE, MAP, TEXT, mha, nrrd
from helpers_typing import SimpleITK, nibabel

from softmorph_cli.errors import FileError, SoftmorphError
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


@pytest.mark.parametrize(("fields", "body"), [
    ("endian: little\nencoding: raw\n", LITTLE),
    ("endian: big\nencoding: raw\n", BIG),
    ("endian: big\nencoding: gzip\n", gzip.compress(BIG)),
    ("endian: little\nencoding: gz\n", gzip.compress(LITTLE[:99]) + gzip.compress(LITTLE[99:]) + bytes(9)),
    ("endian: little\nencoding: bzip2\n", bz2.compress(LITTLE)),
    ("endian: little\nencoding: bz2\n", bz2.compress(LITTLE[:99]) + bz2.compress(LITTLE[99:])),
    ("encoding: ascii\n", TEXT),
    ("encoding: txt\n", TEXT.replace(b"\n", b"  ")),
    ("endian: little\nencoding: hex\n", LITTLE.hex(" ").encode()),
    ("endian: little\nencoding: raw\nline skip: 2\nbyte skip: 3\n", b"one\ntwo\nxyz" + LITTLE),
    ("endian: little\nencoding: raw\nbyte skip: -1\n", b"who knows what" + LITTLE),
    ("endian: little\nencoding: gzip\nbyteskip: 3\nlineskip: 1\n", b"one\n" + gzip.compress(b"xyz" + LITTLE)),
    ("# a comment\nENDIAN: little\nencoding: raw\nkey:=a\\nb\n", LITTLE),
])  # fmt: skip
def test_every_encoding_of_nrrd(tmp_path: Path, fields: str, body: bytes) -> None:
    for newline in ("\n", "\r\n"):
        path = nrrd(tmp_path / "in.nrrd", fields.replace("\n", newline), body)
        path.write_bytes(
            path.read_bytes() if newline == "\n" else path.read_bytes().replace(b"\n\n", b"\r\n\r\n", 1)
        )
        volume = read(path)
        np.testing.assert_array_equal(volume.array, MAP)
        assert volume.notes == ()


@pytest.mark.parametrize(("fields", "body"), [
    ("", LITTLE),
    ("BinaryDataByteOrderMSB = True\n", BIG),
    ("ElementByteOrderMSB = True\n", BIG),
    ("BinaryData = False\n", TEXT),
    ("CompressedData = True\n", zlib.compress(LITTLE)),
    ("CompressedData = True\n", gzip.compress(LITTLE)),
    ("CompressedData = True\nCompressedDataSize = 0\n", zlib.compress(LITTLE)),
    (f"CompressedData = True\nCompressedDataSize = {len(zlib.compress(LITTLE))}\n", zlib.compress(LITTLE)),
    ("HeaderSize = -1\n", b"something" + LITTLE),
    ("ElementToIntensityFunctionSlope = 1\n", LITTLE),
])  # fmt: skip
def test_every_encoding_of_metaimage(tmp_path: Path, fields: str, body: bytes) -> None:
    np.testing.assert_array_equal(read(mha(tmp_path / "in.mha", fields, "LOCAL", body)).array, MAP)
    (tmp_path / "voxels").write_bytes(body)
    np.testing.assert_array_equal(read(mha(tmp_path / "in.mhd", fields, "voxels", b"")).array, MAP)


@pytest.mark.parametrize("packed", [False, True])
def test_voxels_in_many_files(tmp_path: Path, packed: bool) -> None:
    (tmp_path / "slices").mkdir()
    for number, plane in enumerate(MAP):
        raw = plane.astype("<f4").tobytes()
        (tmp_path / "slices" / f"s{number + 8:02}.raw").write_bytes(gzip.compress(raw) if packed else raw)
    names = "".join(f"slices/s{number:02}.raw\n" for number in range(8, 12))
    encoding = f"endian: little\nencoding: {'gzip' if packed else 'raw'}\n"
    for text in (
        "slices/s%02d.raw 8 11 1",
        "slices/s%02d.raw 8 11 1 2",
        f"LIST\n{names}",
        f"LIST 2\n{names}",
    ):
        path = nrrd(tmp_path / "in.nhdr", f"{encoding}data file: {text}\n", b"")
        np.testing.assert_array_equal(read(path).array, MAP)
    fields = f"CompressedData = {packed}\n"
    for text in ("slices/s%02d.raw 8 11 1", f"LIST\n{names}", f"LIST 2D\n{names}"):
        np.testing.assert_array_equal(read(mha(tmp_path / "in.mhd", fields, text, b"")).array, MAP)
    path = nrrd(tmp_path / "in.nhdr", f"{encoding}data file: slices/s%02d.raw 11 8 -1\n", b"")
    np.testing.assert_array_equal(read(path).array, MAP[::-1])


HOSTILE = {
    "NDims": "ObjectType = Image\nNDims = {}\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "DimSize": "ObjectType = Image\nNDims = 2\nDimSize = {}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "channels": "NDims = 2\nDimSize = 4 4\nElementNumberOfChannels = {}\nElementType = MET_UCHAR\n"
    "ElementDataFile = LOCAL\n",
    "matrix": "NDims = 2\nDimSize = 4 4\nElementSpacing = 1 1\nTransformMatrix = {}\nElementType = MET_UCHAR\n"
    "ElementDataFile = LOCAL\n",
    "type": "NDims = 2\nDimSize = 4 4\nElementType = {}\nElementDataFile = LOCAL\n",
    "size": "NDims = 2\nDimSize = 4 4\nCompressedData = True\nCompressedDataSize = {}\nElementType = MET_UCHAR\n"
    "ElementDataFile = LOCAL\n",
    "header": "NDims = 2\nDimSize = 4 4\nHeaderSize = {}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "file": "NDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = {}\n",
    "line": "NDims = 2\nDimSize = 4 4\n{}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    "n type": "NRRD0004\ntype: {}\ndimension: 2\nsizes: 4 4\nencoding: raw\n\n",
    "n dimension": "NRRD0004\ntype: uint8\ndimension: {}\nsizes: 4 4\nencoding: raw\n\n",
    "n sizes": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: {}\nencoding: raw\n\n",
    "n kinds": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nkinds: {}\nencoding: raw\n\n",
    "n directions": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nspace: RAS\nspace directions: {}\n"
    "encoding: raw\n\n",
    "n origin": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nspace: RAS\nspace directions: (1,0,0) (0,1,0)\n"
    "space origin: {}\nencoding: raw\n\n",
    "n units": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nspacings: 1 1\nunits: {}\nencoding: raw\n\n",
    "n skip": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nbyte skip: {}\nencoding: raw\n\n",
    "n lines": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nline skip: {}\nencoding: raw\n\n",
    "n encoding": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nencoding: {}\n\n",
    "n file": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: {}\n\n",
    "n line": "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nencoding: raw\n{}\n\n",
}
WORDS = [
    "", "0", "-1", "1", "32767", "4294967295", "99999999999999999999", "4 4 4", "4 -4", "0 0", "nan nan", "1e400 0",
    "0 0 0 0", "A" * 3000, "%s%s%s%n", "%d", "%99999999d.raw 1 2 1", "x%d 1 999999999 1", "x%d 1 5 0", "\x1b[2J", "\0",
    "(1,2", "(nan,0,0) (0,1,0)", "(1,1) (1,1)", "(1,2,3,4,5) none", "(1,0,0) (1,0,0)", "(1e300,0,0) (0,1e300,0)",
    '"um" "mm"', '"\x1b[2J" "\x1b[2J"', "none none", "list list", "9223372036854775807 9223372036854775807",
    "9223372036854775807 0", "65536 65536", "../x", "/etc/passwd", "/dev/zero", ".", "LIST", "LIST 5", "LOCAL", "ï¬",
]  # fmt: skip


@pytest.mark.parametrize("field", HOSTILE)
def test_every_hostile_field_is_read_or_refused_in_one_line(tmp_path: Path, field: str) -> None:
    path = tmp_path / ("in.nrrd" if field.startswith("n ") else "in.mha")
    refused = 0
    for word in WORDS:
        path.write_bytes(HOSTILE[field].format(word).encode() + bytes(range(16)))
        try:
            for note in (*probe(path).notes, probe(path).found):
                assert note.isprintable()
            shape = read(path, divide_by=255).array.shape
            assert np.prod(shape) <= 16
            write(read(path, divide_by=255), tmp_path / f"out{path.suffix}", force=True)
            assert read(tmp_path / f"out{path.suffix}").array.shape == shape
        except SoftmorphError as error:
            refused += 1
            text = str(error)
            assert text.isprintable(), text
            assert len(text) < 700, text
    assert refused or field in ("n origin", "n units")


@pytest.mark.posix
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_voxels_lie_in_a_plain_file_beside_the_header_or_below(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "study" / "case"
    (folder / "raw").mkdir(parents=True)
    for path in (tmp_path / "out.raw", folder / "beside.raw", folder / "raw" / "below.raw"):
        path.write_bytes(LITTLE)
    os.mkfifo(folder / "pipe.raw")
    (folder / "device.raw").symlink_to("/dev/zero")
    (folder / "link.raw").symlink_to(tmp_path / "out.raw")
    (folder / "inner.raw").symlink_to("beside.raw")
    (folder / "pointer.raw").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 480\n"
    )
    (folder / "loop.raw").symlink_to("loop.raw")
    path = folder / f"in{suffix}"

    def named(name: str) -> Any:
        if suffix == ".mhd":
            return read(mha(path, "", name, b"")).array
        return read(nrrd(path, f"endian: little\nencoding: raw\ndata file: {name}\n", b"")).array

    inside = str(folder / "beside.raw")
    for name in ("beside.raw", "./raw/below.raw", "raw/../beside.raw", "inner.raw", inside):
        np.testing.assert_array_equal(named(name), MAP)
    for name in ("../../out.raw", str(tmp_path / "out.raw"), "pipe.raw", "device.raw", "link.raw", "raw"):
        with pytest.raises(
            FileError, match=rf"keeps its voxels in {re.escape(name)}, which is no plain file"
        ):
            named(name)
    with pytest.raises(FileError, match=r"pointer\.raw is a Git LFS pointer"):
        named("pointer.raw")
    with pytest.raises(FileError, match=r"loop\.raw, which (cannot be read|does not exist)"):
        named("loop.raw")
    with pytest.raises(FileError, match="does not exist; copy the two files together"):
        named("none.raw")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_damaged_data_are_never_read_as_other_values(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    write(Volume(MAP, "ZYX"), path)
    content = path.read_bytes()
    start = len(content.partition(b"LOCAL\n" if suffix == ".mha" else b"\n\n")[0]) + 10
    found = []
    for place in np.linspace(start, len(content) - 1, 120).astype(int):
        for change in (bytes([content[place] ^ 4]), bytes(40), b"not packed"):
            path.write_bytes(content[:place] + change + content[place + len(change) :])
            try:
                np.testing.assert_array_equal(read(path).array, MAP)
            except FileError as error:
                found.append(str(error))
    assert len(found) > 300
    assert all("is cut short or damaged (" in text for text in found)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "zlib", "raw"])
def test_no_memory_is_allocated_for_more_than_a_file_can_hold(tmp_path: Path, kind: str) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "zlib": zlib.compress,
        "raw": bytes,
    }
    body = pack[kind](LITTLE)
    if kind == "zlib":
        path = mha(tmp_path / "in.mha", "CompressedData = True\n", "LOCAL", body, sizes="65000 65000 65000")
    else:
        fields = f"endian: little\nencoding: {kind}\n"
        path = nrrd(tmp_path / "in.nrrd", fields, body, sizes="65000 65000 65000")
    with pytest.raises(FileError, match=r"is cut short or damaged \(it ends too early\)"):
        read(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_a_file_that_ends_within_its_header_is_cut_short(tmp_path: Path, suffix: str) -> None:
    path, packed = tmp_path / f"in{suffix}", suffix == ".nii.gz"
    write(Volume(MAP, "ZYX", (2.0, 0.75, 0.5), "mm"), path)
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    if suffix.startswith(".nii"):
        second = nibabel.Nifti2Image(MAP.T, np.diag([0.5, 0.75, 2.0, 1.0])).to_bytes()
        cases = [(content, 348, 352), (second, 12, 544)]
    else:
        end = content.index(b"\n\n") + 1 if suffix == ".nrrd" else content.index(b"LOCAL") + 5
        cases = [(content, 12, end)]
    for whole, first, end in cases:
        for length in range(first, end):
            path.write_bytes(gzip.compress(whole[:length]) if packed else whole[:length])
            with pytest.raises(FileError, match=r"is cut short or damaged \(it ends too early\)"):
                read(path)
    # A line in the middle that is no field is not the end of a file.
    if suffix in (".nrrd", ".mha"):
        path.write_bytes(content[:12] + b"\nnonsense\nsizes: 4 4\n")
        with pytest.raises(FileError, match="a line that is no field"):
            read(path)


def test_bytes_are_skipped_before_packed_voxels_too(tmp_path: Path) -> None:
    fields = "CompressedData = True\nHeaderSize = 5\n"
    (tmp_path / "voxels").write_bytes(b"12345" + zlib.compress(LITTLE))
    np.testing.assert_array_equal(read(mha(tmp_path / "in.mhd", fields, "voxels", b"")).array, MAP)
    for number, half in enumerate((LITTLE[:240], LITTLE[240:])):
        (tmp_path / f"part{number}").write_bytes(b"12345" + zlib.compress(half))
    np.testing.assert_array_equal(
        read(mha(tmp_path / "in.mhd", fields, "LIST\npart0\npart1\n", b"")).array, MAP
    )


def test_more_numbers_than_a_header_says(tmp_path: Path) -> None:
    fields = "endian: little\nencoding: "
    for encoding, body, more in (
        ("raw", LITTLE, 120),
        ("gzip", gzip.compress(LITTLE), 120),
        ("bzip2", bz2.compress(LITTLE), 120),
        ("hex", LITTLE.hex().encode(), 240),
        ("text", TEXT, sum(len(word) for word in TEXT.split()[90:])),
    ):
        volume = read(nrrd(tmp_path / "in.nrrd", f"{fields}{encoding}\n", body, sizes="6 5 3"))
        np.testing.assert_array_equal(volume.array, MAP[:3])
        assert volume.notes == (f"{more} bytes behind its voxels are not used.",)
    for packed in ("False", "True"):
        body = zlib.compress(LITTLE) if packed == "True" else LITTLE
        volume = read(mha(tmp_path / "in.mha", f"CompressedData = {packed}\n", "LOCAL", body, sizes="6 5 3"))
        np.testing.assert_array_equal(volume.array, MAP[:3])
        assert volume.notes == ("120 bytes behind its voxels are not used.",)


@pytest.mark.parametrize(("text", "message"), [
    ("NDims = 32767\nDimSize = 4 4\n", "NDims '32767', where a whole number from 1 to 16 belongs"),
    ("NDims = 2.5\nDimSize = 4 4\n", "NDims '2.5', where a whole number from 1 to 16 belongs"),
    ("NDims = 2\nDimSize = 4 -4\n", "DimSize '4 -4', where a list of 2 whole numbers from 0 on belongs"),
    ("NDims = 2\nDimSize = 16\n", "DimSize '16', where a list of 2 whole numbers from 0 on belongs"),
    ("DimSize = 4 4\n", "no NDims, where a whole number from 1 to 16 belongs"),
])  # fmt: skip
def test_an_impossible_number_is_refused_with_the_possible_ones(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "in.mha"
    path.write_bytes(
        f"ObjectType = Image\n{text}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n".encode() + bytes(16)
    )
    with pytest.raises(FileError, match=re.escape(f"has a MetaImage header with {message}; correct it")):
        read(path)


@pytest.mark.parametrize(("text", "reason"), [
    ("encoding: zrl\n", "its encoding is 'zrl'; write it with raw, gzip, bzip2 or text"),
    ("", "it has no encoding"),
])  # fmt: skip
def test_the_reason_why_an_intact_file_is_not_read_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = nrrd(tmp_path / "in.nrrd", f"endian: little\n{text}", LITTLE)
    with pytest.raises(FileError, match=f"is a valid NRRD that softmorph cannot read: {re.escape(reason)}"):
        read(path)


@pytest.mark.parametrize("between", [b" ", b"\t", b"\r\n", b",", b", "])
def test_text_longer_than_a_piece(between: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softmorph_cli.io.voxel_data._PIECE", 7)
    path = nrrd(tmp_path / "in.nrrd", "encoding: ascii\n", TEXT.replace(b"\n", between))
    np.testing.assert_array_equal(read(path).array, MAP)


@pytest.mark.parametrize("width", [None, 5, 9])
def test_hexadecimal_digits_in_lines_of_any_length(
    width: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("softmorph_cli.io.voxel_data._PIECE", 7)
    digits = LITTLE.hex()
    lines = "\n".join(
        digits[k : k + (width or len(digits))] for k in range(0, len(digits), width or len(digits))
    )
    path = nrrd(tmp_path / "in.nrrd", "endian: little\nencoding: hex\n", lines.encode())
    np.testing.assert_array_equal(read(path).array, MAP)


def test_a_word_of_text_that_is_no_number_is_damage(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "in.nrrd", "encoding: ascii\n", b"1" * 500_000 + b" " + TEXT)
    with pytest.raises(FileError, match="a word of over 400 characters"):
        read(path)


def test_damaged_bzip2_data_are_damage(tmp_path: Path) -> None:
    packed = bytearray(bz2.compress(LITTLE))
    packed[len(packed) // 2] ^= 1
    path = nrrd(tmp_path / "in.nrrd", "endian: little\nencoding: bzip2\n", bytes(packed))
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


def test_a_header_and_its_voxels_may_both_be_links(tmp_path: Path) -> None:
    for folder in ("data", "work"):
        (tmp_path / folder).mkdir()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(MAP), tmp_path / "data" / "in.mhd")
    for name in ("in.mhd", "in.raw"):
        (tmp_path / "work" / name).symlink_to(tmp_path / "data" / name)
    np.testing.assert_array_equal(read(tmp_path / "work" / "in.mhd").array, MAP)
    # The voxels alone may be a link to anything.
    (tmp_path / "work" / "in.mhd").unlink()
    (tmp_path / "work" / "in.mhd").write_bytes((tmp_path / "data" / "in.mhd").read_bytes())
    with pytest.raises(FileError, match="no plain file beside or below"):
        read(tmp_path / "work" / "in.mhd")
