"""Files of several classes: how they are decided, which class is used, and that outputs name both."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_cli import SimpleITK, load, nibabel, refused, run, save

from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

SHAPE = (8, 18, 20)


def softmax(count: int = 3, seed: int = 0) -> np.ndarray:
    """Three classes that are seldom above one half, as a network is where it is not certain."""
    raised = np.exp(np.random.default_rng(seed).standard_normal((count, *SHAPE)))
    return np.asarray(raised / raised.sum(axis=0), np.float32)


def nifti(channels: np.ndarray, name: str = "map.nii.gz", unit: str = "mm", side: float = 1.0) -> str:
    image = nibabel.Nifti1Image(channels.T, np.diag([side, side, side, 1]))
    image.header.set_xyzt_units(unit)
    image.to_filename(name)
    return name


def case(probabilities: np.ndarray, painted: np.ndarray, **described: Any) -> None:
    """Write what nnU-Net writes of a case."""
    np.savez_compressed("case.npz", probabilities=probabilities)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(painted.astype(np.uint8)), "case.nii.gz")
    named = {"labels": {"background": 0, "artery": 1, "vein": 2}, "file_ending": ".nii.gz"} | described
    Path("dataset.json").write_text(json.dumps(named), encoding="utf-8")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def scores(*arguments: object) -> dict[int, float]:
    found = run("evaluate", *arguments, "--metrics", "dice", "--json").json
    return {row["label"]: row["metrics"]["dice"] for row in found["classes"]}


# Which labels a region is, and the labels each is painted with.
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def regions() -> tuple[np.ndarray, np.ndarray]:
    """Return regions inside each other, and the labels that nnU-Net paints."""
    z, y, x = np.indices(SHAPE)
    away = np.sqrt((2 * (z - 4.0)) ** 2 + (y - 9.0) ** 2 + (x - 10.0) ** 2)
    p = np.stack([1 / (1 + np.exp(away - radius)) for radius in (8.3, 5.9, 3.2)]).astype(np.float32)
    return p, (p > 0.5).sum(axis=0)


@pytest.mark.parametrize("order", [[1, 2, 3], None])
def test_regions_are_the_unions_of_their_labels(order: list[int] | None) -> None:
    p, painted = regions()
    case(p, painted, labels=REGIONS, **({"regions_class_order": order} if order else {}))
    truth = np.roll(painted, 2, axis=2)
    save("truth.nii.gz", truth.astype(np.uint8))
    expected = {
        label: dice(p[label - 1] > 0.5, np.isin(truth, members))
        for label, members in ((1, (1, 2, 3)), (2, (2, 3)), (3, (3,)))
    }
    assert scores("case.npz", "truth.nii.gz", "--same-grid") == pytest.approx(expected)
    assert scores("case.npz", "case.nii.gz") == {1: 1, 2: 1, 3: 1}
    # The other way round, one of them, and by name.
    assert scores("truth.nii.gz", "case.npz", "--same-grid") == pytest.approx(expected)
    for chosen in (("--label", 2), ("--channel", "core"), ("--channel", 1)):
        assert scores("case.npz", "truth.nii.gz", "--same-grid", *chosen) == pytest.approx({2: expected[2]})
    assert scores("case.npz", "case.npz") == {1: 1, 2: 1, 3: 1}
    ended = run("evaluate", "case.npz", "truth.nii.gz", "--same-grid", "--metrics", "dice", "--json")
    assert [row["region"] for row in ended.json["classes"]] == [[1, 2, 3], [2, 3], [3]]
    assert ended.json["parameters"]["decision"] == ("painted" if order else "threshold")
    assert "whole is 1, 2, 3; core is 2, 3; enhancing is 3" in ended.err


def test_regions_that_are_not_nested_are_painted_as_by_argmax() -> None:
    # Where both sides are above one half and their overlap is not, the right one is painted over the left one.
    members = {1: (1, 3), 2: (2, 3), 3: (3,)}
    labels = {"background": 0, "left": [1, 3], "right": [2, 3], "overlap": 3}
    p = np.random.default_rng(3).random((3, *SHAPE), dtype=np.float32)
    painted = np.zeros(SHAPE, int)
    for index in np.ndindex(SHAPE):
        for channel in range(3):
            if p[channel][index] > 0.5:
                painted[index] = channel + 1
    case(p, painted, labels=labels, regions_class_order=[1, 2, 3])
    truth = np.roll(painted, 2, axis=2)
    save("truth.nii.gz", truth.astype(np.uint8))
    expected = {k: dice(np.isin(painted, held), np.isin(truth, held)) for k, held in members.items()}
    cut = {k: dice(p[k - 1] > 0.5, np.isin(truth, held)) for k, held in members.items()}
    assert abs(cut[1] - expected[1]) > 0.01, "the example tells them apart"
    assert scores("case.npz", "truth.nii.gz", "--same-grid") == pytest.approx(expected)
    assert scores("truth.nii.gz", "case.npz", "--same-grid") == pytest.approx(expected)
    assert scores("case.npz", "case.nii.gz") == {1: 1, 2: 1, 3: 1}
    assert scores("case.npz", "truth.nii.gz", "--same-grid", "--channel", "left") == pytest.approx(
        {1: expected[1]}
    )
    run("resample", "case.npz", "argmax.nii.gz", "--spacing", "1mm", "--argmax")
    assert np.array_equal(load("argmax.nii.gz"), painted)
    ended = run("evaluate", "case.npz", "truth.nii.gz", "--same-grid", "--metrics", "dice", "--json")
    parameters = ended.json["parameters"]
    assert (parameters["decision"], parameters["reference_decision"]) == ("painted", "threshold")
    assert parameters["threshold"] is None
    assert "painted over each other in the order of regions_class_order" in ended.err
    assert scores("case.npz", "truth.nii.gz", "--same-grid", "--threshold", 0.5) == pytest.approx(cut)
    # Of logits one half is 0, and outside of a mask nothing is painted.
    np.savez_compressed("case.npz", probabilities=8 * np.log(p / (1 - p)))
    logits = ("case.npz", "truth.nii.gz", "--same-grid", "--from-logits", "sigmoid")
    assert scores(*logits) == pytest.approx(expected)
    inside = np.arange(SHAPE[2]) < 11
    save("mask.nii.gz", np.broadcast_to(inside, SHAPE).astype(np.uint8))
    masked = {
        k: dice(*(np.isin(one, held) & inside for one in (painted, truth))) for k, held in members.items()
    }
    assert scores(*logits, "--mask", "mask.nii.gz") == pytest.approx(masked)


def test_a_label_of_no_region_is_a_class_of_its_own() -> None:
    p, painted = regions()
    case(p, painted, labels=REGIONS, regions_class_order=[1, 2, 3])
    painted[:, :2] = 7
    save("truth.nii.gz", painted.astype(np.uint8))
    found = scores("case.npz", "truth.nii.gz", "--same-grid")
    assert list(found) == [1, 2, 3, 7]
    assert found[7] == 0


def test_exclusive_classes_are_the_most_probable_ones() -> None:
    p = softmax()
    most = p.argmax(axis=0)
    truth = softmax(seed=1).argmax(axis=0)
    case(p, most)
    save("truth.nii.gz", truth.astype(np.uint8), (1, 1, 1))
    nifti(p)
    expected = {label: dice(most == label, truth == label) for label in (1, 2)}
    cut = {label: dice(p[label] > 0.5, truth == label) for label in (1, 2)}
    assert abs(expected[1] - cut[1]) > 0.05
    for source in ("case.npz", "map.nii.gz"):
        told = (source, "truth.nii.gz", "--same-grid")
        assert scores(*told) == pytest.approx(expected)
        assert scores(*told, "--threshold", 0.5) == pytest.approx(cut)
        assert scores(*told, "--label", 2) == pytest.approx({2: expected[2]})
        chosen = scores(*told, "--channel", 2, "--label", 2)
        assert chosen == pytest.approx({2: expected[2]})
        found = run("evaluate", *told, "--metrics", "dice,soft_dice,cldice", "--json").json
        assert found["parameters"]["decision"] == "argmax"
        assert found["parameters"]["threshold"] is None
        plain = run("evaluate", *told, "--metrics", "dice,soft_dice", "--json", "--threshold", 0.5).json
        assert (plain["parameters"]["decision"], plain["parameters"]["threshold"]) == ("threshold", 0.5)
        # What needs no decision is the same either way.
        assert [row["metrics"]["soft_dice"] for row in found["classes"]] == [
            row["metrics"]["soft_dice"] for row in plain["classes"]
        ]
    shown = run("evaluate", "case.npz", "case.nii.gz", "--metrics", "dice").out
    assert "PRED the most probable class, REF > 0.5; 26" in shown
    # Of the file that is the same prediction, everything agrees.
    every = run("evaluate", "case.npz", "case.nii.gz", "--json").json["classes"]
    for row in every:
        assert {row["metrics"][name] for name in ("dice", "cldice", "nsd", "opt_j_f1")} == {1}
        assert {row["metrics"][name] for name in ("betti_0_error", "euler_error", "hd95_mm")} == {0}


def test_a_reference_of_exclusive_classes_is_decided_too() -> None:
    one, other = softmax(), softmax(seed=1)
    nifti(one)
    nifti(other, "ref.nii.gz")
    expected = {k: dice(one.argmax(axis=0) == k, other.argmax(axis=0) == k) for k in (1, 2)}
    assert scores("map.nii.gz", "ref.nii.gz") == pytest.approx(expected)
    found = run("evaluate", "map.nii.gz", "ref.nii.gz", "--metrics", "dice", "--json").json["parameters"]
    assert (found["reference_decision"], found["reference_threshold"]) == ("argmax", None)
    assert (
        "  the most probable class; 26"
        in run("evaluate", "map.nii.gz", "ref.nii.gz", "--metrics", "dice").out
    )


def test_the_table_names_the_decision_of_each_file() -> None:
    p = softmax()
    nifti(p)
    save("mask.nii.gz", (p[1] > 0.4).astype(np.uint8), (1, 1, 1))
    for options, says in (
        ((), "PRED > 0.5, REF the most probable class; 26"),
        (("--threshold", 0.4), "PRED > 0.4, REF"),
    ):
        told = (
            "evaluate",
            "mask.nii.gz",
            "map.nii.gz",
            "--label",
            1,
            "--metrics",
            "dice",
            "--same-grid",
            *options,
        )
        assert says in run(*told).out
    found = scores("mask.nii.gz", "map.nii.gz", "--label", 1, "--same-grid")
    assert found == pytest.approx({1: dice(p[1] > 0.4, p.argmax(axis=0) == 1)})


def test_the_error_map_is_that_of_the_decision() -> None:
    p = np.full((3, *SHAPE), 0.3, np.float32)
    p[0] = 0.4
    p[1, 2:6, 4:9, 4:12], p[0, 2:6, 4:9, 4:12] = 0.4, 0.3
    nifti(p)
    truth = (p.argmax(axis=0) == 1).astype(np.uint8)
    save("truth.nii.gz", truth, (1, 1, 1))
    told = (
        "evaluate",
        "map.nii.gz",
        "truth.nii.gz",
        "--same-grid",
        "--label",
        1,
        "--metrics",
        "dice",
        "--json",
    )
    assert run(*told, "--error-map", "right.nii.gz").json["metrics"]["dice"] == 1
    assert not load("right.nii.gz").any()
    assert run(*told, "--error-map", "cut.nii.gz", "--threshold", 0.5).json["metrics"]["dice"] == 0
    assert load("cut.nii.gz").any()


def test_the_background_is_named_where_it_is_left_out() -> None:
    # The object comes first here: channel 1 is what softmorph takes it for.
    inside = np.zeros(SHAPE, np.float32)
    inside[2:6, 4:12, 5:15] = 0.9
    nifti(np.stack([inside, 1 - inside]))
    save("truth.nii.gz", (inside > 0.5).astype(np.uint8), (1, 1, 1))
    share = (inside > 0.5).mean()
    ended = run("evaluate", "map.nii.gz", "truth.nii.gz", "--same-grid", "--metrics", "dice", "--json")
    assert (
        f"channel 0, the most probable at {share:.1%} of the voxels, is taken as the background" in ended.err
    )
    assert ended.json["metrics"]["dice"] == 0
    advised = ("--channel", 0)
    assert "add --channel 0" in ended.err
    assert scores("map.nii.gz", "truth.nii.gz", "--same-grid", *advised) == {1: 1}


def test_a_channel_that_is_called_background_is_it() -> None:
    inside = np.zeros(SHAPE, np.float32)
    inside[2:6, 4:12, 5:15] = 0.9
    channels = np.stack([inside, 1 - inside])
    tifffile.imwrite(
        "map.ome.tif",
        channels,
        metadata={"axes": "CZYX", "Channel": {"Name": ["vessel", "background"]}},
    )
    save("truth.npy", (inside > 0.5).astype(np.uint8))
    found = run("evaluate", "map.ome.tif", "truth.npy", "--metrics", "dice", "--json")
    assert found.json["metrics"]["dice"] == 1
    assert "channel 1 (background), the most probable at" in found.err


@pytest.mark.parametrize("command", ["inspect", "stats", "skeletonize", "skeletonize hard", "threshold"])
@pytest.mark.parametrize("chosen", [(), ("--channel", "artery")])
def test_a_note_where_one_half_and_the_most_probable_class_differ(
    command: str, chosen: tuple[str, ...]
) -> None:
    p = softmax()
    case(p, p.argmax(axis=0))
    name, *hard = command.split()
    arguments: list[object] = [name, "case.npz"]
    if name in ("skeletonize", "threshold"):
        arguments += ["out.nii.gz", *(f"--{one}" for one in hard)]
    if name == "inspect":
        chosen = chosen or ("--channel", "vein")
    ended = run(*arguments, *chosen)
    told = [line for line in ended.err.splitlines() if "most probable class" in line]
    assert len(told) == 1
    for label, class_ in enumerate(("artery", "vein"), 1):
        above, won = np.count_nonzero(p[label] > 0.5), np.count_nonzero(p.argmax(axis=0) == label)
        said = f"{class_} has {above:,} voxels above 0.5 and is the most probable class at {won:,}" in told[0]
        assert said == (not chosen or class_ in chosen)


def test_no_note_where_both_decisions_agree() -> None:
    most = softmax().argmax(axis=0)
    p = np.where(np.arange(3)[:, None, None, None] == most, np.float32(0.8), np.float32(0.1))
    case(p, most)
    for arguments in (("stats", "case.npz"), ("inspect", "case.npz", "--channel", "vein")):
        assert "most probable" not in run(*arguments).err


def test_inspect_proposes_classes_and_not_the_background() -> None:
    p = softmax()
    case(p, p.argmax(axis=0))
    refused("inspect", "case.npz", says=("(artery, vein)", "add --channel artery or vein"))
    run("inspect", "case.npz", "--channel", "artery")
    nifti(p)
    refused("inspect", "map.nii.gz", says="add --channel 1 or 2")
    nifti(softmax()[1:])
    refused("inspect", "map.nii.gz", says="add --channel 0 or 1")
    refused("topology", "numbers", "case.npz", "--plot", "p.png", says="add --channel artery or vein")


def test_inspect_proposes_both_channels_of_a_micrograph_whose_first_is_not_the_larger() -> None:
    p = softmax()[1:].max(axis=0)
    small = np.minimum(p, 1 - p)
    for pair, says in (
        ([1 - small, small], "add --channel 1."),
        ([small, 1 - small], "add --channel 0 or 1."),
    ):
        write(Volume(np.stack(pair), "CZYX", (1.0, 1.0, 1.0), "um"), "pair.tif", force=True)
        refused("inspect", "pair.tif", says=says)


def test_masks_and_centrelines_of_classes_are_compared_class_by_class() -> None:
    p, truth = softmax(), softmax(seed=1).argmax(axis=0)
    case(p, p.argmax(axis=0))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(truth.astype(np.uint8)), "truth.nii.gz")
    run("threshold", "case.npz", "masks.nii.gz")
    found = scores("masks.nii.gz", "truth.nii.gz")
    assert found == pytest.approx({label: dice(p[label] > 0.5, truth == label) for label in (1, 2)})
    told = run("evaluate", "masks.nii.gz", "truth.nii.gz", "--label", 2, "--metrics", "dice").out
    assert "masks.nii.gz against truth.nii.gz, vein (2)" in told
    run("skeletonize", "case.npz", "lines.nii.gz", "--hard")
    said = run("info", "lines.nii.gz", "--json").json
    assert (said["input"]["axes"], said["input"]["channels"]) == ("CZYX", ["artery", "vein"])
    assert said["try_next"] == "softmorph inspect lines.nii.gz --channel 0"


def test_info_takes_the_voxel_size_of_an_npz_from_the_labels_beside_it() -> None:
    p = softmax()
    case(p, p.argmax(axis=0))
    found = run("info", "case.npz", "--json").json
    assert found["input"]["unit"] == "mm"
    assert not any("voxel size" in note for note in found["notes"])


@pytest.mark.parametrize(("channel", "name"), [("vein", "vein"), ("2", "vein"), ("0", "background")])
def test_every_output_of_inspect_names_the_class(channel: str, name: str) -> None:
    p = softmax()
    case(p, p.argmax(axis=0))
    written = {f"--{kind}": f"out.{kind}" for kind in ("json", "csv", "graphml", "swc", "obj")} | {
        "--report": "out.html",
        "--preview": "out.png",
        "--skeleton": "out.nii.gz",
    }
    ended = run(
        "inspect", "case.npz", "--channel", channel, *(part for pair in written.items() for part in pair)
    )
    assert f"case.npz, {name}" in ended.out
    assert json.loads(Path("out.json").read_text())["input"]["channel"] == name
    lines = Path("out.csv").read_text().splitlines()
    assert lines[0].endswith(",class")
    assert all(line.endswith(f",{name}") for line in lines[1:])
    assert f"# class: {name}\n" in Path("out.swc").read_text()
    assert f"# class: {name}\n" in Path("out.obj").read_text()
    assert name in {one.text for one in ElementTree.parse("out.graphml").getroot().iter() if one.text}
    assert f"case.npz, {name}" in Path("out.html").read_text(encoding="utf-8")
    assert f"case.npz, {name}".encode() in Path("out.png").read_bytes()
    assert f'"class": "{name}"' in str(nibabel.load("out.nii.gz").header.extensions[0].get_content())


def test_a_plain_map_has_no_class() -> None:
    save("in.npy", softmax()[1])
    assert run("inspect", "in.npy", "--json").json["input"]["channel"] is None
    assert "class" not in run("inspect", "in.npy", "--csv", "-").out


def test_the_picture_counts_channels_as_the_option_does() -> None:
    p = softmax()
    case(p, p.argmax(axis=0))
    run("stats", "case.npz", "--preview", "p.png", "--json")
    picture = Path("p.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    from softmorph_cli.io.reading import read
    from softmorph_cli.plots.views import first_index_words

    assert first_index_words(read("case.npz")) == "showing channel 1 (artery) of 1 to 2"
    assert np.array_equal(read("case.npz", channel=1).array, read("case.npz").array[0])


@pytest.mark.parametrize(
    ("unit", "side", "tolerance"),
    [("mm", 1.0, 1.0), ("mm", 0.4, 1.0), ("mm", 0.02, 0.02), ("micron", 2.0, 0.002)],
)
def test_the_tolerance_of_nsd_goes_by_the_voxel_where_they_are_small(
    unit: str, side: float, tolerance: float
) -> None:
    one = np.zeros(SHAPE, np.float32)
    one[2:6, 4:12, 3:8] = 0.9
    nifti(one, "pred.nii.gz", unit, side)
    nifti((np.roll(one, 7, axis=2) > 0.5).astype(np.uint8), "far.nii.gz", unit, side)
    found = run("evaluate", "pred.nii.gz", "far.nii.gz", "--metrics", "dice,nsd", "--json").json
    asked = found["parameters"]
    factor = {"mm": 1.0, "um": 1e-3}[asked["nsd_tolerance_unit"]]
    assert asked["nsd_tolerance"] * factor == pytest.approx(tolerance)
    assert found["metrics"]["dice"] == 0
    assert found["metrics"]["nsd"] < 0.8
    shown = run("evaluate", "pred.nii.gz", "far.nii.gz", "--metrics", "nsd").out
    assert f"nsd within {asked['nsd_tolerance']:.4g} {asked['nsd_tolerance_unit']}" in shown
    assert "nsd within" not in run("evaluate", "pred.nii.gz", "far.nii.gz", "--metrics", "dice").out


def test_help_of_inspect_mentions_one_channel() -> None:
    assert "all, each by itself" not in run("inspect", "--help").out
    assert "each by itself" in run("stats", "--help").out
