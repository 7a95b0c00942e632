"""softmorph evaluate: what it prints and writes, class by class, two folders, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers_cli import (
    BOXES,
    complaint,
    everything,
    load,
    nibabel,
    process,
    random_map,
    refused,
    run,
    save,
    script,
)
from scipy.stats import bootstrap
from test_cli_terminal import on_terminal

KEYS = [
    "dice", "accuracy", "iou", "precision", "recall", "soft_dice", "cldice", "soft_cldice", "betti_0_error",
    "betti_1_error", "betti_2_error", "euler_error", "euler_ratio", "smd", "opt_j_f1", "hd95_mm", "assd_mm", "nsd",
    "diu",
]  # fmt: skip
PATCHES = ["betti_0_error_patches", "betti_1_error_patches", "betti_2_error_patches"]
MATCHING = ["betti_matching_0_error", "betti_matching_1_error", "betti_matching_2_error"]
SHAPE = (10, 16, 18)


def tube(shape: tuple[int, ...] = SHAPE, shift: int = 0) -> np.ndarray:
    """Draw a bar along x with a branch along y, soft at its sides."""
    image = np.zeros(shape, np.float32)
    image[..., shape[-2] // 2 - 1 + shift : shape[-2] // 2 + 2 + shift, 2:-2] = 0.6
    image[..., 2 : shape[-2] // 2, shape[-1] // 2 - 1 : shape[-1] // 2 + 2] = 0.6
    image[..., shape[-2] // 2 + shift, 2:-2] = 0.9
    if len(shape) == 3:
        image[:3] = image[6:] = 0
    return image


def mask(image: np.ndarray) -> np.ndarray:
    return (image > 0.5).astype(np.uint8)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one > 0.5, other > 0.5
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def labelled(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)


@pytest.fixture
def pair() -> tuple[Path, Path]:
    return save("pred.nii.gz", tube(shift=1)), save("ref.nii.gz", mask(tube()))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_keys_are_those_of_the_contract(pair: tuple[Path, Path]) -> None:
    found = run("evaluate", *pair, "--json").json
    assert list(found["metrics"]) == KEYS
    assert all(isinstance(value, int | float) for value in found["metrics"].values())
    assert found["metrics"]["dice"] == pytest.approx(dice(tube(shift=1), tube()))
    patches = run("evaluate", *pair, "--json", "--patches", 2).json["metrics"]
    assert set(patches) == {*KEYS, *PATCHES}
    assert {name: patches[name] for name in KEYS} == found["metrics"]
    expensive = run("evaluate", *pair, "--json", "--patches", 2, "--expensive").json["metrics"]
    assert set(expensive) == {*KEYS, *PATCHES, *MATCHING}
    assert {name: expensive[name] for name in patches} == patches


def test_the_json_says_how_it_was_measured(pair: tuple[Path, Path]) -> None:
    asked = ("--threshold", 0.4, "--connectivity", 6, "--tolerance", "2vox", "--seed", 3)
    found = run("evaluate", *pair, "--json", "--metrics", "dice, nsd", *asked).json
    assert list(found["metrics"]) == ["dice", "nsd"]
    parameters = found["parameters"]
    assert parameters["threshold"] == 0.4
    assert (parameters["connectivity"], parameters["background_connectivity"]) == (6, 26)
    # Voxels are 3 x 2 x 1.5 mm.
    assert parameters["nsd_tolerance"] == pytest.approx(3.0)
    assert parameters["opt_j_reach_mm"] == pytest.approx(25 * 1.5)
    assert parameters["smd_longest_side_mm"] == pytest.approx(16 * 2.0)
    assert "--hard" in parameters["skeleton"]
    assert parameters["soft_skeleton"] == "nested"
    assert "equals the threshold" in parameters["ties"]
    assert found["prediction"]["path"] == "pred.nii.gz"
    assert found["reference"]["spacing"] == [3.0, 2.0, 1.5]


def test_the_table_and_the_csv(pair: tuple[Path, Path]) -> None:
    ended = run("evaluate", *pair, "--csv", "one.csv", "--stats", "one.json", "--metrics", "dice,iou")
    lines = ended.out.splitlines()
    assert lines[0] == "pred.nii.gz against ref.nii.gz"
    found = json.loads(Path("one.json").read_text(encoding="utf-8"))["metrics"]
    assert lines[1:3] == [f"  dice: {found['dice']:.5g}", f"  iou: {found['iou']:.5g}"]
    (row,) = rows(Path("one.csv").read_text(encoding="utf-8"))
    assert list(row) == ["prediction", "reference", "label", "class", "dice", "iou"]
    assert float(row["dice"]) == found["dice"]
    assert run("evaluate", *pair, "--csv", "-", "--metrics", "iou,dice").out == Path("one.csv").read_text()


def test_it_explains_itself_without_files() -> None:
    shown = run("evaluate", "--explain").out
    for name in (*KEYS, *PATCHES, *MATCHING):
        assert name in shown
    assert shown.count("Source: ") == shown.count("Cost at 128^3: ") > 8
    metrics = run("evaluate", "--explain", "--json").json["metrics"]
    names = [name for metric in metrics for name in metric["names"]]
    assert sorted(names) == sorted((*KEYS, *PATCHES, *MATCHING))
    assert all(metric["definition"] and metric["source"] and metric["cost"] for metric in metrics)
    refused("evaluate", "--explain", "x.nii.gz", code=2, says="without files")


def test_label_maps_give_a_row_for_each_class() -> None:
    mine, its = labelled(1), labelled(2)
    its[its == 3] = 0
    save("pred.nii.gz", mine)
    save("ref.nii.gz", its)
    found = run("evaluate", "pred.nii.gz", "ref.nii.gz", "--metrics", "dice", "--json").json
    assert "metrics" not in found
    assert [row["label"] for row in found["classes"]] == [1, 2, 3]
    for row in found["classes"]:
        assert row["metrics"]["dice"] == pytest.approx(dice(mine == row["label"], its == row["label"]))
    few = run(
        "evaluate", "pred.nii.gz", "ref.nii.gz", "--metrics", "dice", "--csv", "-", "--label", 3, "--label", 1
    )
    assert [(row["label"], float(row["dice"])) for row in rows(few.out)] == [
        ("3", 0.0),
        ("1", found["classes"][0]["metrics"]["dice"]),
    ]
    refused(
        "evaluate",
        "pred.nii.gz",
        "ref.nii.gz",
        "--label",
        9,
        says=("no label 9", "holds 1, 2, 3", "holds 1, 2"),
    )


def softmax() -> np.ndarray:
    one = np.random.default_rng(4).random((3, *SHAPE)).astype(np.float32)
    return np.asarray(one / one.sum(axis=0))


def write_case(folder: str, name: str, probabilities: np.ndarray) -> np.ndarray:
    """Write what nnU-Net writes for a case; return its labels."""
    Path(folder).mkdir(exist_ok=True)
    labels: np.ndarray = probabilities.argmax(axis=0).astype(np.uint8)
    np.savez_compressed(Path(folder, f"{name}.npz"), probabilities=probabilities)
    save(Path(folder, f"{name}.nii.gz"), labels)
    described = {"labels": {"background": 0, "artery": 1, "vein": 2}, "file_ending": ".nii.gz"}
    Path(folder, "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return labels


def test_classes_of_a_network_against_labels() -> None:
    p = softmax()
    write_case("predicted", "case", p)
    its = labelled(2) % 3
    save("ref.nii.gz", its)
    expected = {label: dice(p.argmax(axis=0) == label, its == label) for label in (1, 2)}
    found = run("evaluate", "predicted/case.npz", "ref.nii.gz", "--metrics", "dice", "--json").json["classes"]
    assert [(row["label"], row["name"]) for row in found] == [(1, "artery"), (2, "vein")]
    assert {row["label"]: row["metrics"]["dice"] for row in found} == pytest.approx(expected)
    vein = ("evaluate", "predicted/case.npz", "ref.nii.gz", "--metrics", "dice", "--json")
    for chosen in (("--channel", "vein"), ("--label", 2)):
        assert run(*vein, *chosen).json["metrics"]["dice"] == pytest.approx(expected[2])
    # A NIfTI has the classes along its fourth axis.
    image = nibabel.Nifti1Image(p.T, np.diag([1.5, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.to_filename("soft.nii.gz")
    same = run("evaluate", "soft.nii.gz", "ref.nii.gz", "--metrics", "dice", "--json").json["classes"]
    assert {row["label"]: row["metrics"]["dice"] for row in same} == pytest.approx(expected)
    # Alone, an .npz lies where the reference does.
    Path("predicted/case.nii.gz").unlink()
    alone = run("evaluate", "predicted/case.npz", "ref.nii.gz", "--metrics", "dice", "--json")
    assert "taken to lie where ref.nii.gz does" in alone.err
    assert {row["label"]: row["metrics"]["dice"] for row in alone.json["classes"]} == pytest.approx(expected)


def test_one_map_against_several_labels_asks_which() -> None:
    save("pred.nii.gz", tube())
    its = labelled(3)
    save("ref.nii.gz", its)
    refused("evaluate", "pred.nii.gz", "ref.nii.gz", says=("one map", "labels 1, 2, 3", "--label 1"))
    refused("evaluate", "pred.nii.gz", "ref.nii.gz", "--label", 1, "--label", 2, says="give one --label")
    found = run("evaluate", "pred.nii.gz", "ref.nii.gz", "--label", 2, "--metrics", "dice", "--json").json
    assert found["metrics"]["dice"] == pytest.approx(dice(tube(), its == 2))


def test_a_mask_may_be_stored_as_255() -> None:
    save("pred.nii.gz", tube())
    save("ref.nii.gz", 255 * mask(tube()))
    assert (
        run("evaluate", "pred.nii.gz", "ref.nii.gz", "--metrics", "dice", "--json").json["metrics"]["dice"]
        == 1
    )
    image = mask(tube((16, 18)))
    save("flat.png", 255 * image, None)
    save("flat.npy", image, None)
    assert run("evaluate", "flat.npy", "flat.png", "--metrics", "dice", "--json").json["metrics"]["dice"] == 1


@pytest.mark.parametrize("true", [255, 65535])
def test_masks_of_0_and_255_against_masks_of_0_and_1(true: int) -> None:
    image = tube()
    save("pred.nii.gz", mask(tube(shift=1)))
    save("high.nii.gz", mask(image).astype(np.uint16) * np.uint16(true))
    for one, other in (("pred.nii.gz", "high.nii.gz"), ("high.nii.gz", "pred.nii.gz")):
        ended = run("evaluate", one, other, "--metrics", "dice", "--json")
        assert ended.json["metrics"]["dice"] == pytest.approx(dice(tube(shift=1), image))
        assert f"high.nii.gz: it holds only 0 and {true} and is taken as a mask" in ended.err
    # Of a label map it may be any class.
    save("labels.nii.gz", labelled())
    refused("evaluate", "high.nii.gz", "labels.nii.gz", says="such as --label 1")
    found = run("evaluate", "high.nii.gz", "labels.nii.gz", "--label", 3, "--metrics", "dice", "--json").json
    assert found["metrics"]["dice"] == pytest.approx(dice(image, labelled() == 3))


def test_labels_of_which_none_is_in_both_files_are_named() -> None:
    for label in (1, 3):
        save(f"{label}.nii.gz", mask(tube()) * np.uint8(label))
    ended = run("evaluate", "3.nii.gz", "1.nii.gz", "--metrics", "dice", "--json")
    assert [one["metrics"]["dice"] for one in ended.json["classes"]] == [0, 0]
    assert "no label is in both files" in ended.err
    assert "3.nii.gz holds 3 and 1.nii.gz 1" in ended.err
    run("threshold", "3.nii.gz", "mask.nii.gz", "--label", 3)
    ended = run("evaluate", "mask.nii.gz", "1.nii.gz", "--metrics", "dice", "--json")
    assert ended.json["metrics"]["dice"] == 1
    assert "no label" not in ended.err


def test_what_an_error_map_cannot_hold_is_in_the_json(pair: tuple[Path, Path]) -> None:
    ended = run("evaluate", *pair, "--metrics", "dice", "--error-map", "wrong.tif", "--json")
    assert "the affine" in ended.err
    assert any("the affine" in told for told in ended.json["warnings"])


def test_an_unknown_voxel_size_is_told_once() -> None:
    save("pred.npy", tube())
    save("ref.npy", mask(tube(shift=1)))
    ended = run("evaluate", "pred.npy", "ref.npy", "--metrics", "hd95_mm,assd_mm,nsd", "--json")
    assert ended.err.count("the size of a voxel is unknown") == 1
    assert ended.json["parameters"]["nsd_tolerance_unit"] == "voxels"
    assert list(ended.json["metrics"]) == ["hd95_voxels", "assd_voxels", "nsd"]
    assert ended.json["metrics"]["hd95_voxels"] > 0


def test_pot_leaves_what_it_does_not_need() -> None:
    """A fresh process: PyTorch takes two seconds to load, and nothing here computes with it."""
    save("pred.nii.gz", tube())
    code = (
        "import os, sys\n"
        # What a run in this process has set.
        "for name in [name for name in os.environ if name.startswith('POT_')]:\n"
        "    del os.environ[name]\n"
        "from softmorph_cli.cli.app import app\n"
        "app(['evaluate', 'pred.nii.gz', 'pred.nii.gz', '--metrics', 'smd'], standalone_mode=False)\n"
        "print(*(name for name in ('ot', 'torch', 'jax', 'tensorflow') if name in sys.modules))"
    )
    ended = script(code)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == "ot"


def test_the_error_map(pair: tuple[Path, Path]) -> None:
    image = tube()
    image[4, 1, 1] = image[5, 14, 2] = 0.9
    image[:, :, 12] = 0
    save("pred.nii.gz", image)
    ended = run("evaluate", *pair, "--error-map", "wrong.nii.gz", "--metrics", "betti_0_error", "--json")
    assert ended.json["metrics"]["betti_0_error"] == 3
    drawn = load("wrong.nii.gz")
    assert drawn[4, 1, 1] == drawn[5, 14, 2] == 1
    regions = {kind["label"]: kind["regions"] for kind in ended.json["error_map"]["kinds"]}
    assert regions[1] == 2
    assert regions[4] == 1
    assert set(np.unique(drawn)) == {0, 1, 4}
    assert nibabel.load("wrong.nii.gz").affine == pytest.approx(nibabel.load("pred.nii.gz").affine)
    refused("evaluate", *pair, "--error-map", "wrong.nii.gz", says="--force")
    save("pred.nii.gz", labelled(1))
    save("ref.nii.gz", labelled(2))
    refused("evaluate", *pair, "--error-map", "new.nii.gz", says=("of one class", "--label 1"))


@pytest.fixture
def folders() -> dict[str, float]:
    """Four cases of two folders and one left over on either side; the Dice of each."""
    Path("predictions").mkdir()
    Path("references").mkdir()
    found = {}
    for number in range(4):
        image = random_map(SHAPE, number) * (number < 3)
        truth = mask(random_map(SHAPE, number + 9) * 0.5 + image * 0.5)
        save(f"predictions/case_{number}.nii.gz", image)
        save(f"references/case_{number}.nii", truth)
        found[f"case_{number}"] = dice(image, truth) if truth.any() else 1.0
    save("predictions/extra.nii.gz", random_map(SHAPE))
    save("references/lost.nii.gz", mask(random_map(SHAPE)))
    return found


def test_two_folders(folders: dict[str, float]) -> None:
    ended = run(
        "evaluate",
        "predictions",
        "references",
        "--metrics",
        "dice,hd95_mm",
        "--stats",
        "all.json",
        "--csv",
        "-",
    )
    table = rows(ended.out)
    assert {row["name"]: float(row["dice"]) for row in table} == pytest.approx(folders)
    assert [row["hd95_mm"] == "" for row in table] == [False, False, False, folders["case_3"] == 0]
    document = json.loads(Path("all.json").read_text(encoding="utf-8"))
    (summary,) = document["summary"]
    values = np.array(list(folders.values()))
    one = summary["metrics"]["dice"]
    assert (one["count"], one["undefined"]) == (4, 0)
    assert one["mean"] == pytest.approx(values.mean())
    assert one["median"] == pytest.approx(np.median(values))
    interval = bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=0).confidence_interval
    assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))
    assert document["interval"]["resamples"] == 9999
    assert document["unmatched"] == {
        "predictions": ["predictions/extra.nii.gz"],
        "references": ["references/lost.nii.gz"],
    }
    assert "1 prediction has no reference of that name: predictions/extra.nii.gz." in ended.err
    assert "1 reference has no prediction of that name: references/lost.nii.gz." in ended.err
    # What is on stdout is the CSV; the summary is for people.
    assert f"dice: mean {one['mean']:.5g}, median {one['median']:.5g}" in ended.err


def test_an_undefined_metric_is_counted(folders: dict[str, float]) -> None:
    save("references/case_3.nii", mask(tube()))
    ended = run("evaluate", "predictions", "references", "--metrics", "hd95_mm", "--json")
    one = ended.json["summary"][0]["metrics"]["hd95_mm"]
    assert (one["count"], one["undefined"]) == (3, 1)
    told = "hd95_mm is not defined for 1 of 4 pairs (case_3): its mean, median and interval are those of the other 3."
    assert told in ended.err
    assert told in ended.json["warnings"]


def test_a_broken_file_does_not_stop_the_others(folders: dict[str, float]) -> None:
    broken = Path("predictions/case_1.nii.gz")
    broken.write_bytes(broken.read_bytes()[:300])
    save("references/case_2.nii", mask(tube((10, 16, 19))))
    ended = run("evaluate", "predictions", "references", "--metrics", "dice", "--json", code=1)
    assert [one["name"] for one in ended.json["pairs"]] == ["case_0", "case_3"]
    assert [one["name"] for one in ended.json["failed"]] == ["case_1", "case_2"]
    assert ended.json["summary"][0]["metrics"]["dice"]["count"] == 2
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "predictions/case_1.nii.gz" in errors[0]
    assert "1 fewer along x" in errors[1]


def test_an_npz_goes_with_a_nifti_of_its_name() -> None:
    p = softmax()
    expected = []
    Path("references").mkdir()
    for number in range(2):
        write_case("predicted", f"case_{number}", np.roll(p, number, axis=1))
        its = labelled(number) % 3
        if number:
            its[its == 2] = 0
        save(f"references/case_{number}.nii.gz", its)
        most = np.roll(p, number, axis=1).argmax(axis=0)
        expected += [dice(most == label, its == label) for label in (1, 2)]
    ended = run("evaluate", "predicted", "references", "--metrics", "dice", "--csv", "-")
    table = rows(ended.out)
    assert [(row["name"], row["label"], row["class"]) for row in table] == [
        (f"case_{number}", str(label), name)
        for number in range(2)
        for label, name in ((1, "artery"), (2, "vein"))
    ]
    assert [float(row["dice"]) for row in table] == pytest.approx(expected)
    assert "predicted against references, vein (2)" in ended.err
    # Said once, not for every file.
    assert ended.err.count("is left out") == 1


def test_names_that_several_files_have(folders: dict[str, float]) -> None:
    save("predictions/case_0.nrrd", random_map(SHAPE))
    ended = run("evaluate", "predictions", "references", "--metrics", "dice", code=1)
    assert "predictions holds case_0.nii.gz and case_0.nrrd" in ended.err
    assert "pairs 3" in ended.out


def moved(name: str, image: np.ndarray, **changes: float) -> Path:
    path = save(name, image)
    file = nibabel.load(path)
    affine = file.affine.copy()
    for entry, value in changes.items():
        affine[int(entry[1]), int(entry[2])] = value
    nibabel.Nifti1Image(np.asarray(file.dataobj), affine, file.header).to_filename(path)
    return path


def test_affines_that_differ_are_shown(pair: tuple[Path, Path]) -> None:
    moved("ref.nii.gz", mask(tube()), a03=-2.5, a11=2.2)
    sentence = refused(
        "evaluate",
        *pair,
        says=("different places", "[0, 3] is 0 and -2.5", "[1, 1] is 2 and 2.2", "--same-grid"),
    )
    # The last of 16 rows is 15 x 0.2 mm away along y, all are 2.5 mm away along x; a voxel is 1.5 mm along x.
    apart = np.hypot(2.5, 15 * 0.2)
    assert f"up to {apart:.3g} mm ({apart / 1.5:.3g} voxels) apart" in sentence
    assert "[2, 2]" not in sentence
    found = run("evaluate", *pair, "--same-grid", "--metrics", "dice", "--json").json
    assert found["metrics"]["dice"] == pytest.approx(dice(tube(shift=1), tube()))
    # What rounding does to a header is no difference.
    moved("ref.nii.gz", mask(tube()), a03=1e-4, a11=2.00001)
    run("evaluate", *pair, "--metrics", "dice")


def test_shapes_that_differ_are_shown_with_what_to_type(pair: tuple[Path, Path]) -> None:
    save("ref.nii.gz", mask(tube((10, 14, 19))))
    says = ("10 × 16 × 18", "10 × 14 × 19", "2 more along y, 1 fewer along x", "--region")
    refused("evaluate", *pair, says=says)
    save("ref.nii.gz", mask(tube()).T)
    refused("evaluate", *pair, says="--axes")


def test_the_command_that_it_names_helps() -> None:
    # A third of the voxel size along y and x, in the same box: the first voxel is a third of a coarse one further out.
    moved(
        "fine.nii.gz",
        np.kron(tube(), np.ones((1, 3, 3), np.float32)),
        a00=0.5,
        a11=2 / 3,
        a03=-0.5,
        a13=-2 / 3,
    )
    save("ref.nii.gz", mask(tube()))
    sentence = refused("evaluate", "fine.nii.gz", "ref.nii.gz", says="in the same box")
    words = shlex.split(sentence.split("interpolate it first: ")[1])
    assert words[0] == "softmorph"
    run(*words[1:])
    found = run("evaluate", words[3], "ref.nii.gz", "--metrics", "dice", "--json").json
    assert found["metrics"]["dice"] == 1


def test_2d_against_3d(pair: tuple[Path, Path]) -> None:
    save("flat.npy", mask(tube((16, 18))), None)
    says = ("flat.npy is 2D (16 × 18)", "pred.nii.gz 3D (10 × 16 × 18)", "--region 5:6,:,:")
    sentence = refused("evaluate", "pred.nii.gz", "flat.npy", says=says)
    words = shlex.split(sentence.split("such as: ")[1])
    run(*words[1:])
    run("evaluate", words[3], "flat.npy", "--metrics", "dice")
    # A slice along another axis, and none at all.
    save("side.npy", mask(tube((10, 16))), None)
    refused("evaluate", "pred.nii.gz", "side.npy", says="--region :,:,9:10")
    save("small.npy", mask(tube((16, 17))), None)
    sentence = refused("evaluate", "small.npy", "pred.nii.gz", says="no slice of it has the size")
    assert "--region" not in sentence


@pytest.mark.parametrize(
    ("empty", "expected"),
    [
        # The squared diagonal of 10 x 16 x 18 voxels of 3 x 2 x 1.5 mm, the longest side being 1.
        ({"pred"}, {"dice": 0, "cldice": 0, "soft_cldice": 0, "opt_j_f1": 0, "nsd": 0, "precision": 0, "recall": 0,
                    "hd95_mm": None, "assd_mm": None, "smd": (30**2 + 32**2 + 27**2) / 32**2}),
        ({"ref"}, {"dice": 0, "cldice": 0, "soft_cldice": 0, "opt_j_f1": 0, "nsd": 0, "precision": 0, "recall": 0,
                   "hd95_mm": None, "assd_mm": None, "smd": (30**2 + 32**2 + 27**2) / 32**2}),
        ({"pred", "ref"}, {"dice": 1, "cldice": 1, "soft_cldice": 1, "opt_j_f1": 1, "nsd": 1, "hd95_mm": 0, "smd": 0,
                           "betti_0_error": 0, "diu": 0}),
    ],
    ids=["prediction", "reference", "both"],
)  # fmt: skip
def test_empty_files_have_defined_values(empty: set[str], expected: dict[str, float | None]) -> None:
    save("pred.nii.gz", tube() * ("pred" not in empty))
    save("ref.nii.gz", mask(tube()) * np.uint8("ref" not in empty))
    ended = run("evaluate", "pred.nii.gz", "ref.nii.gz", "--json")
    found = ended.json["metrics"]
    assert list(found) == KEYS
    assert {name: found[name] for name in expected} == {
        name: value if value is None else pytest.approx(value) for name, value in expected.items()
    }
    if len(empty) == 1:
        which = "prediction" if empty == {"pred"} else "reference"
        assert f"the {which} is empty" in ended.err


def test_what_is_refused(pair: tuple[Path, Path], folders: dict[str, float]) -> None:
    refused("evaluate", "pred.nii.gz", code=2, says="give PRED and REF")
    refused("evaluate", "pred.nii.gz", "missing.nii.gz", says="missing.nii.gz does not exist")
    refused("evaluate", "predictions", "missing", says="missing does not exist")
    refused(
        "evaluate",
        "predictions",
        "ref.nii.gz",
        code=2,
        says=("predictions is a folder", "ref.nii.gz is a file"),
    )
    refused("evaluate", *pair, "--metrics", "dice,dise", code=2, says=("dise", "cldice"))
    refused("evaluate", *pair, "--connectivity", 8, says="use 26 (background 6) or 6")
    refused("evaluate", *pair, "--connectivity", 5, code=2, says="--connectivity 5")
    refused("evaluate", *pair, "--seed", -1, "--patches", 3, code=2, says="--seed -1")
    refused("evaluate", "predictions", "references", "--seed", -1, code=2, says="--seed -1")
    refused("evaluate", *pair, "--threads", 0, "--metrics", "dice", code=2, says="--threads 0")
    refused("evaluate", *pair, "--stats", "-", code=2, says="--json")
    assert not Path("-").exists()
    refused("evaluate", *pair, "--tolerance", "fast", code=2, says="--tolerance")
    refused("evaluate", *pair, "--json", "--csv", "-", code=2, says="both print on stdout")
    refused("evaluate", "predictions", "references", "--error-map", "x.nii.gz", code=2, says="one pair")
    Path("taken.csv").touch()
    refused("evaluate", *pair, "--csv", "taken.csv", says="--force")
    save("bare.npy", tube())
    refused(
        "evaluate",
        "bare.npy",
        save("bare_ref.npy", mask(tube())),
        "--tolerance",
        "1mm",
        says="--tolerance 1mm",
    )


def test_a_reference_that_needs_an_option_is_made_a_mask_first() -> None:
    """Options such as --divide-by are for the prediction: the command that is named does what the reference needs."""
    image = tube()
    save("pred.nii.gz", mask(image))
    grey = np.round(random_map(SHAPE) * 100).astype(np.uint8) + np.uint8(150) * mask(image)
    logits = np.where(mask(image) == 1, 4.5, -4.25).astype(np.float32)
    times = np.stack([mask(image), mask(tube(shift=1))])
    save("grey.nii.gz", grey)
    save("logits.npy", logits, None)
    tifffile.imwrite("times.ome.tif", times, metadata={"axes": "TZYX"}, ome=True)
    for name in ("grey.nii.gz", "logits.npy", "times.ome.tif"):
        sentence = refused(
            "evaluate", "pred.nii.gz", name, says=(name, "make a mask of the reference first: ")
        )
        words = shlex.split(sentence.split("first: ")[1])
        run(*words[1:], "--force")
        ended = run("evaluate", "pred.nii.gz", words[3], "--metrics", "dice", "--json")
        assert ended.json["metrics"]["dice"] == 1, name


def test_a_network_against_a_network() -> None:
    save("like.nii.gz", mask(tube()))
    one = tube()
    np.savez("a.npz", probabilities=np.stack([1 - one, one]))
    np.savez("b.npz", probabilities=np.stack([one, 1 - one]))
    refused("evaluate", "a.npz", "b.npz", says="--reference FILE")
    found = run(
        "evaluate", "a.npz", "b.npz", "--reference", "like.nii.gz", "--metrics", "dice", "--json"
    ).json
    assert found["metrics"]["dice"] == pytest.approx(dice(one, 1 - one))


def test_folders_without_a_name_in_common() -> None:
    for folder, name in (("predictions", "a.nii.gz"), ("references", "b.nii.gz")):
        Path(folder).mkdir()
        save(f"{folder}/{name}", mask(tube()))
    says = ("no name is in both folders", "predictions holds a.nii.gz", "references holds b.nii.gz")
    refused("evaluate", "predictions", "references", says=says)
    Path("nothing").mkdir()
    refused("evaluate", "nothing", "references", says="nothing holds no file that can be read")
    Path("nothing/deeper").mkdir()
    refused("evaluate", "nothing", "references", says="folders in it are left alone: name one of them")


def test_in_a_process_of_its_own(pair: tuple[Path, Path]) -> None:
    before = everything()
    ended = process("evaluate", *pair, "--metrics", "dice,betti_0_error", "--json")
    assert ended.code == 0, ended.err
    assert list(json.loads(ended.out)["metrics"]) == ["dice", "betti_0_error"]
    assert ended.err == ""
    failed = process("evaluate", "pred.nii.gz", "nowhere.nii.gz")
    assert (failed.code, failed.out) == (1, "")
    assert complaint(failed.err) == "nowhere.nii.gz does not exist."
    assert everything() == before


def test_on_a_terminal_tables_are_drawn(folders: dict[str, float]) -> None:
    save("pred.nii.gz", labelled(1))
    save("ref.nii.gz", labelled(2))
    code, shown = on_terminal("evaluate", "pred.nii.gz", "ref.nii.gz", "--metrics", "dice,betti_0_error")
    assert code == 0
    assert "label 1" in shown
    assert BOXES.search(shown)
    code, shown = on_terminal(
        "evaluate", "predictions", "references", "--metrics", "dice,betti_0_error", columns=80
    )
    assert code == 0
    for words in ("betti_0_error", "lower is better", "95 % interval", "median", "pairs"):
        assert words in shown, shown
    code, shown = on_terminal(
        "evaluate", "predictions/case_0.nii.gz", "references/case_0.nii", "--metrics", "dice"
    )
    assert code == 0
    assert "higher is better" in shown
