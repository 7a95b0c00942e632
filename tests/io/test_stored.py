"""NRRD and MetaImage: read as ITK reads them, written as ITK reads them, and no header is trusted."""

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
from helpers_typing import SimpleITK, nibabel, present

from softmorph_cli.errors import FileError, SoftmorphError
from softmorph_cli.io import probe, read, write
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
MAP = RNG.random((4, 5, 6), dtype=np.float32)
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1.0]])


def image(array: Any, *, vector: bool = False) -> Any:
    found = SimpleITK.GetImageFromArray(array, isVector=vector)
    dims = found.GetDimension()
    turn = np.eye(dims)
    turn[: min(dims, 3), : min(dims, 3)] = TURN[: min(dims, 3), : min(dims, 3)]
    found.SetDirection(turn.ravel().tolist())
    found.SetSpacing([0.5, 0.75, 2.0, 1.0][:dims])
    found.SetOrigin([3.0, -4.0, 5.0, 0.0][:dims])
    return found


def where(found: Any, index: tuple[int, ...]) -> list[float]:
    """An index of an ITK image, x first, in RAS; planes lie at z = 0."""
    at = found.TransformIndexToPhysicalPoint(index)
    return [-at[0], -at[1], *(at[2:3] or (0.0,))]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("shape", "vector"), [
    ((4, 5, 6), False), ((5, 6), False), ((2, 4, 5, 6), False), ((4, 5, 6, 3), True), ((5, 6, 2), True),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "u4"])
def test_what_itk_writes_is_read_as_itk_reads_it(
    tmp_path: Path, suffix: str, packed: bool, shape: tuple[int, ...], vector: bool, dtype: str
) -> None:
    array = RNG.integers(0, 2, shape).astype(dtype)
    theirs = image(array, vector=vector)
    SimpleITK.WriteImage(theirs, tmp_path / f"in{suffix}", packed)
    channel = 1 if vector and dtype == "u1" and shape[-1] == 3 else None
    volume = read(tmp_path / f"in{suffix}", channel=channel)
    wanted = np.moveaxis(array, -1, 0) if vector else array
    np.testing.assert_array_equal(volume.array, wanted if channel is None else wanted[channel])
    assert volume.spacing == (2.0, 0.75, 0.5)[-volume.spatial_dims :]
    # ITK's NRRD of any other dimension than 3 names no space.
    if (volume.spatial_dims == 3 and len(shape) - vector == 3) or suffix.startswith(".m"):
        assert volume.affine is not None
        dims = theirs.GetDimension()
        for index in ((0, 0, 0, 0), (4, 0, 0, 0), (1, 3, 2 * (dims > 2), 0)):
            found = volume.affine @ [*index[2::-1], 1]
            np.testing.assert_allclose(found[:3], where(theirs, index[:dims]), atol=1e-12)


