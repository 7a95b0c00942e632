"""NRRD and MetaImage: geometry, units and fields agree with ITK, read and written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from helpers_stored import LITTLE, MAP, RNG, SPACE, TURN, flat_affine, image, mha, nrrd, where
from helpers_typing import SimpleITK, present

from softmorph_cli.errors import FileError
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nhdr", ".mhd"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("shape", "vector"), [
    ((4, 5, 6), False), ((5, 6), False), ((2, 4, 5, 6), False), ((4, 5, 6, 3), True), ((5, 6, 2), True),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "u4"])
def test_files_of_itk_are_read_as_itk_reads_them(
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


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TZYX", "CZYX", "TYX", "CYX", "TCZYX"])
@pytest.mark.parametrize("stored", ["float32", "uint8", "uint16"])
def test_itk_reads_the_files_that_are_written(
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
def test_an_unknown_voxel_size_stays_unknown(tmp_path: Path, suffix: str) -> None:
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
    # MetaImage is written in mm; `write` reports an unknown unit.
    factor = {"um": 1e-3, "nm": 1e-6}.get(unit or "", 1) if suffix == ".mha" else 1
    assert again.spacing == pytest.approx([size * factor for size in sizes])
    assert again.unit == (unit if suffix == ".nrrd" else "mm")
    theirs = SimpleITK.ReadImage(tmp_path / f"map{suffix}").GetSpacing()
    assert theirs[: len(sizes)] == pytest.approx(present(again.spacing)[::-1])


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


NO_UNIT = "its header names no unit of length, and mm is taken, as ITK does; unit='um' takes µm."


def test_a_header_without_a_unit_is_told_once_and_not_where_a_unit_is_stated(tmp_path: Path) -> None:
    bare = mha(tmp_path / "bare.mha", "ElementSpacing = 1 2 3\n", "LOCAL", LITTLE)
    for fields, options, unit, notes in (
        ("ElementSpacing = 1 2 3\n", {}, "mm", (NO_UNIT,)),
        ("ElementSpacing = 1 2 3\nDistanceUnits = mm\n", {}, "mm", ()),
        ("ElementSpacing = 1 2 3\n", {"unit": "mm"}, "mm", ()),
        ("", {}, None, ()),
    ):
        volume = read(mha(tmp_path / "in.mha", fields, "LOCAL", LITTLE), **cast(Any, options))
        assert (volume.unit, volume.notes) == (unit, notes), fields
    assert read(bare, unit="um").unit == "um"
    # What softmorph writes names its unit, and ITK reads it as before.
    for suffix in (".mha", ".nrrd"):
        write(read(bare), tmp_path / f"out{suffix}")
        again = read(tmp_path / f"out{suffix}")
        assert (again.spacing, again.unit, again.notes) == ((3, 2, 1), "mm", ())
        assert SimpleITK.ReadImage(tmp_path / f"out{suffix}").GetSpacing() == (1, 2, 3)


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
    *others, last = volume.notes
    assert last == NO_UNIT
    assert note in "".join(others)
    assert bool(note) == bool(others)
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


@pytest.mark.parametrize(("directions", "origin", "stated"), [
    ("(2,0,0) (0,3,0) (0,0,4)", "(0,0,0)", False), ("(2,0,0) (0,3,0) (0,0,4)", "(0,0,7)", True),
    ("(0,2,0) (3,0,0) (0,0,4)", "(0,0,0)", True), ("(-2,0,0) (0,3,0) (0,0,4)", "(0,0,0)", True),
])  # fmt: skip
def test_a_dropped_position_in_no_named_space_has_a_note(
    tmp_path: Path, directions: str, origin: str, stated: bool
) -> None:
    fields = f"space dimension: 3\nspace directions: {directions}\nspace origin: {origin}\n"
    volume = read(nrrd(tmp_path / "in.nrrd", f"{fields}endian: little\nencoding: raw\n", LITTLE))
    assert (volume.spacing, volume.affine) == ((4, 3, 2), None)
    assert ("names no space" in "".join(volume.notes)) == stated


def test_a_plane_in_space_keeps_its_place(tmp_path: Path) -> None:
    fields = "space: LPS\nspace directions: (0,2,0) (0,0,3)\nspace origin: (1,2,3)\nendian: little\nencoding: raw\n"
    volume = read(nrrd(tmp_path / "in.nrrd", fields, LITTLE, sizes="6 20"))
    np.testing.assert_allclose(present(volume.affine) @ [0, 4, 5, 1], [-1, -2 - 10, 3 + 12, 1])
    for suffix in (".nrrd", ".mha", ".nii"):
        write(volume, tmp_path / f"out{suffix}")
        again = read(tmp_path / f"out{suffix}")
        np.testing.assert_allclose(present(again.affine), present(volume.affine), atol=1e-6)


def test_other_fields_of_a_header_are_written_again(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("directions", "origin", "note"), [
    ("(1,0,0) (0,1,0) (0,0,1)", "(nan,0,0)", "its space origin (nan,0,0) places no voxels"),
    ("(0,1,0) (0,1,0) (0,0,1)", "(7,0,0)", "its space directions (0,1,0) (0,1,0) (0,0,1) place no voxels"),
])  # fmt: skip
def test_the_field_without_a_valid_affine_is_named_in_nrrd(
    tmp_path: Path, directions: str, origin: str, note: str
) -> None:
    fields = (
        f"space: RAS\nspace directions: {directions}\nspace origin: {origin}\nendian: little\nencoding: raw\n"
    )
    volume = read(nrrd(tmp_path / "in.nrrd", fields, LITTLE))
    assert volume.affine is None
    assert volume.notes[1:] == (NO_UNIT,)
    assert note in volume.notes[0]


def test_a_number_beyond_its_bounds_is_refused_with_both_bounds(tmp_path: Path) -> None:
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
def test_a_metaimage_without_a_valid_affine_is_read_with_a_note(
    tmp_path: Path, fields: str, spacing: Any, note: str
) -> None:
    volume = read(mha(tmp_path / "in.mha", fields, "LOCAL", LITTLE))
    np.testing.assert_array_equal(volume.array, MAP)
    assert (volume.spacing, volume.affine) == (spacing, None)
    assert volume.notes[1:] == ((NO_UNIT,) if spacing else ())
    assert note in volume.notes[0]
    write(volume, tmp_path / "out.nrrd")
    assert read(tmp_path / "out.nrrd").spacing == spacing


def test_an_invalid_voxel_size_is_named(tmp_path: Path) -> None:
    notes = probe(mha(tmp_path / "in.mha", "ElementSpacing = 1e200 2 3\n", "LOCAL", LITTLE)).notes
    assert "its ElementSpacing 1e200 2 3 places no voxels; orientation and origin are left out." in notes


@pytest.mark.parametrize("large", ["1e308", "-1e200", "inf"])
def test_infinite_directions_have_a_note_and_are_ignored(tmp_path: Path, large: str) -> None:
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
