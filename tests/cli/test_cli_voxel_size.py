"""--voxel-size and --unit complete files that do not know the size of their voxels or its unit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers_cli import nibabel, refused, run

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read, read_map
from softmorph_cli.io.writing import write
from softmorph_cli.system.lengths import parse_sides

LINE = np.zeros((5, 9, 25), np.float32)
LINE[2, 4, 2:23] = 0.75
SIZE = ("--voxel-size", "1umx0.25x0.25")


def nifti(
    path: Path, sizes: tuple[float, float, float], unit: str, origin: tuple[float, ...] = (0, 0, 0)
) -> Path:
    """Write the line as a NIfTI with a position; sizes and origin in the order x, y, z."""
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = origin
    image = nibabel.Nifti1Image(LINE.T, affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    return path


@pytest.mark.parametrize(
    ("text", "sides", "unit"),
    [
        ("1umx0.25x0.25", (1.0, 0.25, 0.25), "um"),
        ("1x0.25x0.25um", (1.0, 0.25, 0.25), "um"),
        ("1 µm × 0.25 × 0.25", (1.0, 0.25, 0.25), "um"),
        ("1 \u03bcm, 0.25, 0.25", (1.0, 0.25, 0.25), "um"),
        ("1micronx250nmx250nm", (1.0, 0.25, 0.25), "um"),
        ("0.2cmx1mmx1mm", (2.0, 1.0, 1.0), "mm"),
        ("5 angstrom", (0.5,), "nm"),
        ("1x0.5x0.5", (1.0, 0.5, 0.5), None),
    ],
)
def test_voxel_sizes_as_users_type_them(text: str, sides: tuple[float, ...], unit: str | None) -> None:
    found, own = parse_sides(text, "voxel_size")
    assert found == pytest.approx(sides, rel=1e-12)
    assert own == unit


@pytest.mark.parametrize(
    "text", ["", "um", "1umx", "1pxx1x1", "1um 2um", "1um;1um", "1furlong", "1umx1nmx1", "1umx1x1x1"]
)
def test_wrong_voxel_sizes_are_answered_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        ReadOptions(voxel_size=text)
    assert "give a number for each axis of the array, z first, and the unit, such as 1umx0.25x0.25" in str(
        caught.value
    )
    with pytest.raises(UsageError, match="must be more than 0"):
        ReadOptions(voxel_size="0umx1x1")


@pytest.mark.parametrize("kind", ["npy", "tif"])
def test_lengths_and_volumes_in_the_unit_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "npy":
        np.save("in.npy", LINE)
    else:
        # Resolutions without a unit, as many programs leave them.
        tifffile.imwrite("in.tif", LINE, imagej=True, metadata={"axes": "ZYX"})
    name = f"in.{kind}"
    said = run("inspect", name, *SIZE, "--json", "--csv", "out.csv")
    # 20 steps of a quarter of a micrometre lie between the ends of the line.
    graph = json.loads(said.out)["graph"]
    assert graph["length_um"] == pytest.approx(5.0, abs=0.02)
    (row,) = csv.DictReader(Path("out.csv").read_text().splitlines())
    assert float(row["length_um"]) == pytest.approx(graph["length_um"])
    assert "1 × 0.25 × 0.25 µm (z, y, x), as --voxel-size says." in said.err
    assert "in no known unit" not in said.err
    # 21 voxels of 0.75 and a sixteenth of a cubic micrometre each.
    stats = json.loads(run("stats", name, *SIZE, "--json").out)["statistics"]
    assert (stats["volume_unit"], stats["expected_volume"]) == ("um^3", pytest.approx(21 * 0.75 / 16))
    pair = run("evaluate", name, name, *SIZE, "--metrics", "hd95_um,assd_um", "--json").out
    assert json.loads(pair)["metrics"] == {"hd95_um": 0.0, "assd_um": 0.0}


def test_a_result_keeps_the_size_and_says_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", LINE)
    run("dilate", "in.npy", "out.nii.gz", *SIZE, "--radius", "0.5 µm", "--json-file", "out.json")
    header = nibabel.load("out.nii.gz").header
    assert header.get_xyzt_units()[0] == "micron"
    np.testing.assert_array_equal(header.get_zooms(), [0.25, 0.25, 1.0])
    out = read("out.nii.gz")
    # A ball of half a micrometre: two voxels in the plane, none along z.
    assert (out.array[2, 4] == 0.75).sum() == 21 + 2 * 2
    assert (out.array[2, :, 12] == 0.75).sum() == 5
    assert out.array[[0, 1, 3, 4]].max() == 0
    document = json.loads(Path("out.json").read_text())
    assert document["input"]["read_with"] == {"voxel_size": "1umx0.25x0.25"}
    assert out.source is not None
    assert out.source.provenance["parameters"]["voxel_size"] == "1umx0.25x0.25"


@pytest.mark.parametrize(("shape", "told"), [((9, 12), "2 × 2 pixels"), ((5, 9, 12), "2 × 2 × 2 voxels")])
def test_a_radius_typed_in_pixels_is_told_in_what_the_image_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.zeros(shape, np.float32))
    ended = run("dilate", "in.npy", "out.npy", "--radius", "2 px", "--json-file", "out.json")
    assert f"radius reached {told}" in ended.err
    (step,) = json.loads(Path("out.json").read_text())["steps"]
    assert (step["radius_reached"], step["radius_unit"]) == ([2.0] * len(shape), told.split()[-1])


def test_a_tiled_run_knows_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", LINE)
    blocks = open_blocks("in.npy", ReadOptions(voxel_size="1umx0.25x0.25"))
    assert (blocks.spacing, blocks.unit) == ((1.0, 0.25, 0.25), "um")
    run("dilate", "in.npy", "tiled.zarr", *SIZE, "--radius", "0.5um", "--memory", "1GB")
    run("dilate", "in.npy", "whole.zarr", *SIZE, "--radius", "0.5um")
    tiled, whole = read("tiled.zarr"), read("whole.zarr")
    assert (tiled.spacing, tiled.unit) == (whole.spacing, whole.unit) == ((1.0, 0.25, 0.25), "um")
    np.testing.assert_array_equal(tiled.array, whole.array)


def test_one_size_is_for_all_axes_and_an_axis_of_one_may_be_left_out(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", LINE[2])
    found = read(tmp_path / "in.npy", voxel_size="0.25um")
    assert (found.spacing, found.unit) == ((0.25, 0.25), "um")
    np.save(tmp_path / "one.npy", LINE[2:3])
    for text in ("0.5umx0.25um", "9umx0.5x0.25"):
        assert read(tmp_path / "one.npy", voxel_size=text).spacing == (0.5, 0.25)
    np.save(tmp_path / "in.npy", LINE)
    with pytest.raises(InputError, match=r"gives 2 sizes, and .* has 3 axes in space, ZYX of"):
        read(tmp_path / "in.npy", voxel_size="1umx0.25")


@pytest.mark.parametrize(("unit", "one"), [("mm", 1.0), ("um", 1e-3), ("nm", 1e-6), ("micron", 1e-3)])
def test_a_unit_converts_the_position_too(tmp_path: Path, unit: str, one: float) -> None:
    path = nifti(tmp_path / "in.nii.gz", (0.25, 0.5, 2.0), "unknown", (3.0, -4.0, 7.0))
    # The standard's convention, which the header does not state.
    assert read(path).unit == "mm"
    found = read(path, unit=unit)
    assert (found.spacing, found.unit) == ((2.0, 0.5, 0.25), "um" if unit == "micron" else unit)
    assert found.affine is not None
    np.testing.assert_allclose(found.affine @ [0, 0, 0, 1], [3 * one, -4 * one, 7 * one, 1])
    np.testing.assert_allclose(found.affine @ [1, 2, 4, 1], [4 * one, -3 * one, 9 * one, 1])


def without_unit(folder: Path, kind: str) -> Path:
    """Write the line with voxels of 2 x 0.5 x 0.25 of an unknown unit, as other programs would."""
    path = folder / f"in.{kind.split()[-1]}"
    if kind == "placed nii":
        return nifti(path, (0.25, 0.5, 2.0), "unknown", (3.0, 4.0, 5.0))
    if kind == "nii":
        image = nibabel.Nifti1Image(LINE.T, None)
        image.header["pixdim"][1:4] = 0.25, 0.5, 2.0
        image.header.set_xyzt_units("unknown", "sec")
        image.to_filename(path)
    elif kind == "nrrd":
        head = "NRRD0005\ntype: float\ndimension: 3\nsizes: 25 9 5\nendian: little\nencoding: raw\n"
        head += "space: left-posterior-superior\nspace directions: (.25,0,0) (0,.5,0) (0,0,2)\n"
        head += "space origin: (3,4,5)\n\n"
        path.write_bytes(head.encode() + LINE.tobytes())
    elif kind == "mha":
        head = "ObjectType = Image\nNDims = 3\nDimSize = 25 9 5\nElementSpacing = .25 .5 2\n"
        path.write_bytes(
            f"{head}ElementType = MET_FLOAT\nElementDataFile = LOCAL\n".encode() + LINE.tobytes()
        )
    elif kind == "tif":
        stated = {"axes": "ZYX", "spacing": 2.0}
        tifffile.imwrite(path, LINE, imagej=True, resolution=(4.0, 2.0), metadata=stated)
    else:
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.create_array("0", data=LINE)
        axes: list[Any] = [{"name": name, "type": "space"} for name in "zyx"]
        steps: list[Any] = [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
        sets = [{"path": "0", "coordinateTransformations": steps}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": sets}]
    return path


@pytest.mark.parametrize("kind", ["placed nii", "nii", "nrrd", "mha", "tif", "zarr"])
@pytest.mark.parametrize("unit", ["um", "nm", "mm"])
def test_a_result_states_the_unit_that_the_source_did_not(tmp_path: Path, kind: str, unit: str) -> None:
    path = without_unit(tmp_path, kind)
    in_mm = {"um": 1e-3, "nm": 1e-6, "mm": 1.0}
    for options in (ReadOptions(unit=unit), ReadOptions(voxel_size=f"2{unit}x0.5x0.25")):
        found = read_map(path, options)
        assert found.spacing == pytest.approx((2.0, 0.5, 0.25))
        assert found.unit == unit
        out = tmp_path / f"out{path.suffix}"
        write(found, out, force=True)
        again = read(out)
        assert again.spacing is not None
        sizes = np.array(again.spacing) * in_mm[again.unit or ""]
        np.testing.assert_allclose(sizes, np.array([2.0, 0.5, 0.25]) * in_mm[unit], rtol=1e-6)
        # NIfTI has no nm, and MetaImage is in mm.
        assert again.unit == ("mm" if kind == "mha" else "um" if "nii" in kind and unit == "nm" else unit)
        if found.affine is not None:
            assert again.affine is not None
            np.testing.assert_allclose(again.affine, found.affine, rtol=1e-6, atol=1e-12)


def test_sizes_without_a_unit_are_replaced_and_the_origin_stays_at_its_voxel(tmp_path: Path) -> None:
    path = nifti(tmp_path / "in.nii.gz", (1.0, 1.0, 1.0), "unknown", (-3.0, -2.0, -1.0))
    found = read(path, voxel_size="2x0.5x0.25", unit="mm")
    assert found.affine is not None
    # The world's origin is the voxel (z, y, x) = (1, 2, 3).
    np.testing.assert_allclose(found.affine @ [1, 2, 3, 1], [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(found.affine @ [2, 4, 7, 1], [1, 1, 2, 1])
    assert any("its own numbers, 1 × 1 × 1 (z, y, x), have no unit" in note for note in found.notes)


def test_what_a_file_states_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nifti(Path("in.nii.gz"), (0.25, 0.25, 1.0), "micron")
    np.save("in.npy", LINE)
    plain = read("in.nii.gz")
    # The same in another unit is no contradiction, and needs no note.
    for options in (
        ReadOptions(voxel_size="1000nmx250nmx250nm"),
        ReadOptions(unit="um"),
        ReadOptions(voxel_size="1x.25x.25", unit="µm"),
    ):
        same = read_map(Path("in.nii.gz"), options)
        assert (same.spacing, same.unit, same.notes) == (plain.spacing, plain.unit, plain.notes)
    refused(
        *("stats", "in.nii.gz", "--voxel-size", "0.25umx0.25x1"),
        says=("1 × 0.25 × 0.25 µm (z, y, x)", "0.25 × 0.25 × 1 µm (z, y, x)", "leave --voxel-size out"),
    )
    refused(
        "stats", "in.nii.gz", "--unit", "mm", says=("in µm, and --unit that it is in mm", "leave --unit out")
    )
    refused("stats", "in.npy", "--unit", "um", says=("no voxel size along z and y and x", "--voxel-size 1um"))
    refused(
        "stats",
        "in.npy",
        "--unit",
        "cm",
        says="--unit 'cm' is no unit of a voxel size: give mm, um or nm.",
        code=2,
    )
    refused("stats", "in.npy", "--voxel-size", "1x1x1", says=("states no unit", "--unit mm"), code=2)
    refused("stats", "in.npy", *SIZE, "--unit", "um", says=("states its unit; leave --unit out",), code=2)
