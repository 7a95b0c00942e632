"""softmorph evaluate of label maps, masks and classes of a network."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers_cli import (
    nibabel,
    random_map,
    refused,
    run,
    save,
)
from helpers_evaluate import SHAPE, dice, labelled, mask, rows, softmax, tube, write_case


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


def test_classes_of_a_network_against_labels() -> None:
    p = softmax()
    write_case("predicted", "case", p)
    its = labelled(2) % 3
    save("ref.nii.gz", its)
    expected = {label: dice(p.argmax(axis=0) == label, its == label) for label in (1, 2)}
    found = run("evaluate", "predicted/case.npz", "ref.nii.gz", "--metrics", "dice", "--json").json["classes"]
    assert [(row["label"], row["class"]) for row in found] == [(1, "artery"), (2, "vein")]
    assert {row["label"]: row["metrics"]["dice"] for row in found} == pytest.approx(expected)
    vein = ("evaluate", "predicted/case.npz", "ref.nii.gz", "--metrics", "dice", "--json")
    for chosen in (("--channel", "vein"), ("--label", 2)):
        assert run(*vein, *chosen).json["metrics"]["dice"] == pytest.approx(expected[2])
    # The background is in both, though no label of a label map is 0.
    background = run(*vein, "--channel", 0)
    assert background.json["metrics"]["dice"] == pytest.approx(dice(p.argmax(axis=0) == 0, its == 0))
    assert "no label is in both files" not in background.err
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
