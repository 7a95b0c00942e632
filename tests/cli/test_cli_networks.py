"""What networks write, through the command line: classes filtered one by one and brought together again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import SimpleITK, load, refused, run, save

import softmorph_cli

LABELS = {"background": 0, "vein": 1, "artery": 5}


@pytest.fixture
def probabilities() -> np.ndarray:
    raised = np.exp(3 * np.random.default_rng(4).standard_normal((3, 6, 7, 8)))
    return np.asarray(raised / raised.sum(axis=0), np.float32)


@pytest.fixture(autouse=True)
def _case(probabilities: np.ndarray) -> None:
    np.savez_compressed("case.npz", probabilities=probabilities)
    labels = np.array(list(LABELS.values()), np.uint8)[probabilities.argmax(axis=0)]
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing((1.5, 2.0, 3.0))
    SimpleITK.WriteImage(image, "case.nii.gz")
    Path("dataset.json").write_text(json.dumps({"labels": LABELS, "file_ending": ".nii.gz"}))
    Path("plans.json").write_text(
        json.dumps({"image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2]})
    )


def test_argmax_of_what_nothing_changed_is_the_label_image_beside_it() -> None:
    # A resampling onto the same grid changes nothing.
    run("resample", "case.npz", "labels.nii.gz", "--spacing", "3mm,2mm,1.5mm", "--argmax")
    np.testing.assert_array_equal(load("labels.nii.gz"), load("case.nii.gz"))
    place = SimpleITK.ReadImage("labels.nii.gz")
    assert place.GetSpacing() == pytest.approx((1.5, 2.0, 3.0))


def test_renormalized_classes_sum_to_one(probabilities: np.ndarray) -> None:
    run("dilate", "case.npz", "wide.nii.gz")
    run("dilate", "case.npz", "shared.nii.gz", "--renormalize")
    wide, shared = load("wide.nii.gz"), load("shared.nii.gz")
    np.testing.assert_array_equal(wide[0], softmorph_cli.dilation(probabilities[1]))
    assert wide.sum(axis=0).max() > 1.01
    assert shared.sum(axis=0).max() <= 1 + 1e-6
    below = wide.sum(axis=0) <= 1
    np.testing.assert_array_equal(shared[:, below], wide[:, below])


def test_labels_after_a_filter_have_the_values_of_the_dataset() -> None:
    run(
        "chain",
        "case.npz",
        "labels.nii.gz",
        "dilate",
        "erode",
        "--renormalize",
        "--argmax",
        "--json-file",
        "s.json",
    )
    found = load("labels.nii.gz")
    assert found.shape == (6, 7, 8)
    assert set(np.unique(found)) <= set(LABELS.values())
    assert 5 in found
    assert json.loads(Path("s.json").read_text())["output"]["dtype"] == "labels"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("threshold", "case.npz", "x.nii.gz", "--argmax"), "need probabilities"),
        (("skeletonize", "case.npz", "x.nii.gz", "--hard", "--renormalize"), "need probabilities"),
        (("erode", "case.npz", "x.nii.gz", "--argmax", "--output-type", "uint8"), "leave out --output-type"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], says: str) -> None:
    refused(*words, code=2, says=says)


def test_the_reference_is_no_place_to_write() -> None:
    words = ("erode", "case.npz", "case.nii.gz", "--reference", "case.nii.gz", "--force")
    refused(*words, code=2, says="named twice")


def test_a_folder_of_cases_becomes_a_folder_of_label_images() -> None:
    Path("cases").mkdir()
    for name in ("case.npz", "case.nii.gz", "dataset.json", "plans.json"):
        Path(name).rename(f"cases/{name}")
    run("batch", "cases", "out", "dilate", "--renormalize", "--argmax", "--workers", 1)
    run("dilate", "cases/case.npz", "one.nii.gz", "--renormalize", "--argmax")
    np.testing.assert_array_equal(load("out/case.nii.gz"), load("one.nii.gz"))
    assert len(list(Path("out").glob("*.nii.gz"))) == 1


def test_classes_sum_to_one_again_on_another_grid_too(probabilities: np.ndarray) -> None:
    np.save("all.npy", probabilities)
    axes = ("--axes", "CZYX")
    run("chain", "all.npy", "out.npy", "resample", "dilate", "erode", "--renormalize", *axes, code=1)
    save("all.nii.gz", probabilities, (3.0, 2.0, 1.5))
    run("chain", "all.nii.gz", "out.nii.gz", "resample", "dilate", "erode", "--renormalize")
    assert load("out.nii.gz").sum(axis=0) == pytest.approx(1, abs=1e-5)
    # Its only further axis holds the classes, which one label image does not have.
    run("dilate", "all.nii.gz", "labels.nii.gz", "--argmax")
    assert load("labels.nii.gz").shape == (6, 7, 8)


def several(probabilities: np.ndarray) -> dict[str, float]:
    """Write a study of three cases without labels beside them, and a folder of their images; return their sizes."""
    sizes = {"a": 1.0, "b": 1.5, "c": 2.0}
    for folder in ("study", "images"):
        Path(folder).mkdir()
    for name, side in sizes.items():
        np.savez_compressed(f"study/{name}.npz", probabilities=probabilities)
        # As the images that nnU-Net reads are called, and as its results are.
        called = name if name != "b" else "b_0000"
        save(f"images/{called}.nii.gz", probabilities[0], (side, side, side))
    return sizes


def test_one_case_lends_its_place_to_no_other(probabilities: np.ndarray) -> None:
    sizes = several(probabilities)
    batch = ("batch", "study", "out", "erode")
    says = ("where one case lies, and 3 are read", "name the folder")
    refused(*batch, "--reference", "images/a.nii.gz", code=2, says=says)
    refused(*batch, "--reference", "images/a.nii.gz", "--num-parts", 3, "--part-id", 1, code=2, says=says)
    refused(
        "stats", "study/a.npz", "study/b.npz", "--reference", "images/a.nii.gz", code=2, says="2 are read"
    )
    run(*batch, "--reference", "images")
    for name, side in sizes.items():
        assert SimpleITK.ReadImage(f"out/{name}.nii.gz").GetSpacing()[:3] == pytest.approx((side,) * 3)
    stated = run("stats", "study/a.npz", "study/b.npz", "--reference", "images", "--json").json["files"]
    assert [one["input"]["spacing"][0] for one in stated] == [1.0, 1.5]
    # One case alone may be placed by either.
    run("batch", "study", "one", "erode", "--glob", "c.npz", "--reference", "images/c.nii.gz")
    run("erode", "study/c.npz", "c.nii.gz", "--reference", "images")
    for path in ("one/c.nii.gz", "c.nii.gz"):
        assert SimpleITK.ReadImage(path).GetSpacing()[:3] == pytest.approx((2.0,) * 3)


def test_a_batch_goes_by_the_image_of_each_case(probabilities: np.ndarray) -> None:
    several(probabilities)
    batch = ("batch", "study", "out", "erode", "--reference", "images", "--json")
    Path("images/c.nii.gz").rename("images/other.nii.gz")
    ended = run(*batch, code=1)
    assert "images holds no image of c.npz: it would be called c.nii.gz or c_0000.nii.gz" in ended.out
    Path("images/other.nii.gz").rename("images/c.nii.gz")
    save("images/a.nii.gz", probabilities[0], (4.0, 4.0, 4.0))
    again = {Path(one["input"]["path"]).name: one["status"] for one in run(*batch, "--resume").json["files"]}
    assert again == {"a.npz": "done", "b.npz": "skipped", "c.npz": "done"}
    assert SimpleITK.ReadImage("out/a.nii.gz").GetSpacing()[0] == 4.0
    save("images/b.nrrd", probabilities[0])
    save("images/b.nii.gz", probabilities[0])
    refused("erode", "study/b.npz", "b.nii.gz", "--reference", "images", says="b.nii.gz and b.nrrd")
    Path("study/deeper").mkdir()
    np.savez_compressed("study/deeper/a.npz", probabilities=probabilities)
    says = "a.npz is the name of several cases"
    refused("batch", "study", "deep", "erode", "--recursive", "--reference", "images", code=2, says=says)


def test_an_order_of_regions_that_is_nested_is_named(probabilities: np.ndarray) -> None:
    described = {
        "labels": {"background": 0, "tube": [1, 4], "device": 2, "wire": [3, 4]},
        "regions_class_order": [[1, 4], 2, [3, 4]],
        "file_ending": ".nii.gz",
    }
    Path("dataset.json").write_text(json.dumps(described))
    sentence = refused("stats", "case.npz", says=("regions_class_order", "[[1, 4], 2, [3, 4]]", "3 regions"))
    assert "labels in" not in sentence


def test_labels_are_counted_class_by_class_as_the_channels_before_them(probabilities: np.ndarray) -> None:
    two = np.zeros((3, *probabilities.shape[1:]), np.float32)
    two[1, 2, 1:6, 1:4], two[2, 2, 1:6, 4:7], two[1, 2, 3, 4:7] = 0.8, 0.8, 0.9
    two[2, 2, 3, 4:7] = 0.1
    two[0] = 1 - two.sum(axis=0)
    np.savez_compressed("touching.npz", probabilities=two)
    labels = np.array(list(LABELS.values()), np.uint8)[two.argmax(axis=0)]
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing((1.5, 2.0, 3.0))
    SimpleITK.WriteImage(image, "touching.nii.gz")
    found = run(
        "resample", "touching.npz", "o.nii.gz", "--spacing", "3mm,2mm,1.5mm", "--argmax", "--json"
    ).json
    # One piece of the first class, and two of the second, which it divides.
    for when in ("before", "after"):
        assert found[when]["components_above_half"] == 3
        assert found[when]["voxels_above_half"] == 30
        assert [one["components_above_half"] for one in found[when]["per_channel"]] == [1, 2]
    assert found["after"]["expected_volume"] == pytest.approx(30 * 9)