def flat_affine() -> Any:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0.3, -0.4], [0, 0.4, 0.3], [1, 0, 0]])
    affine[:3, 3] = 7, -8, 0
    return affine


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TZYX", "CZYX", "TYX", "CYX", "TCZYX"])
@pytest.mark.parametrize("stored", ["float32", "uint8", "uint16"])
def test_what_is_written_is_read_by_itk(
    tmp_path: Path, suffix: str, axes: str, stored: str, volume: Volume
) -> None:
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
    array = RNG.random(tuple(sizes[axis] for axis in axes), dtype=np.float32)
    dims = 3 if axes.endswith("ZYX") else 2
    affine = present(volume.affine) if dims == 3 else flat_affine()
    spacing = tuple(np.linalg.norm(affine[:3, 3 - dims : 3], axis=0).tolist())
    mine = Volume(array, axes, spacing, "mm", affine)
    write(mine, tmp_path / f"map{suffix}", output_type=stored, provenance={"command": 'a "quoted" \\ path'})
    # ITK keeps no shear.
    if dims == 2:
        theirs = SimpleITK.ReadImage(tmp_path / f"map{suffix}")
        values = SimpleITK.GetArrayFromImage(theirs)
        one = {"float32": 1, "uint8": 255, "uint16": 65535}[stored]
        order = [axis for axis in axes if axis != "C"] + ["C"] * ("C" in axes)
        wanted = array.transpose([axes.index(axis) for axis in order])
        wanted = np.expand_dims(wanted, 1) if "T" in axes else wanted
        np.testing.assert_allclose(values / one, wanted, atol=0.51 / one if one > 1 else 0)
        np.testing.assert_allclose(theirs.GetSpacing()[:2], (0.5, 0.5))
        index = (4, 3, 0, 1)[: theirs.GetDimension()]
        np.testing.assert_allclose(where(theirs, index)[:2], (affine @ [0, 3, 4, 1])[:2])
        assert theirs.GetMetaData("softmorph") == '{"command": "a \\"quoted\\" \\\\ path"}'
    again = read(tmp_path / f"map{suffix}")
    assert again.source is not None
    assert again.source.provenance == {"command": 'a "quoted" \\ path'}
    assert again.unit == "mm"
    assert again.spacing == pytest.approx(spacing)
    if dims == 3 or suffix == ".mha":
        np.testing.assert_allclose(present(again.affine), affine, atol=1e-12)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_turned_volume_is_where_itk_puts_it(tmp_path: Path, suffix: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = TURN[:, ::-1] * (2.0, 0.75, 0.5)
    affine[:3, 3] = 3, -4, 5
    for axes, shape in (("ZYX", (4, 5, 6)), ("CZYX", (3, 4, 5, 6)), ("TZYX", (2, 4, 5, 6))):
        mine = Volume(RNG.random(shape, dtype=np.float32), axes, (2.0, 0.75, 0.5), "mm", affine)
        write(mine, tmp_path / f"map{suffix}", force=True)
        theirs = SimpleITK.ReadImage(tmp_path / f"map{suffix}")
        index = (5, 3, 2, 1)[: theirs.GetDimension()]
        np.testing.assert_allclose(where(theirs, index), (affine @ [2, 3, 5, 1])[:3], atol=1e-12)
        np.testing.assert_allclose(theirs.GetSpacing()[:3], (0.5, 0.75, 2.0))
        values = SimpleITK.GetArrayFromImage(theirs)
        np.testing.assert_array_equal(np.moveaxis(values, -1, 0) if axes[0] == "C" else values, mine.array)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_size_that_nobody_knows_is_not_made_up(tmp_path: Path, suffix: str) -> None:
    write(Volume(MAP, "ZYX"), tmp_path / f"map{suffix}")
    again = read(tmp_path / f"map{suffix}")
    assert (again.spacing, again.unit, again.affine) == (None, None, None)
    assert (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / f"map{suffix}")).tolist() == MAP.tolist()
    )


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axes", ["ZYX", "YX", "CZYX", "TZYX", "TYX", "CYX"])
@pytest.mark.parametrize("unit", ["mm", "um", "nm", None])
def test_a_size_without_a_place_comes_back(tmp_path: Path, suffix: str, axes: str, unit: str | None) -> None:
    sizes = (2.0, 0.75, 0.5)[3 - len(axes.strip("CT")) :]
    shape = tuple({"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}[axis] for axis in axes)
    array = RNG.random(shape, dtype=np.float32)
    write(Volume(array, axes, sizes, unit), tmp_path / f"map{suffix}")
    again = read(tmp_path / f"map{suffix}")
    np.testing.assert_array_equal(again.array, array)
    # MetaImage is written in mm; where the unit is unknown `write` told so.
    factor = {"um": 1e-3, "nm": 1e-6}.get(unit or "", 1) if suffix == ".mha" else 1
    assert again.spacing == pytest.approx([size * factor for size in sizes])
    assert again.unit == (unit if suffix == ".nrrd" else "mm")
    theirs = SimpleITK.ReadImage(tmp_path / f"map{suffix}").GetSpacing()
    assert theirs[: len(sizes)] == pytest.approx(present(again.spacing)[::-1])


def nrrd(path: Path, fields: str, body: bytes, *, sizes: str = "6 5 4", type_: str = "float") -> Path:
    dims = len(sizes.split())
    head = f"NRRD0005\ntype: {type_}\ndimension: {dims}\nsizes: {sizes}\n{fields}"
    path.write_bytes(head.encode() + b"\n" + body)
    return path


LITTLE, BIG = MAP.astype("<f4").tobytes(), MAP.astype(">f4").tobytes()
TEXT = "\n".join(repr(float(value)) for value in MAP.ravel()).encode()


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


def mha(
    path: Path, fields: str, data: str, body: bytes, *, sizes: str = "6 5 4", type_: str = "MET_FLOAT"
) -> Path:
    head = f"ObjectType = Image\nNDims = {len(sizes.split())}\nDimSize = {sizes}\n{fields}ElementType = {type_}\n"
    path.write_bytes(f"{head}ElementDataFile = {data}\n".encode() + body)
    return path


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


def test_a_slope_of_metaimage_is_used(tmp_path: Path) -> None:
    stored = RNG.integers(0, 101, (4, 5, 6)).astype("u1")
    path = mha(
        tmp_path / "in.mha",
        "ElementToIntensityFunctionSlope = 0.0025\nElementToIntensityFunctionOffset = 0.5\n",
        "LOCAL",
        stored.tobytes(),
        type_="MET_UCHAR",
    )
    volume = read(path)
    np.testing.assert_allclose(volume.array, stored * 0.0025 + 0.5, atol=1e-6)
    assert len(volume.notes) == 1
    assert "are the stored numbers times 0.0025 plus 0.5" in volume.notes[0]
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)), stored)
    # The result is not scaled twice.
    write(volume, tmp_path / "out.mha")
    assert np.array_equal(read(tmp_path / "out.mha").array, volume.array)


