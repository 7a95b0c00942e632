"""softmorph evaluate: what it prints and writes, class by class, two folders, and what it refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers_cli import (
    complaint,
    everything,
    load,
    nibabel,
    process,
    refused,
    run,
    save,
    script,
)
from helpers_evaluate import KEYS, MATCHING, PATCHES, dice, labelled, mask, moved, rows, tube

import softmorph_cli as sm


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


def test_the_json_has_the_settings_of_metrics(pair: tuple[Path, Path]) -> None:
    asked = ("--threshold", 0.4, "--connectivity", 6, "--distance-tolerance", "2vox", "--seed", 3)
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
    ended = run("evaluate", *pair, "--csv", "one.csv", "--json-file", "one.json", "--metrics", "dice,iou")
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
    metrics = run("evaluate", "--explain", "--json").json["definitions"]
    names = [name for metric in metrics for name in metric["names"]]
    assert sorted(names) == sorted((*KEYS, *PATCHES, *MATCHING))
    assert all(metric["definition"] and metric["source"] and metric["cost"] for metric in metrics)
    refused("evaluate", "--explain", "x.nii.gz", code=2, says="without files")


def test_what_an_error_map_cannot_hold_is_in_the_json(pair: tuple[Path, Path]) -> None:
    ended = run("evaluate", *pair, "--metrics", "dice", "--error-map", "wrong.tif", "--json")
    assert "the affine" in ended.err
    assert any("the affine" in told for told in ended.json["warnings"])


def test_an_unknown_voxel_size_is_warned_of_once() -> None:
    save("pred.npy", tube())
    save("ref.npy", mask(tube(shift=1)))
    ended = run("evaluate", "pred.npy", "ref.npy", "--metrics", "hd95_voxels,assd_voxels,nsd", "--json")
    assert ended.err.count("the size of a voxel is unknown") == 1
    assert ended.json["parameters"]["nsd_tolerance_unit"] == "voxels"
    assert list(ended.json["metrics"]) == ["hd95_voxels", "assd_voxels", "nsd"]
    assert ended.json["metrics"]["hd95_voxels"] > 0
    refused(
        "evaluate", "pred.npy", "ref.npy", "--metrics", "hd95_mm", says="this is called hd95_voxels there"
    )


def test_images_in_2d_have_no_cavities() -> None:
    for name in ("pred.npy", "ref.npy"):
        save(name, mask(tube((16, 18))))
    ended = run("evaluate", "pred.npy", "ref.npy", "--json")
    assert not {"betti_2_error", "hd95_mm"} & set(ended.json["metrics"])
    assert ended.json["metrics"]["betti_1_error"] == ended.json["metrics"]["hd95_pixels"] == 0
    note = "betti_2_error is left out: the images are 2D, and cavities are those of volumes."
    assert ended.err.count("left out") == ended.err.count(note) == 1
    assert note in ended.json["notes"]
    shown = run("evaluate", "pred.npy", "ref.npy", "--expensive", "--patches", 1)
    assert "_2_" not in shown.out
    together = "betti_2_error_patches and betti_matching_2_error and soft_betti_matching_2_error"
    assert f"betti_2_error and {together} are left out" in shown.err
    says = "--metrics betti_2_error: pred.npy is 2D"
    refused("evaluate", "pred.npy", "ref.npy", "--metrics", "dice,betti_2_error", says=says)


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


def test_the_largest_component_or_all() -> None:
    truth = mask(tube())
    cut = truth.copy()
    cut[..., 10] = 0
    save("pred.nii.gz", cut)
    save("ref.nii.gz", truth)
    told = ("evaluate", "pred.nii.gz", "ref.nii.gz", "--metrics", "tree_length_detected", "--json")
    largest, whole = run(*told), run(*told, "--all-components")
    assert not largest.json["parameters"]["all_components"]
    assert whole.json["parameters"]["all_components"]
    values = [found.json["metrics"]["tree_length_detected"] for found in (largest, whole)]
    assert 0.3 < values[0] < values[1] < 1
    assert sm.evaluate(cut, truth, metrics="tree_length_detected", all_components=True).metrics() == {
        "tree_length_detected": values[1]
    }


def test_the_preview(pair: tuple[Path, Path]) -> None:
    ended = run("evaluate", *pair, "--metrics", "dice", "--preview", "wrong.png")
    with PIL.Image.open("wrong.png") as picture:
        assert picture.info["Title"] == "softmorph evaluate pred.nii.gz ref.nii.gz"
        assert picture.info["Description"] == f"dice {dice(tube(shift=1), tube()):.3f}"
        assert min(picture.size) > 300
    assert ended.err == ""
    refused("evaluate", *pair, "--preview", "wrong.png", says="--force")
    refused("evaluate", *pair, "--preview", "wrong.jpg", code=2, says="wrong.jpg")
    for name in ("pred.nii.gz", "ref.nii.gz"):
        save(name, labelled(1))
    says = ("a preview is of one class", "--label 1")
    refused("evaluate", *pair, "--preview", "new.png", says=says)
    run("evaluate", *pair, "--metrics", "dice", "--preview", "new.png", "--label", 1)
    Path("folder").mkdir()
    refused("evaluate", "folder", "folder", "--preview", "x.png", code=2, says="--preview is for one pair")


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
    refused("evaluate", *pair, "--json-file", "-", code=2, says="--json")
    assert not Path("-").exists()
    refused("evaluate", *pair, "--distance-tolerance", "fast", code=2, says="--distance-tolerance")
    refused("evaluate", *pair, "--json", "--csv", "-", code=2, says="both print on stdout")
    refused("evaluate", "predictions", "references", "--error-map", "x.nii.gz", code=2, says="one pair")
    Path("taken.csv").touch()
    refused("evaluate", *pair, "--csv", "taken.csv", says="--force")
    save("bare.npy", tube())
    refused(
        "evaluate",
        "bare.npy",
        save("bare_ref.npy", mask(tube())),
        "--distance-tolerance",
        "1mm",
        says="--distance-tolerance 1mm",
    )


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
