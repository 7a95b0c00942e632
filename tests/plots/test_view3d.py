"""The data of the page's 3D view: places in physical units, colours, limits; and its script."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_page import drawing, made, page_of, parsed
from scipy import ndimage

from softmorph_cli.plots.html import view3d
from softmorph_cli.skeleton.analyse import Inspection
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import Branch, Component, SkeletonGraph, SkeletonNode, TreePlace, measure
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.volume import Source, Volume

SCRIPT = Path(view3d.__file__).with_name("view3d.js")
# x and y fall with the column and the row; voxels are 0.5 x 0.25 x 2 mm.
AFFINE = np.array([[0, 0, -0.5, 10.0], [0, -0.25, 0, 20.0], [2.0, 0, 0, 30.0], [0, 0, 0, 1]])


def crossed() -> np.ndarray:
    """Draw a line along x, and one along z that does not touch it."""
    mask = np.zeros((9, 6, 20), bool)
    mask[2, 3, 4:15] = True
    mask[1:8, 1, 17] = True
    return mask


def data_of(inspection: Inspection) -> dict[str, Any]:
    held = parsed(page_of(inspection)).one("script", id="view3d-data").text
    data: dict[str, Any] = json.loads(held)
    return data


def lines_of(data: dict[str, Any]) -> dict[int, np.ndarray]:
    """Return the points of each branch, by its number."""
    cuts = np.cumsum(data["counts"])[:-1]
    parts = np.split(np.array(data["points"]).reshape(-1, 3), cuts)
    return dict(zip(data["numbers"], parts, strict=True))


@cache
def drawn_tree() -> Inspection:
    """Inspect a soft map of a T of two tubes in a block of 2 x 1 x 1 mm voxels."""
    mask = np.zeros((15, 30, 40), bool)
    mask[7, 15, 5:35] = mask[7, 4:15, 20] = True
    away = ndimage.distance_transform_edt(~mask, sampling=(2, 1, 1))
    soft = np.clip(1.2 - away / np.linspace(4, 6, 40), 0, 1).astype(np.float32)
    radius = ndimage.distance_transform_edt(soft > 0.5, sampling=(2, 1, 1))
    volume = Volume(soft, "ZYX", (2.0, 1.0, 1.0), "mm")
    values = {"radius": radius, "certainty": soft}
    samples = {name: lambda index, v=v: v[tuple(index.T)].astype(float) for name, v in values.items()}
    graph = measure(trace(np.argwhere(mask)), Frame.of(volume), soft.shape, samples)
    return Inspection(volume, graph, {"as": "map", "threshold": 0.5})


# --- places --------------------------------------------------------------------------------------------------


def test_points_are_those_of_the_world_in_the_files_unit() -> None:
    data = data_of(made(crossed(), (2.0, 0.25, 0.5), "mm", affine=AFFINE))
    lines = lines_of(data)
    # By hand: along z from 32 to 44 mm at x = 10 - 17 / 2, y = 20 - 1 / 4, and along x from 8 down to 3 mm.
    wanted = [[1.5, 19.75, 30 + 2 * z] for z in range(1, 8)]
    assert lines[1].tolist() in (wanted, wanted[::-1])
    wanted = [[10 - x / 2, 19.25, 34.0] for x in range(4, 15)]
    assert lines[2].tolist() in (wanted, wanted[::-1])
    assert sorted(map(tuple, np.reshape(data["nodes"]["end point"], (-1, 3)).tolist())) == [
        (1.5, 19.75, 32.0),
        (1.5, 19.75, 44.0),
        (3.0, 19.25, 34.0),
        (8.0, 19.25, 34.0),
    ]
    # Half a voxel around them.
    assert data["box"] == [[1.25, 19.125, 31.0], [8.25, 19.875, 45.0]]
    assert data["unit"] == "mm"


def test_every_branch_of_a_tree_has_its_points_and_its_words() -> None:
    inspection = drawn_tree()
    branches = inspection.graph.branches
    data = data_of(inspection)
    lines = lines_of(data)
    assert len(branches) == len(lines) == 3
    for branch in branches:
        # A thousandth of the finest side of a voxel.
        np.testing.assert_allclose(lines[branch.number], branch.points, atol=1e-3)
    facts = {name: (cells, unit) for name, cells, unit in data["facts"]}
    assert [float(cell) for cell in facts["length"][0]] == pytest.approx(
        [b.length for b in branches], abs=0.006
    )
    assert facts["length"][1] == facts["mean radius"][1] == "mm"
    radii = [b.along["radius"].mean() for b in branches]
    assert [float(cell) for cell in facts["mean radius"][0]] == pytest.approx(radii, abs=0.006)


def test_axes_on_the_screen_follow_the_world_or_the_image() -> None:
    scan = made(crossed(), (2.0, 0.25, 0.5), "mm", affine=AFFINE)
    assert data_of(scan)["screen"] == [[1, 0, 0], [0, 0, 1]]
    assert "z to superior" in page_of(scan)
    stored = Source(Path("a.zarr"), "ome-zarr", (9, 6, 20), "float32")
    zarr = replace(scan, volume=replace(scan.volume, source=stored))
    for inspection in (zarr, made(crossed())):
        assert data_of(inspection)["screen"] == [[1, 0, 0], [0, -1, 0]]
        assert "superior" not in page_of(inspection)
    assert data_of(made(crossed()))["unit"] == "voxels"


def test_surface_points_are_voxels_of_the_map_beside_its_outside() -> None:
    inspection = drawn_tree()
    soft = inspection.volume.array
    places = np.reshape(data_of(inspection)["surface"], (-1, 3))
    index = np.rint(places[:, ::-1] / (2.0, 1.0, 1.0)).astype(int)
    np.testing.assert_allclose(index * (2.0, 1.0, 1.0), places[:, ::-1], atol=1e-9)
    wide = np.pad(soft, 1)
    found = set()
    for z, y, x in np.argwhere(soft > 0.5).tolist():
        cross = [
            wide[z + 1 + a, y + 1 + b, x + 1 + c]
            for a, b, c in np.vstack([np.eye(3), -np.eye(3)]).astype(int)
        ]
        if min(cross) <= 0.5:
            found.add((z, y, x))
    assert len(found) > 500
    assert set(map(tuple, index.tolist())) == found


def test_without_a_map_there_is_no_surface() -> None:
    inspection = made(crossed(), quantities=("certainty",))
    assert data_of(inspection)["surface"] == []
    assert "Surface of the map" not in page_of(inspection)
    assert "Surface of the map" in page_of(drawn_tree())


# --- colours -------------------------------------------------------------------------------------------------


def test_colours_of_a_quantity_are_its_share_between_the_least_and_the_largest() -> None:
    inspection = drawn_tree()
    ways = {way["name"]: way for way in data_of(inspection)["colorings"]}
    assert list(ways) == ["Radius", "Certainty", "Branch", "Component", "Type"]
    radius = np.concatenate([b.along["radius"] for b in inspection.graph.branches])
    low, high = radius.min(), radius.max()
    wanted = [round(23 * (r - low) / (high - low)) for r in radius.tolist()]
    assert ways["Radius"]["values"] == wanted
    assert max(wanted) == 23
    assert ways["Radius"]["words"] == [f"{low:.3g} mm", f"{high:.3g} mm"]
    kinds = [["spur", "inner"].index(b.kind) for b in inspection.graph.branches]
    assert ways["Type"]["values"] == kinds
    # No branch ends within the vessel that it leaves.
    assert ways["Type"]["words"] == ["junction-to-endpoint"]


def test_a_skewed_quantity_has_a_logarithmic_scale() -> None:
    inspection = made(crossed())
    first, second = inspection.graph.branches
    along = [
        {"radius": np.array([1.0] * 10 + [1000.0])},
        {"radius": np.array([1.0] * 6 + [10.0])},
    ]
    branches = tuple(replace(b, along=a) for b, a in zip((first, second), along, strict=True))
    skewed = replace(inspection, graph=replace(inspection.graph, branches=branches))
    way = data_of(skewed)["colorings"][0]
    assert (way["scale"], way["words"]) == ("logarithmic", ["1 voxels", "1,000 voxels"])
    # A third of three powers of ten, of 23 steps.
    assert way["values"] == [0] * 10 + [23] + [0] * 6 + [8]


def test_generations_are_a_scale_in_which_some_are_not_known() -> None:
    inspection = made(crossed())
    first, second = inspection.graph.branches
    branches = (
        replace(first, tree=TreePlace(2, 1, None, None)),
        replace(second, tree=TreePlace(0, None, None, None)),
    )
    rooted = replace(inspection, graph=replace(inspection.graph, branches=branches))
    ways = {way["name"]: way for way in data_of(rooted)["colorings"]}
    assert (ways["Generation"]["values"], ways["Generation"]["words"]) == ([23, 0], ["0", "2"])
    assert (ways["Strahler order"]["values"], ways["Strahler order"]["words"]) == ([0, -1], ["1"])
    assert page_of(rooted).count("not known</span>") == 1


# --- many branches, none -------------------------------------------------------------------------------------


def crowd(count: int, each: int) -> Inspection:
    """Return an inspection of so many branches with so many points each."""
    rng = np.random.default_rng(0)
    branches = tuple(
        Branch(
            number=k + 1,
            component=1,
            nodes=(2 * k + 1, 2 * k + 2),
            kind="end to end",
            voxels=np.zeros((each, 3), int),
            points=rng.uniform(0, 100, (each, 3)),
            length=1e5 - k,
            chord=1.0,
            along={"certainty": rng.random(each)},
        )
        for k in range(count)
    )
    nodes = tuple(
        SkeletonNode(branch.nodes[end], 1, 1, np.zeros((1, 3), int), branch.points[-end])
        for branch in branches
        for end in (0, 1)
    )
    volume = Volume(np.zeros((4, 4, 4), np.float32), "ZYX", (1.0, 1.0, 1.0), "mm")
    whole = Component(1, count, 2 * count, 0, 0, 1.0)
    return Inspection(volume, SkeletonGraph(nodes, branches, (whole,), Frame.of(volume), (4, 4, 4)), {})


def test_of_too_many_points_every_branch_keeps_its_ends_and_the_page_says_so() -> None:
    inspection = crowd(400, 301)
    page = page_of(inspection)
    data = data_of(inspection)
    # Of 120,400 points every third, 101 of each branch: every second would be 60,400.
    assert data["counts"] == [101] * 400
    assert sum(data["counts"]) <= view3d.MOST_POINTS
    lines = lines_of(data)
    for branch in inspection.graph.branches:
        np.testing.assert_allclose(lines[branch.number], branch.points[::3], atol=1e-3)
    assert len(data["colorings"][0]["values"]) == sum(data["counts"])
    assert "Drawn are 40,400 of the 120,400 points of the branches" in page
    assert "Drawn are" not in page_of(crowd(3, 20))


def test_of_too_many_branches_the_longest_are_drawn_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view3d, "MOST_BRANCHES", 20)
    assert "Drawn are" not in page_of(crowd(20, 4))
    inspection = crowd(50, 4)
    data = data_of(inspection)
    assert data["numbers"] == list(range(1, 21))
    assert len(data["nodes"]["end point"]) == 3 * 40
    assert "Drawn are the longest 20 of 50 branches." in page_of(inspection)


def test_an_image_and_an_empty_volume_have_no_view() -> None:
    for inspection in (made(drawing()), made(np.zeros((4, 5, 6), bool))):
        assert "view3d" not in page_of(inspection)
        assert "3D view" not in page_of(inspection)


def test_single_voxels_alone_are_marked_without_colours() -> None:
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = True
    data = data_of(made(mask))
    assert (data["points"], data["colorings"], data["nodes"]["voxel"]) == ([], [], [3, 2, 1])
    assert "Colour by" not in page_of(made(mask))


# --- the page ------------------------------------------------------------------------------------------------


def test_the_page_needs_no_other_resource() -> None:
    page = page_of(drawn_tree())
    assert not re.search(
        r"(?i)https?:|//[a-z0-9-]+\.|@import|url\(|<link|<iframe|<base|\bfetch\(|import\(", page
    )
    assert not any("src" in script.attributes for script in parsed(page).all("script"))


def test_the_view_has_a_name_help_and_words_without_scripts() -> None:
    root = parsed(page_of(drawn_tree()))
    canvas = root.one("canvas")
    words = "Rotating 3D view of 3 branches, 1 junction and 3 end points in a box of "
    assert canvas.attributes["aria-label"].startswith(words)
    assert words in canvas.text
    assert words in root.one("noscript").text
    assert canvas.attributes["tabindex"] == "0"
    assert "arrow keys" in root.one("p", id=canvas.attributes["aria-describedby"]).text
    assert "hidden" in root.one("div", id="view3d").attributes


def test_the_script_is_short_and_has_no_error_of_syntax() -> None:
    assert len(SCRIPT.read_text().splitlines()) < 300
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to check the syntax")
    done = subprocess.run([node, "--check", str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
