"""The unit of a voxel size: a known one is kept in all outputs, an unknown one stays unknown."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers_cli import nibabel, refused, run

from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write

TUBE = np.zeros((6, 20, 24), np.float32)
TUBE[2:4, 9:12, 2:22] = 0.9


def store(path: Path, units: Mapping[str, str | None], scale: tuple[float, ...], **more: Any) -> Path:
    """Write an OME-Zarr 0.4 as another program would, axes z, y, x with these units."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=TUBE.shape, dtype="f4", chunks=TUBE.shape)[...] = TUBE
    axes = [{"name": a, "type": "space"} | ({"unit": str(units[a])} if units.get(a) else {}) for a in "zyx"]
    steps: list[Any] = [{"type": "scale", "scale": list(scale)}]
    steps += [{"type": kind, kind: numbers} for kind, numbers in more.items()]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    ]
    return path


@pytest.mark.parametrize("unit", [None, "pixel"])
def test_a_store_without_a_unit_has_lengths_in_voxels(tmp_path: Path, unit: str | None) -> None:
    path = store(
        tmp_path / "in.zarr", dict.fromkeys("zyx", unit), (2.0, 0.5, 0.5), translation=[4.0, 1.0, 3.0]
    )
    found = read(path)
    assert (found.spacing, found.unit) == ((2.0, 0.5, 0.5), None)
    graph = json.loads(run("inspect", path, "--json").out)["graph"]
    assert graph["unit"] == "voxels"
    # 18 steps of one voxel along x lie between the ends of the line.
    assert graph["length_voxels"] == pytest.approx(18, abs=0.5)
    assert "length_mm" not in graph
    pair = json.loads(run("evaluate", path, path, "--metrics", "hd95_voxels,assd_voxels,nsd", "--json").out)
    assert pair["metrics"] == {"hd95_voxels": 0.0, "assd_voxels": 0.0, "nsd": 1.0}
    assert pair["parameters"]["nsd_tolerance_unit"] == "voxels"
    # Written again as a store, it has the same size and place, and still no unit.
    write(found, tmp_path / "out.zarr")
    multiscales: Any = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["multiscales"]
    (image,) = multiscales
    assert [axis.get("unit") for axis in image["axes"]] == [None] * 3
    assert image["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [2.0, 0.5, 0.5]},
        {"type": "translation", "translation": [4.0, 1.0, 3.0]},
    ]


def test_a_nifti_written_from_an_unknown_unit_claims_none(tmp_path: Path) -> None:
    path = store(tmp_path / "in.zarr", {}, (2.0, 0.5, 0.25), translation=[4.0, 1.0, 3.0])
    lost = write(read(path), tmp_path / "out.nii.gz")
    assert any("its origin is not kept" in one for one in lost)
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert header.get_xyzt_units()[0] == "unknown"
    assert int(header["sform_code"]) == int(header["qform_code"]) == 0
    np.testing.assert_array_equal(header.get_zooms(), [0.25, 0.5, 2.0])
    assert read(tmp_path / "out.nii.gz").unit is None


@pytest.mark.parametrize(
    ("units", "scale", "spacing"),
    [
        (
            {"z": "micrometer", "y": "nanometer", "x": "nanometer"},
            (2.0, 500.0, 400.0),
            (2000.0, 500.0, 400.0),
        ),
        ({"z": "nanometer", "y": "micrometer", "x": "micrometer"}, (2000.0, 0.5, 0.4), (2.0, 0.5, 0.4)),
    ],
)
def test_units_that_differ_are_brought_to_that_of_x(
    tmp_path: Path, units: Mapping[str, str | None], scale: tuple[float, ...], spacing: tuple[float, ...]
) -> None:
    found = read(store(tmp_path / "in.zarr", units, scale))
    assert found.spacing == pytest.approx(spacing)
    assert found.unit == {"nanometer": "nm", "micrometer": "um"}[units["x"] or ""]
    assert found.affine is not None
    # The affine is in mm, its columns those of z, y, x.
    np.testing.assert_allclose(np.linalg.norm(found.affine[:3, :3], axis=0), [2e-3, 5e-4, 4e-4])


