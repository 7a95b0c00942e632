"""softmorph inspect: the curve of a map or of a skeleton, in tables, texts, images and pictures."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import (
    Ended,
    load,
    nibabel,
    refused,
    run,
    save,
)
from helpers_inspect import (
    FORK,
    GRAPH,
    IMAGES,
    SHAPE,
    SPACING,
    TEXTS,
    TIPS,
    UNEVEN,
    curves,
    drawn,
    length,
    rows,
)

import softmorph_cli

# What the whole is for


def test_a_tree_of_three_arms_and_a_ring_on_uneven_voxels(document: Any) -> None:
    graph = document["graph"]
    assert tuple(name for name in graph if name in GRAPH) == GRAPH
    counts = {name: graph[name] for name in GRAPH[:-1]}
    assert counts == {"components": 2, "cycles": 1, "end_points": 3, "junctions": 1, "branches": 4}
    assert graph["length_mm"] == pytest.approx(sum(map(length, curves())), rel=0.06)


def test_each_arm_is_where_it_was_drawn(document: Any) -> None:
    *arms, ring = curves()
    first, *others = document["branches"]
    assert (first["kind"], first["tortuosity"]) == ("loop", None)
    assert first["length_mm"] == pytest.approx(length(ring), rel=0.06)
    found = {}
    for branch in others:
        assert branch["kind"] == "spur"
        ends = np.array([[branch[f"{end}_{axis}_mm"] for axis in "zyx"] for end in ("start", "end")])
        away = [min(np.linalg.norm(ends - tip, axis=1)) for tip in TIPS]
        assert min(away) < 2
        found[int(np.argmin(away))] = branch["length_mm"]
        assert min(np.linalg.norm(ends - FORK, axis=1)) < 2
    assert [found[k] for k in range(3)] == pytest.approx([length(arm) for arm in arms], abs=2)
    radius = document["graph"]["radius"]
    # Slices of 2 mm hold no more of a radius of 1.5; in voxels it would be 3.
    assert (radius["unit"], radius["mean"]) == ("mm", pytest.approx(1.5, abs=0.5))


# JSON and the other texts


def test_the_json_has_input_and_parameters(document: Any, kept: Path) -> None:
    assert set(document) == {
        "schema",
        "softmorph_version",
        "command",
        "input",
        "map",
        "parameters",
        "seconds",
        "graph",
        "components",
        "branches",
        "nodes",
        "warnings",
        "notes",
    }
    assert document["schema"] == 2
    assert document["softmorph_version"] == softmorph_cli.__version__
    assert document["input"] == {
        "path": str(kept / "tree.nii.gz"),
        "format": "nifti",
        "shape": list(SHAPE),
        "axes": "ZYX",
        "spacing": list(SPACING),
        "unit": "mm",
        "dtype": "float32",
        "channel": None,
        "read_with": {},
    }
    assert document["map"] is None
    assert document["parameters"] == {"as": "map", "threshold": 0.5, "levels": 64}
    assert set(document["seconds"]) == {"read", "inspect", "total"}
    assert all(value > 0 for value in document["seconds"].values())


def test_every_warning_is_in_the_json_and_on_stderr(document: Any, kept: Path) -> None:
    """That of the SWC too, which is written before it."""
    told = (kept / "err.txt").read_text(encoding="utf-8").splitlines()
    assert [f"warning: {warning}" for warning in document["warnings"]] == told
    assert len(told) == 2
    assert told[0].startswith(f"warning: {UNEVEN}")
    assert "1 cycle was cut open" in told[1]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_on_stdout_is_alone_there_and_the_same(name: str, tree: Path, kept: Path) -> None:
    ended = run("inspect", tree, f"--{name}", "-")
    written = (kept / TEXTS[name]).read_text(encoding="utf-8")
    # The tables over files name the file.
    assert ended.out == written.replace(str(kept / tree.name), str(tree))


def test_the_json_on_stdout_is_alone_there_and_the_same(tree: Path, kept: Path) -> None:
    ended = run("inspect", tree, "--json")
    found, wanted = ended.json, json.loads((kept / "j.json").read_text(encoding="utf-8"))
    for one in (found, wanted):
        del one["seconds"], one["warnings"], one["input"]["path"]
    assert found == wanted
    assert ended.out.startswith("{")
    assert ended.out.endswith("}\n")


def test_the_csv_has_units_in_its_names_and_the_numbers_of_the_json(kept: Path, document: Any) -> None:
    text = (kept / "c.csv").read_text(encoding="utf-8")
    found = list(csv.DictReader(io.StringIO(text)))
    assert {"length_mm", "chord_mm", "radius_mean_mm", "start_x_mm", "end_z_mm", "start_z_voxel"} <= set(
        found[0]
    )
    assert len(found) == 4
    for row, branch in zip(found, document["branches"], strict=True):
        assert float(row["length_mm"]) == branch["length_mm"]
        # The affine takes voxels to the world: here it is the spacing alone.
        for axis, size in zip("zyx", SPACING, strict=True):
            assert float(row[f"end_{axis}_mm"]) == int(row[f"end_{axis}_voxel"]) * size


def test_without_a_voxel_size_names_say_voxels() -> None:
    np.save("bare.npy", drawn())
    names = run("inspect", "bare.npy", "--csv", "-", "--levels", 0).out.splitlines()[0].split(",")
    assert "length_voxels" in names
    assert not [name for name in names if name.endswith("_mm")]
    graph = run("inspect", "bare.npy", "--json", "--levels", 0).json["graph"]
    assert graph["unit"] == "voxels"
    assert "length_mm" not in graph


@pytest.mark.parametrize("name", ["swc", "obj", "graphml"])
def test_texts_for_other_programs_have_every_branch(name: str, kept: Path, document: Any) -> None:
    """That they are read back is the business of `tests/skeleton/test_exports.py`; here they are the right ones."""
    text = (kept / TEXTS[name]).read_text(encoding="utf-8")
    branches = document["branches"]
    if name == "obj":
        assert len(re.findall(r"^l ", text, re.M)) == len(branches)
    elif name == "graphml":
        assert text.count("<edge ") == len(branches)
    else:
        points = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        assert sum(point[6] == "-1" for point in points) == document["graph"]["components"]
        # In mm, as the map is: in micrometres they would be a thousand times as far.
        assert max(float(point[2]) for point in points) == pytest.approx(54, abs=1)


# Images


@pytest.mark.parametrize(("name", "values"), [("skeleton", 1), ("branch-labels", 4), ("tagged", 3)])
def test_images_open_elsewhere_at_the_same_place(name: str, values: int, kept: Path, document: Any) -> None:
    image, source = nibabel.load(kept / IMAGES[name]), nibabel.load(kept / "tree.nii.gz")
    np.testing.assert_array_equal(image.affine, source.affine)
    assert image.shape == source.shape
    assert image.header.get_data_dtype() == np.uint8
    assert image.header.get_xyzt_units()[0] == "mm"
    array = load(kept / IMAGES[name])
    assert np.unique(array).tolist() == list(range(values + 1))
    assert np.count_nonzero(array) == document["graph"]["voxels"]


def test_an_image_of_a_region_lies_where_the_region_does(tree: Path) -> None:
    run("inspect", tree, "--region", "4:,:,40:", "--skeleton", "part.nii.gz", "--levels", 0)
    part, whole = nibabel.load("part.nii.gz"), nibabel.load(tree)
    assert part.shape == (80, 76, 14)
    np.testing.assert_allclose(part.affine @ [0, 0, 0, 1], whole.affine @ [40, 0, 4, 1])


def test_images_of_a_resampled_map_are_on_its_grid(tree: Path) -> None:
    ended = run("inspect", tree, "--resample", "iso", "--skeleton", "fine.nii.gz", "--levels", 0, "--json")
    fine = nibabel.load("fine.nii.gz")
    assert fine.header.get_zooms() == (0.5, 0.5, 0.5)
    assert fine.shape == (120, 76, 72)
    assert np.count_nonzero(load("fine.nii.gz")) == ended.json["graph"]["voxels"]
    assert ended.json["parameters"]["resample"] == "iso"
    assert UNEVEN not in ended.err
    assert ended.json["graph"]["length_mm"] == pytest.approx(sum(map(length, curves())), rel=0.06)


# The preview and the page


def test_the_preview_is_a_picture_of_the_curve(kept: Path) -> None:
    import matplotlib.image

    picture = matplotlib.image.imread(kept / "p.png")
    assert min(picture.shape[:2]) > 100
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 50


def test_the_report_is_one_page_about_this_file(kept: Path, document: Any) -> None:
    page = (kept / "r.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "<title>tree.nii.gz" in page
    assert "data:image/png;base64," in page
    assert UNEVEN.removeprefix("v") in page  # a sentence of its own begins with a capital
    assert f"{document['graph']['length_mm']:.0f}" in page


# A skeleton, known or named


def test_a_skeleton_is_recognised_by_who_wrote_it(skeleton: Path, tree: Path, document: Any) -> None:
    ended = run("inspect", skeleton, "--json")
    assert ended.json["parameters"] == {"as": "skeleton", "threshold": 0.25}
    assert "note: softmorph wrote this file as a skeleton, and it is taken as one; add --as map" in ended.err
    found = {name: ended.json["graph"][name] for name in GRAPH}
    assert found == {name: document["graph"][name] for name in GRAPH}
    assert ended.json["graph"]["radius"] is None
    ended = run("inspect", skeleton, "--map", tree, "--json")
    assert ended.json["map"] == {"path": str(tree)}
    assert ended.json["graph"]["radius"] == document["graph"]["radius"]
    assert ended.json["graph"]["certainty"] == document["graph"]["certainty"]


def test_the_kind_of_a_file_can_be_given(skeleton: Path) -> None:
    ended = run("inspect", skeleton, "--as", "map", "--json", "--levels", 0)
    assert ended.json["parameters"]["as"] == "map"
    assert ended.json["graph"]["radius"] is not None
    assert "softmorph wrote" not in ended.err
    # The same voxels from another program are a map.
    save("other.nii.gz", load(skeleton).astype(np.uint8), SPACING)
    assert run("inspect", "other.nii.gz", "--json", "--levels", 0).json["parameters"]["as"] == "map"
    ended = run("inspect", "other.nii.gz", "--as", "skeleton", "--json")
    assert ended.json["parameters"]["as"] == "skeleton"


@pytest.mark.parametrize(("hard", "certainty"), [(["--hard"], False), ([], True)])
def test_what_skeletonize_wrote(tree: Path, hard: list[str], certainty: bool) -> None:
    run("skeletonize", tree, "out.nii.gz", *hard)
    found = run("inspect", "out.nii.gz", "--json").json
    assert found["parameters"]["as"] == "skeleton"
    assert (found["graph"]["certainty"] is not None) is certainty
    assert (found["graph"]["components"], found["graph"]["cycles"]) == (2, 1)


def test_labels_are_no_map(kept: Path) -> None:
    refused("inspect", kept / IMAGES["tagged"], says=("holds labels (1, 2, 3)", "--label 1"))


def test_a_map_of_another_place_is_refused(skeleton: Path) -> None:
    save("small.nii.gz", drawn()[1:], SPACING)
    says = ("skeleton.nii.gz: ", "the map's shape is (17, 76, 120) and the skeleton's (18, 76, 120)")
    refused("inspect", skeleton, "--map", "small.nii.gz", says=says)
    refused("inspect", skeleton, "--map", "none.nii.gz", says="none.nii.gz does not exist")


# Pruning by lengths with units


@pytest.mark.parametrize(
    ("prune", "gone"), [("15mm", 0), ("16mm", 1), ("16000um", 1), ("30vox", 0), ("32vox", 1)]
)
def test_a_length_has_its_unit(prune: str, gone: int, tree: Path) -> None:
    """A voxel counts as its shortest side, 0.5 mm. Without one arm, the others are one branch."""
    ended = run("inspect", tree, "--prune", prune, "--json", "--levels", 0)
    assert ended.json["parameters"]["prune"] == prune
    assert ended.json["parameters"]["pruned_spurs"] == gone
    assert ended.json["graph"]["junctions"] == 1 - gone
    assert ended.json["graph"]["cycles"] == 1


def test_pruning_is_reported_in_table_and_json(tree: Path) -> None:
    ended = run("inspect", tree, "--prune", "1mm", "--prune-cycles", "shortest", "--levels", 0)
    assert "; 0 spurs pruned" in ended.out
    assert "  cycles: 0\n" in ended.out
    assert "  end points: 5\n" in ended.out
    plain = run("inspect", tree, "--levels", 0)
    assert "spurs pruned" not in plain.out


def test_a_length_needs_voxels_of_a_known_size() -> None:
    np.save("bare.npy", drawn())
    refused("inspect", "bare.npy", "--prune", "2mm", says=("does not say how large its voxels are", "4vox"))
    says = ("bare.npy: the image does not say how large its voxels are", "leave out --resample iso")
    refused("inspect", "bare.npy", "--resample", "iso", says=says)


# Tables


def test_plain_lines_have_the_numbers_of_the_json(kept: Path, document: Any) -> None:
    out = (kept / "out.txt").read_text(encoding="utf-8")
    assert out.startswith(f"{kept / 'tree.nii.gz'}\n")
    graph = document["graph"]
    for name in GRAPH[:-1]:
        assert f"  {name.replace('_', ' ')}: {graph[name]}\n" in out
    assert f"  total length (mm): {graph['length_mm']:.5g}\n" in out
    assert f"  longest branch (mm): {graph['longest_branch_mm']:.5g}\n" in out
    assert "size (z, y, x) 18 × 76 × 120; voxel size 2 × 0.5 × 0.5 mm; above 0.5, 26-connected" in out
    table = rows(out)
    columns = {
        "length (mm)": "length_mm",
        "tortuosity": "tortuosity",
        "radius (mm)": "radius_mean_mm",
        "certainty": "certainty_mean",
        "least": "certainty_min",
        "soft skeleton": "levels_mean",
    }
    assert len(document["branches"]) == 4
    for branch in document["branches"]:
        row = table[f"branch {branch['branch']}"]
        assert set(row) == {*columns, "type", "component"}
        for column, name in columns.items():
            if branch[name] is None:
                assert row[column] == "-"
            else:
                # Three figures.
                assert float(row[column]) == pytest.approx(branch[name], rel=5.1e-3)
        kind = branch["branch_type"].replace("isolated cycle", "isolated-cycle")
        assert (row["type"], row["component"]) == (kind, str(branch["component"]))
    for component in document["components"]:
        row = table[f"component {component['component']}"]
        assert float(row["length (mm)"]) == pytest.approx(component["length_mm"], rel=5.1e-3)
        names = ("branches", "end points", "junctions", "cycles")
        assert [int(row[name]) for name in names] == [component[n.replace(" ", "_")] for n in names]


def shown(ended: Ended) -> list[int]:
    return [int(name.split()[1]) for name in rows(ended.out) if name.startswith("branch")]


def test_the_order_and_the_length_of_the_table(tree: Path, document: Any) -> None:
    branches = document["branches"]
    orders = {
        "length": lambda b: -b["length_mm"],
        "tortuosity": lambda b: -(b["tortuosity"] or 0),
        "radius": lambda b: -b["radius_mean_mm"],
        "certainty": lambda b: b["certainty_mean"],
    }
    found = {}
    for sort, key in orders.items():
        found[sort] = shown(run("inspect", tree, "--sort", sort, "--levels", 0))
        assert found[sort] == [b["branch"] for b in sorted(branches, key=key)]
    # The orders differ: each could have been mistaken for another.
    assert len({tuple(order) for order in found.values()}) >= 3
    ended = run("inspect", tree, "--sort", "radius", "--top", 2, "--levels", 0)
    assert "branches, widest first\n" in ended.out
    assert shown(ended) == found["radius"][:2]
    assert "  2 more branches; --top 0 shows all, --csv PATH writes them\n" in ended.out
    for top in (0, 4, 99):
        ended = run("inspect", tree, "--top", top, "--levels", 0)
        assert shown(ended) == [1, 2, 3, 4]
        assert "more branches" not in ended.out


def test_one_component_needs_no_table_of_components() -> None:
    image = np.zeros((5, 7, 20), np.float32)
    image[2, 3, 2:18] = 1
    save("line.nii.gz", image)
    assert "components, longest first" not in run("inspect", "line.nii.gz", "--levels", 0).out


def test_components_beyond_the_first_are_summed_up() -> None:
    image = np.zeros((5, 60, 30), np.float32)
    for k in range(11):
        image[2, 5 * k + 3, 2 : 6 + 2 * k] = 1
    save("lines.npy", image)
    out = run("inspect", "lines.npy", "--top", 1, "--levels", 0).out
    table = out.split("components, longest first\n")[1].splitlines()
    assert [line.split(":")[0].strip() for line in table] == [
        *(f"component {n}" for n in range(1, 9)),
        "3 more",
    ]
    assert "length (voxels) 15, branches 3, end points 6, junctions 0, cycles 0" in table[-1]


def test_quiet_silences_tables_and_keeps_warnings(skeleton: Path, tree: Path) -> None:
    loud, still = (run("inspect", skeleton, *more) for more in ([], ["-q"]))
    assert loud.err.count("note: ") == 2
    assert still.err == ""
    assert still.out == ""
    assert "components" in loud.out
    assert run("inspect", tree, "--quiet", "--levels", 0).err.startswith(f"warning: {UNEVEN}")