@pytest.mark.parametrize(("unit", "spacing", "wanted"), [
    ("um", (3, 2, 1), "um"), ("mm", (3, 2, 1), "mm"), ("cm", (30, 20, 10), "mm"), ("?", (3, 2, 1), None),
])  # fmt: skip
def test_the_unit_that_a_metaimage_names_is_used(
    tmp_path: Path, unit: str, spacing: Any, wanted: str | None
) -> None:
    fields = f"ElementSpacing = 1 2 3\nOffset = 4 5 6\nDistanceUnits = {unit}\n"
    volume = read(mha(tmp_path / "in.mha", fields, "LOCAL", LITTLE))
    assert (volume.spacing, volume.unit) == (spacing, wanted)
    assert len(volume.notes) == (wanted is None)
    if wanted is None:
        assert volume.affine is None
        return
    one = {"um": 1e-3, "mm": 1, "cm": 10}[unit]
    np.testing.assert_allclose(present(volume.affine)[:3, 3], [-4 * one, -5 * one, 6 * one])
    write(volume, tmp_path / "out.mha")
    theirs = SimpleITK.ReadImage(tmp_path / "out.mha")
    np.testing.assert_allclose(theirs.GetSpacing(), [one, 2 * one, 3 * one])
    np.testing.assert_allclose(theirs.GetOrigin(), [4 * one, 5 * one, 6 * one])


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


SPACE = "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (1,2,3)\nendian: little\nencoding: raw\n"