@pytest.mark.parametrize("missing", ["z", "x"])
def test_an_axis_without_a_unit_does_not_take_that_of_its_neighbours(tmp_path: Path, missing: str) -> None:
    units: dict[str, str | None] = dict.fromkeys("zyx", "micrometer") | {missing: None}
    found = read(store(tmp_path / "in.zarr", units, (2.0, 0.5, 0.4)))
    assert (found.spacing, found.affine) == (None, None)
    assert any(f"its voxel size along {missing} is in no known unit" in note for note in found.notes)


def micrometres(path: Path) -> Path:
    """Write a stack of voxels of 2 x 0.5 x 0.5 um as ImageJ does."""
    tifffile.imwrite(
        path, TUBE, imagej=True, resolution=(2.0, 2.0), metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    )
    return path


def test_lengths_of_a_map_in_micrometres_are_in_micrometres(tmp_path: Path) -> None:
    path = micrometres(tmp_path / "in.tif")
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "swc", "graphml", "obj", "json")}
    page = tmp_path / "page.html"
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    told = run("inspect", path, *options, "--report", page)
    # 18 steps of half a micrometre.
    graph = json.loads(files["json"].read_text())
    assert graph["schema"] == 2
    assert graph["graph"]["unit"] == "um"
    length = graph["graph"]["length_um"]
    assert length == pytest.approx(9, abs=0.3)
    (row,) = csv.DictReader(files["csv"].read_text().splitlines())
    assert float(row["length_um"]) == pytest.approx(length)
    assert float(row["end_x_um"]) - float(row["start_x_um"]) == pytest.approx(length, abs=0.5)
    assert "total length (µm): " in told.out
    # One spelling for people, another for names.
    assert re.findall(r"\bum\b", told.out + told.err) == []
    assert "voxels are 2 × 0.5 × 0.5 µm: " in told.err
    written = page.read_text(encoding="utf-8")
    assert "Length (µm)" in written
    assert "(um)" not in written
    points = np.loadtxt(files["swc"])[:, 2:5]
    assert np.ptp(points, axis=0).max() == pytest.approx(length, rel=0.01)
    assert "# unit: um" in files["swc"].read_text()
    assert "# unit: um" in files["obj"].read_text()
    assert "length_um" in files["graphml"].read_text()
    for file in (*files.values(), page):
        text = file.read_text()
        assert "_mm" not in text
        assert " mm" not in text
        assert "(mm)" not in text


