"""softmorph inspect of several files and of folders: tables that stack, files that fail, units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_cli import everything, refused, run, save
from helpers_cohort import bar, parsed, plane, table, tee

import softmorph_cli
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

TABLES = ("--csv", "b.csv", "--summary", "c.csv", "--components", "k.csv", "--levels", 0)


@pytest.fixture
def study() -> None:
    Path("in").mkdir()
    plane("in/a.nii.gz", bar())
    plane("in/b.nii.gz", tee())


def test_a_folder_gives_a_row_for_each_branch_component_and_case(study: None) -> None:
    run("inspect", "in", *TABLES)
    cases = table("c.csv")
    assert [*cases[0]][:2] == ["file", "class"]
    assert [(row["file"], row["class"]) for row in cases] == [("in/a.nii.gz", ""), ("in/b.nii.gz", "")]
    counts = ("components", "cycles", "end_points", "junctions", "branches")
    assert [tuple(int(row[name]) for name in counts) for row in cases] == [(1, 0, 2, 0, 1), (2, 0, 5, 1, 4)]
    # 30 steps of half a millimetre; 30, 10 and 5, of which thinning cuts a corner.
    assert [float(row["length_mm"]) for row in cases] == pytest.approx([15, 22.5], rel=0.02)
    components = table("k.csv")
    assert [*components[0]][:3] == ["file", "class", "component"]
    assert [(row["file"], row["component"]) for row in components] == [
        ("in/a.nii.gz", "1"),
        ("in/b.nii.gz", "1"),
        ("in/b.nii.gz", "2"),
    ]
    assert [(row["triple_points"], row["quadruple_points"]) for row in components] == [
        ("0", "0"),
        ("1", "0"),
        ("0", "0"),
    ]
    for name, values in (
        ("length_mm", [15, 20, 2.5]),
        ("branch_length_mean_mm", [15, 20 / 3, 2.5]),
        ("branch_length_max_mm", [15, 7.5, 2.5]),
        ("certainty_mean", [0.75] * 3),
    ):
        assert [float(row[name]) for row in components] == pytest.approx(values, rel=0.03), name
    branches = table("b.csv")
    assert [*branches[0]][:3] == ["file", "class", "component"]
    assert [(row["file"], row["component"]) for row in branches] == [
        ("in/a.nii.gz", "1"),
        *[("in/b.nii.gz", "1")] * 3,
        ("in/b.nii.gz", "2"),
    ]


def test_rows_are_those_of_single_commands(study: None) -> None:
    run("inspect", "in", *TABLES)
    rows = table("b.csv")
    for name in ("in/a.nii.gz", "in/b.nii.gz"):
        alone = run("inspect", name, "--csv", "-", "--levels", 0).out
        assert alone.startswith("branch,component,kind,")
        ours = [
            {k: v for k, v in row.items() if k in parsed(alone)[0]} for row in rows if row["file"] == name
        ]
        assert ours == [dict(row) for row in parsed(alone)]
        for option, path in (("--summary", "c.csv"), ("--components", "k.csv")):
            single = parsed(run("inspect", name, option, "-", "--levels", 0).out)
            assert single == [row for row in table(path) if row["file"] == name]


def test_a_file_that_fails_is_told_and_the_others_are_in_the_tables(study: None) -> None:
    Path("in/aa.nii.gz").write_bytes(b"no map")
    ended = run("inspect", "in", "gone.nii.gz", *TABLES, code=1)
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert [name in error for name, error in zip(("in/aa.nii.gz", "gone.nii.gz"), errors, strict=True)] == [
        True,
        True,
    ]
    assert [row["file"] for row in table("c.csv")] == ["in/a.nii.gz", "in/b.nii.gz"]
    assert ended.out.splitlines()[0] == "2 of 4 files"


def test_no_table_is_written_if_every_file_fails() -> None:
    Path("in").mkdir()
    Path("in/a.nii.gz").write_bytes(b"no map")
    refused("inspect", "in", *TABLES, says="in/a.nii.gz")


def test_other_units_are_converted_to_that_of_the_first_file(study: None) -> None:
    write(Volume(bar(), "YX", (500.0, 500.0), "um"), "in/c.tif")
    ended = run("inspect", "in", *TABLES, "--verbose")
    assert "in µm, are given in mm" in ended.err
    first, *_, last = table("c.csv")
    assert float(last["length_mm"]) == pytest.approx(float(first["length_mm"]), rel=1e-6)
    assert float(last["radius_mean_mm"]) == pytest.approx(float(first["radius_mean_mm"]), rel=1e-6)


def test_voxels_and_millimetres_are_not_mixed(study: None) -> None:
    np.save("in/c.npy", bar())
    ended = run("inspect", "in", *TABLES, code=1)
    assert "in/c.npy: its lengths are in pixels and those of the files before it in mm" in ended.err
    assert len(table("c.csv")) == 2


def test_pixels_and_voxels_are_told_apart() -> None:
    np.save("a.npy", bar())
    np.save("b.npy", np.stack([bar(), bar(), bar()]))
    ended = run("inspect", "a.npy", "b.npy", *TABLES, code=1)
    assert "length (pixels)" in ended.out
    assert "b.npy: its lengths are in voxels and those of the files before it in pixels" in ended.err
    assert [row["file"] for row in table("c.csv")] == ["a.npy"]


def test_each_class_of_a_file_has_its_rows(study: None) -> None:
    both = np.stack([bar(), tee()])
    write(Volume(both, "CYX", (0.5, 0.5), "mm", channels=("artery", "vein")), "both.ome.tif")
    run("inspect", "both.ome.tif", "in", *TABLES)
    rows = table("c.csv")
    assert [(row["file"], row["class"], row["branches"]) for row in rows] == [
        ("both.ome.tif", "artery", "1"),
        ("both.ome.tif", "vein", "4"),
        ("in/a.nii.gz", "", "1"),
        ("in/b.nii.gz", "", "4"),
    ]
    assert {row["class"] for row in table("b.csv")} == {"artery", "vein", ""}


def test_planes_and_volumes_share_a_table(study: None) -> None:
    save("solid.nii.gz", np.stack([0 * bar(), bar(), 0 * bar()]), (0.5, 0.5, 0.5))
    run("inspect", "in/a.nii.gz", "solid.nii.gz", *TABLES)
    flat, solid = table("b.csv")
    assert (flat["start_z_voxel"], solid["start_z_voxel"]) == ("", "1")


def test_warnings_that_repeat_are_counted_and_listed(study: None) -> None:
    for name in ("in/c.nii.gz", "in/d.nii.gz"):
        plane(name, 0 * bar())
    ended = run("inspect", "in", *TABLES)
    assert ended.err.count("nothing is above 0.5") == 2
    assert "1 more file with this warning" in ended.err
    assert [bool(row["warnings"]) for row in table("c.csv")] == [False, False, True, True]


def test_a_table_on_stdout_is_alone_there(study: None) -> None:
    ended = run("inspect", "in", "--summary", "-", "--levels", 0)
    assert len(parsed(ended.out)) == 2
    before = everything()
    run("inspect", "in", "--levels", 0)
    assert everything() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--swc", "s.swc"), "--swc goes with one file"),
        (("--branch-labels", "s.nii.gz"), "--branch-labels goes with one file"),
        (("--preview", "s.png"), "--preview goes with one file"),
        (("--map", "in/a.nii.gz"), "--map goes with one file"),
        (("--top", 3), "--top and --sort are of the table of one file's branches"),
        (("--csv", "-", "--summary", "-"), "would both print on stdout"),
        (("--csv", "t.csv", "--summary", "t.csv"), "t.csv is named twice"),
    ],
)
def test_what_is_of_one_file_is_refused(study: None, arguments: tuple[object, ...], says: str) -> None:
    refused("inspect", "in", *arguments, code=2, says=says)


def test_a_tree_from_its_widest_branch_and_the_same_from_a_place() -> None:
    """The stem of the T is drawn 3 pixels wide: its end is the root, and the arms turn off by a right angle."""
    image = tee()
    image[2:13, 18:21] = 0.75
    plane("wide.nii.gz", image)
    run("inspect", "wide.nii.gz", *TABLES, "--root", "widest")
    whole = [row for row in table("b.csv") if row["branch_type"] == "junction-to-endpoint"]
    assert sorted((row["generation"], row["strahler"]) for row in whole) == [
        ("0", "2"),
        ("1", "1"),
        ("1", "1"),
    ]
    (stem,) = [row for row in whole if row["generation"] == "0"]
    assert [row["parent"] for row in whole if row is not stem] == [stem["branch"]] * 2
    angles = [float(row["angle_deg"]) for row in whole if row is not stem]
    assert angles == pytest.approx([90, 90], abs=10)
    assert (table("c.csv")[0]["generation_max"], table("c.csv")[0]["strahler_max"]) == ("1", "2")
    tip = min(("start", "end"), key=lambda end: int(stem[f"{end}_y_voxel"]))
    place = [float(stem[f"{tip}_{axis}_mm"]) for axis in "xy"]
    found = softmorph_cli.inspect("wide.nii.gz", root=place, levels=0).to_pandas()
    rooted = found[found["generation"].notna()]
    assert sorted(rooted["generation"]) == [0, 1, 1]
    # The line on its own is not connected to that place.
    assert len(rooted) == len(found) - 1