@pytest.mark.parametrize(("space", "wanted", "note"), [
    ("left-posterior-superior", [[0, 0, -2, -1], [0, -3, 0, -2], [4, 0, 0, 3]], ""),
    ("LPS", [[0, 0, -2, -1], [0, -3, 0, -2], [4, 0, 0, 3]], ""),
    ("right-anterior-superior", [[0, 0, 2, 1], [0, 3, 0, 2], [4, 0, 0, 3]], ""),
    ("RAS", [[0, 0, 2, 1], [0, 3, 0, 2], [4, 0, 0, 3]], ""),
    ("left-anterior-superior", [[0, 0, -2, -1], [0, 3, 0, 2], [4, 0, 0, 3]], ""),
    ("scanner-xyz", [[0, 0, -2, -1], [0, -3, 0, -2], [4, 0, 0, 3]], "names no sides of a body"),
])  # fmt: skip
def test_spaces_of_nrrd(tmp_path: Path, space: str, wanted: Any, note: str) -> None:
    path = nrrd(tmp_path / "in.nrrd", f"space: {space}\n{SPACE}", LITTLE)
    volume = read(path)
    np.testing.assert_allclose(present(volume.affine)[:3], wanted)
    assert note in "".join(volume.notes)
    assert bool(note) == bool(volume.notes)
    theirs = SimpleITK.ReadImage(path)
    np.testing.assert_allclose((present(volume.affine) @ [2, 3, 5, 1])[:3], where(theirs, (5, 3, 2)))


@pytest.mark.parametrize(("fields", "sizes", "axes", "spacing"), [
    ("kinds: time space space\nspacings: 7 2 3\n", "6 5 4", "TYX", (3, 2)),
    ("kinds: space space time\nspacings: 2 3 7\n", "6 5 4", "TYX", (3, 2)),
    ("kinds: space space list\nspacings: 2 3 nan\n", "6 5 4", "CYX", (3, 2)),
    ("kinds: list space space\nspacings: nan 2 3\n", "6 5 4", "CYX", (3, 2)),
    ("space dimension: 3\nspace directions: none (2,0,0) (0,3,0)\n", "6 5 4", "CYX", (3, 2)),
    ("space: LPS\nspace directions: (2,0,0) (0,0,3) (nan,nan,nan)\nspace origin: (0,0,0)\n", "6 5 4", "TYX", (3, 2)),
    ("spacings: 2 3 4 5\n", "3 2 4 5", "TZYX", (4, 3, 2)),
    ("", "6 5 4", "ZYX", None),
])  # fmt: skip
def test_axes_of_nrrd(tmp_path: Path, fields: str, sizes: str, axes: str, spacing: Any) -> None:
    path = nrrd(tmp_path / "in.nrrd", f"{fields}endian: little\nencoding: raw\n", LITTLE, sizes=sizes)
    volume = read(path)
    assert (volume.axes, volume.spacing) == (axes, spacing)
    # Only an axis that was the fastest moves.
    stored = np.frombuffer(LITTLE, "<f4").reshape([int(size) for size in reversed(sizes.split())])
    moved = re.search(r"kinds: (time|list)|directions: none", fields) is not None
    np.testing.assert_array_equal(volume.array, np.moveaxis(stored, -1, 0) if moved else stored)


@pytest.mark.parametrize(("directions", "origin", "told"), [
    ("(2,0,0) (0,3,0) (0,0,4)", "(0,0,0)", False), ("(2,0,0) (0,3,0) (0,0,4)", "(0,0,7)", True),
    ("(0,2,0) (3,0,0) (0,0,4)", "(0,0,0)", True), ("(-2,0,0) (0,3,0) (0,0,4)", "(0,0,0)", True),
])  # fmt: skip
def test_a_place_in_no_named_space_is_not_dropped_in_silence(
    tmp_path: Path, directions: str, origin: str, told: bool
) -> None:
    fields = f"space dimension: 3\nspace directions: {directions}\nspace origin: {origin}\n"
    volume = read(nrrd(tmp_path / "in.nrrd", f"{fields}endian: little\nencoding: raw\n", LITTLE))
    assert (volume.spacing, volume.affine) == ((4, 3, 2), None)
    assert ("names no space" in "".join(volume.notes)) == told