def test_volumes_of_micrometres_are_in_cubic_micrometres(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = micrometres(tmp_path / "in" / "in.tif")
    document = json.loads(run("stats", path, "--json", "--csv", tmp_path / "out.csv").out)
    volume = float(TUBE.sum() * 2 * 0.5 * 0.5)
    assert document["statistics"]["volume_unit"] == "um^3"
    assert document["statistics"]["expected_volume"] == pytest.approx(volume)
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert float(row["expected_volume_um3"]) == pytest.approx(volume)
    assert row["expected_volume_mm3"] == row["expected_area_mm2"] == ""
    assert not {"expected_volume_nm3", "expected_area_um2"} & set(row)
    run("batch", tmp_path / "in", tmp_path / "out", "dilate", "--workers", "1")
    (row,) = csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
    assert float(row["expected_volume_um3_before"]) == pytest.approx(volume)
    assert row["expected_volume_mm3_before"] == ""
    assert float(row["expected_volume_um3_after"]) > volume


def test_distances_of_micrometres_are_in_micrometres(tmp_path: Path) -> None:
    path = micrometres(tmp_path / "in.tif")
    options = ("--metrics", "hd95_mm,nsd", "--json", "--csv", tmp_path / "out.csv")
    found = json.loads(run("evaluate", path, path, *options).out)
    assert found["metrics"] == {"hd95_um": 0.0, "nsd": 1.0}
    assert found["parameters"]["nsd_tolerance_unit"] == "um"
    assert found["parameters"]["opt_j_reach_um"] == pytest.approx(
        0.5 * found["parameters"]["opt_j_reach_voxels"]
    )
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert float(row["hd95_um"]) == 0


def in_unit(path: Path, unit: str | None) -> Path:
    """Write the tube with cubic voxels of half a unit, or of an unknown size."""
    if unit is None:
        np.save(path, TUBE)
        return path
    return store(path, dict.fromkeys("zyx", unit), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("unit", "told"), [("millimeter", "mm"), ("micrometer", "um"), ("nanometer", "nm"), (None, "voxels")]
)
def test_distances_are_selected_by_their_names_in_the_output(
    tmp_path: Path, unit: str | None, told: str
) -> None:
    path = in_unit(tmp_path / ("in.zarr" if unit else "in.npy"), unit)
    moved = in_unit(tmp_path / ("moved.zarr" if unit else "moved.npy"), unit)
    array = np.roll(TUBE, 2, axis=0)
    if unit:
        zarr.open_array(f"{moved}/0")[...] = array
    else:
        np.save(moved, array)
    names = [f"hd95_{told}", f"assd_{told}"]
    # The broad sides move by two voxels, and the narrow ones lie nearer to each other.
    step = 2.0 if unit is None else 1.0
    csv_file, json_file = tmp_path / "out.csv", tmp_path / "out.json"
    options = ("--csv", csv_file, "--json-file", json_file, "--force")
    # As mm they are asked for in any unit, but not where there is none.
    for asked in (",".join(names), "hd95_mm,assd_mm") if unit else (",".join(names),):
        out = run("evaluate", path, moved, "--metrics", asked, *options).out
        found = json.loads(json_file.read_text())["metrics"]
        assert list(found) == names
        assert found[names[0]] == pytest.approx(step)
        assert 0 < found[names[1]] < step
        (row,) = csv.DictReader(csv_file.read_text().splitlines())
        assert {name: float(row[name]) for name in names} == found
        assert not {"hd95_mm", "assd_mm"} - set(names) & set(row)
        assert [line.split(":")[0].strip() for line in out.splitlines()[1:3]] == names
    # Of all metrics each has one column, and each is in the JSON once.
    run("evaluate", path, moved, *options)
    (row,) = csv.DictReader(csv_file.read_text().splitlines())
    assert [name for name in row if name.startswith(("hd95", "assd"))] == names
    metrics = json.loads(json_file.read_text())["metrics"]
    assert [name for name in metrics if name.startswith(("hd95", "assd"))] == names


@pytest.mark.parametrize(
    ("unit", "asked", "says"),
    [
        ("millimeter", "hd95_um", "in.zarr is in mm, and this is called hd95_mm there"),
        ("millimeter", "dice,assd_voxels", "in.zarr is in mm, and this is called assd_mm there"),
        ("micrometer", "assd_nm", "in.zarr is in um, and this is called assd_um there"),
        (None, "hd95_um", "in.npy has no unit of length, and this is called hd95_voxels there"),
        (None, "dice,hd95_mm", "in.npy has no unit of length, and this is called hd95_voxels there"),
    ],
)
def test_distances_of_another_unit_are_refused_by_what_they_are_called(
    tmp_path: Path, unit: str | None, asked: str, says: str
) -> None:
    path = in_unit(tmp_path / ("in.zarr" if unit else "in.npy"), unit)
    refused("evaluate", path, path, "--metrics", asked, says=(f"--metrics {asked.split(',')[-1]}: ", says))
    own = says.split()[-2]
    assert json.loads(run("evaluate", path, path, "--metrics", own, "--json").out)["metrics"] == {own: 0}


def test_files_of_several_units_have_a_column_for_each(tmp_path: Path) -> None:
    for folder in ("pred", "ref"):
        (tmp_path / folder).mkdir()
        for name, unit in (("a", "millimeter"), ("b", "micrometer")):
            in_unit(tmp_path / folder / f"{name}.zarr", unit)
    folders = (tmp_path / "pred", tmp_path / "ref")
    told = run("evaluate", *folders, "--metrics", "hd95_mm", "--csv", tmp_path / "out.csv", "--json")
    one, other = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (one["hd95_mm"], one["hd95_um"]) == ("0.0", "")
    assert (other["hd95_mm"], other["hd95_um"]) == ("", "0.0")
    counts = {name: found["count"] for name, found in json.loads(told.out)["summary"][0]["metrics"].items()}
    assert counts == {"hd95_mm": 1, "hd95_um": 1}
    ended = run("evaluate", *folders, "--metrics", "hd95_um", "--json", code=1)
    assert [one["name"] for one in json.loads(ended.out)["failed"]] == ["a"]
    assert "this is called hd95_mm there" in ended.err


@pytest.mark.parametrize("column", [None, 2])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_lengths_behind_an_sform_that_places_nothing_are_those_of_the_voxels(
    tmp_path: Path, column: int | None, value: float
) -> None:
    sform = np.diag([0.5, 0.75, 2.0, 1.0])
    sform[:3, slice(None) if column is None else column] = value
    image = nibabel.Nifti1Image(np.ascontiguousarray(TUBE.T), np.diag([0.5, 0.75, 2.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.to_filename(tmp_path / "in.nii")
    content = bytearray((tmp_path / "in.nii").read_bytes())
    content[280:328] = sform[:3].astype("<f4").tobytes()
    (tmp_path / "in.nii").write_bytes(content)
    path = tmp_path / "in.nii"
    ended = run("inspect", path, "--levels", "0", "--json", "--csv", tmp_path / "b.csv")
    graph = json.loads(ended.out)["graph"]
    # 18 or so steps of half a millimetre.
    assert graph["length_mm"] == pytest.approx(0.5 * 18, abs=0.8)
    (row,) = csv.DictReader((tmp_path / "b.csv").read_text().splitlines())
    assert float(row["length_mm"]) == pytest.approx(graph["length_mm"])
    assert "its sform places no voxels" in ended.err
    found = json.loads(run("stats", path, "--json").out)["statistics"]
    assert (found["expected_volume"], found["volume_unit"]) == (pytest.approx(TUBE.sum() * 0.75), "mm^3")
    pair = json.loads(run("evaluate", path, path, "--metrics", "dice,hd95_mm", "--json").out)
    assert pair["metrics"] == {"dice": 1.0, "hd95_mm": 0.0}


def test_a_plane_in_no_known_unit_is_measured_in_pixels(tmp_path: Path) -> None:
    path, moved = tmp_path / "in.npy", tmp_path / "moved.npy"
    line = np.zeros((9, 30), np.float32)
    line[3:6, 2:22] = 0.75
    np.save(path, line)
    np.save(moved, np.roll(line, 4, axis=1))
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "swc", "json")}
    page = tmp_path / "page.html"
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    told = run("inspect", path, *options, "--report", page)
    graph = json.loads(files["json"].read_text())["graph"]
    (row,) = csv.DictReader(files["csv"].read_text().splitlines())
    # The centreline is the middle row, less at most a pixel at both ends.
    assert 17 <= graph["length_pixels"] <= 19
    assert float(row["length_pixels"]) == pytest.approx(graph["length_pixels"])
    assert (graph["unit"], "total length (pixels): " in told.out) == ("pixels", True)
    assert "# unit: pixels" in files["swc"].read_text()
    assert "Length (pixels)" in page.read_text(encoding="utf-8")
    stats = run("stats", path, "--json", "--csv", tmp_path / "stats.csv")
    found = json.loads(stats.out)["statistics"]
    assert (found["volume_unit"], found["expected_volume"]) == ("pixels", 60 * 0.75)
    (row,) = csv.DictReader((tmp_path / "stats.csv").read_text().splitlines())
    assert (row["expected_voxels"], row["expected_area_mm2"]) == ("45.0", "")
    assert "expected foreground (pixels): 45" in run("stats", path).out
    # All of the moved line's ends are four pixels off.
    pair = run("evaluate", path, moved, "--metrics", "hd95_pixels,centreline_hd_pixels", "--json")
    assert json.loads(pair.out)["metrics"] == {"hd95_pixels": 4.0, "centreline_hd_pixels": 4.0}
    assert "(hd95_pixels, assd_pixels, centreline_hd_pixels)" in pair.err
    says = "in.npy has no unit of length, and this is called hd95_pixels there"
    for other in ("hd95_mm", "hd95_um", "hd95_voxels"):
        refused("evaluate", path, moved, "--metrics", other, says=says)
    for text in (*(file.read_text() for file in files.values()), told.out, pair.out):
        assert not re.search(r"_mm|\bmm\b|length_voxels|hd95_voxels", text)
