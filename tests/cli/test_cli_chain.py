"""Chains, and the commands that chains brought along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import load, nibabel, random_map, refused, run, save

import softmorph_cli
from softmorph_cli.filters.greylevel import components, despeckle, fill


@pytest.fixture(autouse=True)
def _map() -> None:
    save("in.nii.gz", random_map())


def test_a_chain_is_what_its_commands_are_one_after_another() -> None:
    run("close", "in.nii.gz", "1.nii.gz", "--iterations", 2)
    run("despeckle", "1.nii.gz", "2.nii.gz", "--min-size", "3vox")
    run("skeletonize", "2.nii.gz", "3.nii.gz")
    run("chain", "in.nii.gz", "all.nii.gz", "close:iterations=2", "despeckle:min-size=3vox", "skeletonize")
    np.testing.assert_array_equal(load("all.nii.gz"), load("3.nii.gz"))


def test_stages_are_kept_and_every_step_has_statistics() -> None:
    run(
        "chain", "in.nii.gz", "out.nii.gz", "erode", "fill", "--save-steps", "stages", "--json-file", "s.json"
    )
    assert sorted(path.name for path in Path("stages").iterdir()) == ["01-erode.nii.gz", "02-fill.nii.gz"]
    document = json.loads(Path("s.json").read_text())
    eroded = softmorph_cli.erosion(random_map())
    np.testing.assert_array_equal(load("stages/01-erode.nii.gz"), eroded)
    assert [step["operation"] for step in document["steps"]] == ["erode", "fill"]
    assert document["steps"][0]["after"]["sum"] == pytest.approx(float(eroded.astype(np.float64).sum()))
    assert document["steps"][1]["after"] == document["after"]
    assert document["steps"][0]["method"] == "minmax"
    assert document["steps"][1]["method"] is None


def test_stages_that_exist_are_refused_before_anything_is_computed() -> None:
    Path("stages").mkdir()
    Path("stages/01-erode.nii.gz").write_bytes(b"mine")
    words = ("chain", "in.nii.gz", "out.nii.gz", "erode", "--save-steps", "stages")
    refused(*words, says=("01-erode.nii.gz exists already", "--force"))
    run(*words, "--force")


def test_a_chain_says_how_it_was_made() -> None:
    run("chain", "in.nii.gz", "out.nii.gz", "close:iterations=2", "skeletonize:hard")
    source = softmorph_cli.read("out.nii.gz").source
    assert source is not None
    made = source.provenance
    assert made["command"] == "softmorph chain"
    assert made["parameters"]["steps"] == [
        {"operation": "close", "method": "minmax", "iterations": 2},
        {"operation": "skeletonize", "method": "binary", "hard": True, "threshold": 0.5},
    ]
    # So that inspect takes it as the skeleton it is.
    assert "taken as one" in run("inspect", "out.nii.gz").err


@pytest.mark.parametrize(
    ("steps", "code", "says"),
    [
        (["erode:iteration=2"], 2, "it takes connectivity, iterations"),
        (["blur"], 2, "no operation 'blur'"),
        ([], 2, "a chain needs a step"),
        (["threshold:labels", "erode"], 2, "make it the last"),
        (["despeckle:min-size=5mm2"], 1, "the map is 3D: give the size in mm3 or in vox"),
        (["erode", "--pipeline", "p.toml"], 2, "not both"),
        (["--pipeline", "p.toml"], 1, "cannot be read"),
    ],
)
def test_wrong_steps_are_refused(steps: list[str], code: int, says: str) -> None:
    refused("chain", "in.nii.gz", "out.nii.gz", *steps, code=code, says=says)


def test_fill_and_despeckle_write_what_their_filters_give() -> None:
    image = random_map()
    run("fill", "in.nii.gz", "filled.nii.gz")
    np.testing.assert_array_equal(load("filled.nii.gz"), fill(image, 3))
    # A voxel has 3 x 2 x 1.5 = 9 mm3: 40 mm3 are five of them.
    run("despeckle", "in.nii.gz", "clean.nii.gz", "--min-size", "40mm3")
    np.testing.assert_array_equal(load("clean.nii.gz"), despeckle(image, 5, 3))
    run("despeckle", "in.nii.gz", "same.nii.gz", "--min-size", "5vox")
    np.testing.assert_array_equal(load("same.nii.gz"), load("clean.nii.gz"))


def test_threshold_writes_a_mask_or_labels() -> None:
    image = random_map()
    run("threshold", "in.nii.gz", "mask.nii.gz", "--threshold", 0.7)
    np.testing.assert_array_equal(load("mask.nii.gz"), image > 0.7)
    run("threshold", "in.nii.gz", "largest.nii.gz", "--threshold", 0.9, "--largest", 2)
    np.testing.assert_array_equal(load("largest.nii.gz"), components(image, 0.9, 3, largest=2) > 0)
    run("threshold", "in.nii.gz", "labels.nii.gz", "--threshold", 0.9, "--labels")
    np.testing.assert_array_equal(load("labels.nii.gz"), components(image, 0.9, 3))
    refused("threshold", "in.nii.gz", "x.nii.gz", "--largest", 0, code=2, says="at least 1")
    refused("threshold", "in.nii.gz", "x.nii.gz", "--threshold", 1, code=2, says="below 1")


def test_resample_changes_the_grid_and_says_so() -> None:
    told = run("resample", "in.nii.gz", "cubic.nii.gz").err
    assert "voxels of the result are smaller than the map's and interpolated" in told
    cubic = softmorph_cli.read("cubic.nii.gz")
    assert cubic.array.shape == (12, 9, 8)
    assert cubic.spacing == pytest.approx((1.5, 14 / 9, 1.5))
    run("resample", "in.nii.gz", "coarse.nii.gz", "--spacing", "6mm,4mm,3mm")
    coarse = softmorph_cli.read("coarse.nii.gz")
    assert coarse.array.shape == (3, 4, 4)
    # Coarser voxels are means: the expected volume stays nearly as it is.
    assert coarse.array.mean() == pytest.approx(float(random_map().mean()), rel=0.05)
    refused("resample", "in.nii.gz", "x.nii.gz", "--spacing", "2vox", code=2, says="give lengths in mm")
    refused("resample", "in.nii.gz", "x.nii.gz", "--spacing", "1mm,2mm", says="one for each of Z, Y, X")
    # Lengths in voxels, the advice elsewhere, are no way out here.
    save("none.npy", random_map())
    refused("resample", "none.npy", "x.nii.gz", "--spacing", "2mm", says="so the map cannot be resampled")
    softmorph_cli.write(replace(coarse, unit=None), "nameless.zarr")
    refused(
        "resample", "nameless.zarr", "x.nii.gz", "--spacing", "2mm", says="only --spacing iso does without"
    )
    run("resample", "nameless.zarr", "y.nii.gz")


def test_a_stage_never_takes_the_place_of_what_is_read_or_written() -> None:
    Path("stages").mkdir()
    save("stages/01-close.nii.gz", random_map())
    refused(
        "chain",
        "stages/01-close.nii.gz",
        "out.nii.gz",
        "close",
        "--save-steps",
        "stages",
        "--force",
        code=2,
        says="named twice",
    )
    refused(
        "chain", "in.nii.gz", "new/01-close.nii.gz", "close", "--save-steps", "new", says="does not exist"
    )
    assert not Path("new").exists()


def test_a_mask_stays_a_mask_between_steps() -> None:
    run("chain", "in.nii.gz", "out.nii.gz", "threshold", "erode", "--save-steps", "stages")
    assert nibabel.load("stages/01-threshold.nii.gz").get_data_dtype() == np.uint8


def test_a_grid_that_fits_no_memory_is_refused_before_it_is_made() -> None:
    refused("resample", "in.nii.gz", "x.nii.gz", "--spacing", "1um", says="choose larger voxels")


def test_keys_of_a_file_may_have_dashes() -> None:
    Path("p.toml").write_text('[[step]]\noperation = "despeckle"\nmin-size = "3vox"\n')
    run("chain", "in.nii.gz", "a.nii.gz", "--pipeline", "p.toml")
    run("despeckle", "in.nii.gz", "b.nii.gz", "--min-size", "3vox")
    np.testing.assert_array_equal(load("a.nii.gz"), load("b.nii.gz"))