def test_a_plane_in_space_keeps_its_place(tmp_path: Path) -> None:
    fields = "space: LPS\nspace directions: (0,2,0) (0,0,3)\nspace origin: (1,2,3)\nendian: little\nencoding: raw\n"
    volume = read(nrrd(tmp_path / "in.nrrd", fields, LITTLE, sizes="6 20"))
    np.testing.assert_allclose(present(volume.affine) @ [0, 4, 5, 1], [-1, -2 - 10, 3 + 12, 1])
    for suffix in (".nrrd", ".mha", ".nii"):
        write(volume, tmp_path / f"out{suffix}")
        again = read(tmp_path / f"out{suffix}")
        np.testing.assert_allclose(present(again.affine), present(volume.affine), atol=1e-6)


def test_what_a_header_says_besides_is_written_again(tmp_path: Path) -> None:
    fields = "content: a brain\npatient:=no\\nbody \\\\ here\nendian: little\nencoding: raw\n"
    write(read(nrrd(tmp_path / "in.nrrd", fields, LITTLE)), tmp_path / "out.nrrd")
    head = (tmp_path / "out.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert "\ncontent: a brain\npatient:=no\\nbody \\\\ here" in head
    # Bytes that are no UTF-8 too.
    path = mha(
        tmp_path / "in.mha", "Operator = M*ller\nComment = mine\nModality = MET_MOD_CT\n", "LOCAL", LITTLE
    )
    path.write_bytes(path.read_bytes().replace(b"M*ller", b"M\xfcller"))
    write(read(path), tmp_path / "out.mha")
    head = (tmp_path / "out.mha").read_bytes().split(b"ElementDataFile")[0].decode()
    assert "Operator = Müller\nComment = mine\nModality = MET_MOD_CT\n" in head


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
def test_whatever_a_header_says_is_read_or_refused_in_one_line(tmp_path: Path, field: str) -> None:
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
def test_no_memory_is_taken_for_what_a_file_cannot_hold(tmp_path: Path, kind: str) -> None:
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


@pytest.mark.parametrize(("directions", "origin", "note"), [
    ("(1,0,0) (0,1,0) (0,0,1)", "(nan,0,0)", "its space origin (nan,0,0) places no voxels"),
    ("(0,1,0) (0,1,0) (0,0,1)", "(7,0,0)", "its space directions (0,1,0) (0,1,0) (0,0,1) place no voxels"),
])  # fmt: skip
def test_a_nrrd_that_places_nothing_names_the_field(
    tmp_path: Path, directions: str, origin: str, note: str
) -> None:
    fields = (
        f"space: RAS\nspace directions: {directions}\nspace origin: {origin}\nendian: little\nencoding: raw\n"
    )
    volume = read(nrrd(tmp_path / "in.nrrd", fields, LITTLE))
    assert volume.affine is None
    assert len(volume.notes) == 1
    assert note in volume.notes[0]


def test_a_number_beyond_its_bounds_names_both(tmp_path: Path) -> None:
    path = tmp_path / "in.nrrd"
    path.write_bytes(b"NRRD0005\ntype: float\ndimension: 17\n\n")
    with pytest.raises(FileError, match="dimension '17', where a whole number from 1 to 16 belongs"):
        read(path)
    with pytest.raises(
        FileError, match="DimSize '6 -5 4', where a list of 3 whole numbers from 0 on belongs"
    ):
        read(mha(tmp_path / "in.mha", "", "LOCAL", LITTLE, sizes="6 -5 4"))


@pytest.mark.parametrize(
    ("fields", "record"),
    [
        ("old min: 0\nold max: 1\n", "old min 0 and old max 1 record"),
        ("oldmin: -3.5\noldmax: 4\n", "old min -3.5 and old max 4 record"),
        ("old max: 1\n", "old max 1 record"),
    ],
)
def test_the_range_before_a_quantisation_is_noted_and_not_applied(
    tmp_path: Path, fields: str, record: str
) -> None:
    header = f"NRRD0005\ntype: uint8\ndimension: 2\nsizes: 3 2\nencoding: raw\n{fields}\n"
    (tmp_path / "map.nrrd").write_bytes(header.encode() + bytes([0, 51, 102, 153, 204, 255]))
    volume = read(tmp_path / "map.nrrd", divide_by=255)
    np.testing.assert_allclose(volume.array, [[0, 0.2, 0.4], [0.6, 0.8, 1]], rtol=1e-6)
    assert volume.notes == (f"its {record} how it was quantised; its values are taken as they are stored.",)


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


@pytest.mark.parametrize(("text", "says"), [
    ("NDims = 32767\nDimSize = 4 4\n", "NDims '32767', where a whole number from 1 to 16 belongs"),
    ("NDims = 2.5\nDimSize = 4 4\n", "NDims '2.5', where a whole number from 1 to 16 belongs"),
    ("NDims = 2\nDimSize = 4 -4\n", "DimSize '4 -4', where a list of 2 whole numbers from 0 on belongs"),
    ("NDims = 2\nDimSize = 16\n", "DimSize '16', where a list of 2 whole numbers from 0 on belongs"),
    ("DimSize = 4 4\n", "no NDims, where a whole number from 1 to 16 belongs"),
])  # fmt: skip
def test_a_number_of_a_header_that_cannot_be_says_what_could(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "in.mha"
    path.write_bytes(
        f"ObjectType = Image\n{text}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n".encode() + bytes(16)
    )
    with pytest.raises(FileError, match=re.escape(f"has a MetaImage header with {says}; correct it")):
        read(path)


@pytest.mark.parametrize(("text", "reason"), [
    ("encoding: zrl\n", "its encoding is 'zrl'; write it with raw, gzip, bzip2 or text"),
    ("", "it has no encoding"),
])  # fmt: skip
def test_an_intact_file_that_is_not_read_says_why(tmp_path: Path, text: str, reason: str) -> None:
    path = nrrd(tmp_path / "in.nrrd", f"endian: little\n{text}", LITTLE)
    with pytest.raises(FileError, match=f"is a valid NRRD that softmorph cannot read: {re.escape(reason)}"):
        read(path)


@pytest.mark.parametrize(("fields", "spacing", "note"), [
    ("ElementSpacing = 0.5 0.6 0\n", None, "its ElementSpacing 0.5 0.6 0 is no valid voxel size"),
    ("ElementSpacing = 0.5 0.6 nan\n", None, "its ElementSpacing 0.5 0.6 nan is no valid voxel size"),
    ("ElementSpacing = 1 2 3\nTransformMatrix = 0 0 0 0 0 0 0 0 0\n", (3, 2, 1), "its TransformMatrix 0 0 0 0"),
    ("ElementSpacing = 1 2 3\nTransformMatrix = 1 0 0 1 0 0 0 0 1\n", (3, 2, 1), "places no voxels"),
    ("ElementSpacing = 1 2 3\nOffset = inf 0 0\n", (3, 2, 1), "its Offset inf 0 0 places no voxels"),
    ("ElementSpacing = 1 2 3\nRotation = 0 1 0 1 0 0 0 0 1\nOffset = nan 0 0\n", (3, 2, 1), "its Offset nan 0 0"),
    ("Offset = 1 2 3\n", None, "it has no ElementSpacing: its orientation and origin are left out"),
    ("TransformMatrix = 0 1 0 1 0 0 0 0 1\n", None, "it has no ElementSpacing: its orientation and origin"),
])  # fmt: skip
def test_a_metaimage_that_places_nothing_is_read_with_a_note(
    tmp_path: Path, fields: str, spacing: Any, note: str
) -> None:
    volume = read(mha(tmp_path / "in.mha", fields, "LOCAL", LITTLE))
    np.testing.assert_array_equal(volume.array, MAP)
    assert (volume.spacing, volume.affine) == (spacing, None)
    assert len(volume.notes) == 1
    assert note in volume.notes[0]
    write(volume, tmp_path / "out.nrrd")
    assert read(tmp_path / "out.nrrd").spacing == spacing


def test_a_size_that_places_no_voxels_is_named(tmp_path: Path) -> None:
    notes = probe(mha(tmp_path / "in.mha", "ElementSpacing = 1e200 2 3\n", "LOCAL", LITTLE)).notes
    assert "its ElementSpacing 1e200 2 3 places no voxels; orientation and origin are left out." in notes


@pytest.mark.parametrize("large", ["1e308", "-1e200", "inf"])
def test_directions_without_an_end_are_told_and_left_out(tmp_path: Path, large: str) -> None:
    fields = {
        ".nrrd": "NRRD0005\ntype: float\ndimension: 3\nspace: RAS\nsizes: 6 5 4\nendian: little\nencoding: raw\n"
        f"space directions: (1,0,0) (0,{large},0) (0,0,1)\nspace origin: (0,0,0)\n\n",
        ".mha": "NDims = 3\nDimSize = 6 5 4\nElementSpacing = 1 1 1\nElementType = MET_FLOAT\n"
        f"TransformMatrix = 1 0 0 0 {large} 0 0 0 1\nElementDataFile = LOCAL\n",
    }
    for suffix, head in fields.items():
        (tmp_path / f"in{suffix}").write_bytes(head.encode() + MAP.tobytes())
        volume = read(tmp_path / f"in{suffix}")
        notes = " ".join(volume.notes)
        assert "place no voxels" in notes or "places no voxels" in notes or "no valid voxel size" in notes
        np.testing.assert_array_equal(volume.array, MAP)
        assert volume.affine is None


@pytest.mark.parametrize("between", [b" ", b"\t", b"\r\n", b",", b", "])
def test_text_longer_than_what_is_read_at_once(
    between: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_word_of_text_that_is_no_number(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "in.nrrd", "encoding: ascii\n", b"1" * 500_000 + b" " + TEXT)
    with pytest.raises(FileError, match="a word of over 400 characters"):
        read(path)


def test_damage_of_bzip2_is_damage(tmp_path: Path) -> None:
    packed = bytearray(bz2.compress(LITTLE))
    packed[len(packed) // 2] ^= 1
    path = nrrd(tmp_path / "in.nrrd", "endian: little\nencoding: bzip2\n", bytes(packed))
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


@pytest.mark.parametrize(
    ("field", "instead"),
    [
        ("ElementSpacing = 0.5 0.5 2", "ElementSpacing = -0.5 0.5 2"),
        ("DimSize = 6 5 4", "DimSize: 6 5 4"),
        ("ObjectType = Image", "ObjectType = image"),
        ("ElementDataFile = LOCAL", "ElementDataFile: LOCAL"),
    ],
)
def test_rare_spellings_of_metaimage_are_read_as_itk_reads_them(
    tmp_path: Path, field: str, instead: str
) -> None:
    values = np.random.default_rng(3).random((4, 5, 6)).astype("<f4")
    path = tmp_path / "in.mha"
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nTransformMatrix = 0 1 0 1 0 0 0 0 1\nOffset = 1 2 3\n"
        "ElementSpacing = 0.5 0.5 2\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
    )
    assert field in header
    path.write_bytes(header.replace(field, instead).encode() + values.tobytes())
    image, volume = SimpleITK.ReadImage(str(path)), read(path)
    assert np.array_equal(volume.array, SimpleITK.GetArrayFromImage(image))
    assert volume.affine is not None
    for z, y, x in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        there = volume.affine @ (z, y, x, 1)
        assert np.allclose(there[:3] * (-1, -1, 1), image.TransformIndexToPhysicalPoint((x, y, z)))


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
