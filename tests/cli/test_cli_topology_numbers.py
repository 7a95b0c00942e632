"""softmorph topology numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import load, refused, run, save
from helpers_priors import softmax
from helpers_topology import broken_ring, vessels
from PIL import Image

from softmorph_cli.cli.topology_numbers import counted
from softmorph_cli.kernels.level_sets import LevelSets
from softmorph_cli.topology.betti import Betti, betti_numbers
from softmorph_cli.topology.persistence import bars

# Numbers.


def test_numbers_are_those_of_the_map() -> None:
    p = vessels(24, noise=1.5)
    save("v.nii.gz", p)
    found = run("topology", "numbers", "v.nii.gz", "--json").json
    (one,) = found["classes"]
    betti = betti_numbers(p > 0.5)
    assert one["betti"] == {"b0": betti.b0, "b1": betti.b1, "b2": betti.b2}
    assert one["euler"] == betti.euler
    assert found["parameters"] == {"threshold": 0.5, "connectivity": 26, "background_connectivity": 6}
    wanted = bars(p)
    assert one["bars"] == dict(
        zip(("components", "loops", "cavities"), map(len, wanted.diagrams), strict=True)
    )
    at = one["curves"]["thresholds"].index(0.3)
    assert [one["curves"][f"b{k}"][at] for k in range(3)] == list(betti_numbers(p > 0.3).numbers)
    assert len(one["longest_bars"]) == 10
    lengths = [bar["length"] for bar in one["longest_bars"]]
    assert lengths == sorted(lengths, reverse=True)
    for bar in one["longest_bars"]:
        assert p[tuple(bar["birth_voxel"])] == np.float32(bar["birth"])
        if bar["death_voxel"] is not None:
            assert p[tuple(bar["death_voxel"])] == np.float32(bar["death"])
    z, y, x = one["longest_bars"][0]["birth_voxel"]
    assert one["longest_bars"][0]["birth_world"] == [1.5 * x, 2 * y, 3 * z]
    assert one["world_unit"] == "mm"
    everything = run("topology", "numbers", "v.nii.gz", "--json", "--top", 0).json["classes"][0][
        "longest_bars"
    ]
    assert len(everything) == sum(map(len, wanted.diagrams))


def test_the_table_names_what_is_counted() -> None:
    save("ring.png", np.rint(65535 * broken_ring()).astype(np.uint16), None)
    shown = run("topology", "numbers", "ring.png", "--top", 2).out
    assert "components (b0): 2" in shown
    assert "holes (b1): 0" in shown
    assert "8-connected, the background 4-connected" in shown
    assert "more bars; --top 0 shows all" in shown
    assert len(re.findall("^  component: birth", shown, re.MULTILINE)) == 2
    shown = run("topology", "numbers", "ring.png", "--no-bars", "--connectivity", 4, "--threshold", 0.05).out
    assert "holes (b1): 1" in shown
    assert "birth" not in shown
    assert "4-connected, the background 8-connected" in shown


def test_numbers_of_each_channel() -> None:
    p = softmax()
    found = run("topology", "numbers", "softmax.nii.gz", "--json", "--json-file", "n.json").json
    assert [one["betti"]["b0"] for one in found["classes"]] == [betti_numbers(c > 0.5).b0 for c in p]
    assert len({one["class"] for one in found["classes"]}) == 3
    assert Path("n.json").read_text(encoding="utf-8").startswith("{")
    shown = run("topology", "numbers", "softmax.nii.gz").out
    assert shown.count("longest bars of ") == 3
    says = "holds 3 images, and --plot draws one: add --channel 1 or 2."
    refused("topology", "numbers", "softmax.nii.gz", "--plot", "n.png", says=says)
    run("topology", "numbers", "softmax.nii.gz", "--plot", "n.png", "--channel", 1)
    with Image.open("n.png") as image:
        assert image.format == "PNG"


def test_bars_of_a_nested_skeleton_are_those_of_its_levels() -> None:
    p = broken_ring(48, noise=1.0)
    save("map.tif", p)
    run("skeletonize", "map.tif", "s.tif", "--levels", 8)
    result = run("topology", "numbers", "s.tif", "--json", "--top", 0)
    document = result.json
    rounded = LevelSets(8).rounded_up(p)
    wanted = sorted((b, d) for k in bars(rounded).diagrams for b, d in zip(k.birth, k.death, strict=True))
    assert sorted((one["birth"], one["death"]) for one in document["classes"][0]["longest_bars"]) == wanted
    assert "values are rounded up to them" in result.err
    # Of its own values there are more, which the map has not.
    assert sum(map(len, bars(load("s.tif")).diagrams)) > len(wanted)
    assert "rounded" not in run("topology", "numbers", "s.tif", "--no-bars").err
    assert "rounded" not in run("topology", "numbers", "map.tif").err


@pytest.mark.parametrize("count", [8, 192])
def test_the_numbers_shown_of_a_nested_skeleton_are_the_map_s_at_levels_that_are_named(count: int) -> None:
    p = broken_ring(48, noise=1.0)
    save("map.tif", p)
    run("skeletonize", "map.tif", "s.tif", "--levels", count)
    shown = run("topology", "numbers", "s.tif", "--top", 1).out
    thresholds = [LevelSets(count).nearest(threshold) for threshold in (0.1, 0.3, 0.5, 0.7, 0.9)]
    at = [betti_numbers(p > np.float64(threshold)).numbers for threshold in thresholds]
    heads = ", ".join(f"{threshold:g}" for threshold in thresholds)
    for k, name in enumerate(("components", "holes")):
        line = next(line for line in shown.splitlines() if f"{name} above" in line)
        assert line.split(" above ")[1].replace(":", "").split() == [
            *heads.split(),
            *(str(numbers[k]) for numbers in at),
        ]


def test_an_empty_map_has_numbers() -> None:
    save("zero.nii.gz", np.zeros((4, 5, 6), np.float32))
    (one,) = run("topology", "numbers", "zero.nii.gz", "--json").json["classes"]
    assert one["betti"] == {"b0": 0, "b1": 0, "b2": 0}
    assert one["longest_bars"] == []
    run("topology", "numbers", "zero.nii.gz", "--plot", "zero.png")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--connectivity", 18], 2, "26 or 6 in 3D"),
        (["--connectivity", 8], 1, "26 (background 6)"),
        (["--threshold", 1], 2, "below 1"),
        (["--threshold", "nan"], 2, "below 1"),
        (["--top", -1], 2, "--top"),
        (["--plot", "a.png", "--no-bars"], 2, "--no-bars"),
        (["--plot", "a.jpg"], 2, ".png"),
    ],
)
def test_numbers_that_cannot_be_had(options: list[object], code: int, says: str) -> None:
    save("v.nii.gz", vessels(16))
    refused("topology", "numbers", "v.nii.gz", *options, code=code, says=says)


def test_words() -> None:
    assert counted(Betti(1, 2, None, -1, 8)) == "1 component, 2 holes"
    assert counted(Betti(1200, 1, 1, 1200, 26)) == "1,200 components, 1 loop, 1 cavity"


def test_where_a_bar_ends() -> None:
    save("v.nii.gz", vessels(16))
    shown = run("topology", "numbers", "v.nii.gz", "--region", "2:,:,:").out
    assert "at (z y x) -, in mm (x y z) -" in shown
    assert "voxels count from the corner of --region" in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())
    # Without a size of voxels the world would be the array's indices again.
    np.save("bare.npy", broken_ring())
    shown = run("topology", "numbers", "bare.npy").out
    assert "death 0, at (y x) -, persistence" in shown
    assert "(x y z)" not in shown
    np.save("zero.npy", np.zeros((5, 5), np.float32))
    assert "none: the map is 0" in run("topology", "numbers", "zero.npy").out


def test_the_table_has_the_persistence_of_each_bar() -> None:
    image = np.zeros((3, 9), np.float32)
    image[1, 1:8] = (0.75, 0.75, 0.25, 0.5, 0.5, 0.25, 0.5)
    save("p.npy", image)
    shown = run("topology", "numbers", "p.npy").out
    # By hand: the component of 0.75 lasts to 0; both of 0.5 meet an older one at 0.25.
    assert re.findall(r"birth ([\d.]+), .*death ([\d.]+), .*persistence ([\d.]+)$", shown, re.MULTILINE) == [
        ("0.75", "0", "0.75"),
        ("0.5", "0.25", "0.25"),
        ("0.5", "0.25", "0.25"),
    ]
