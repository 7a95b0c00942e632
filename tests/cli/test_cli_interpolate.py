"""softmorph interpolate: command, chain and batch; what is written, said, and in the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import load, nibabel, refused, run, save

from softmorph_cli.completion.between import fill
from softmorph_cli.filters.operations.interpolate import Interpolate
from softmorph_cli.io.reading import read
from softmorph_cli.pipeline import describe

SPACING = (4.0, 1.0, 1.0)
GONE = [3, 4, 8]


def ball() -> np.ndarray:
    z, y, x = np.indices((10, 12, 13)) - np.array([5, 6, 6.5]).reshape(3, 1, 1, 1)
    return np.asarray(1 / (1 + np.exp(np.hypot(np.hypot(2 * z, y), x) - 5)), np.float32)


def gapped() -> np.ndarray:
    array = ball()
    array[GONE] = 0
    return array


@pytest.fixture(autouse=True)
def _maps(here: Path) -> None:
    save("map.nii.gz", gapped(), SPACING)


def filled(method: str = "logit") -> np.ndarray:
    observed = np.ones(10, bool)
    observed[GONE] = False
    return np.asarray(fill(ball()[np.newaxis], observed, 0, method)[0])


def test_what_is_written_said_and_in_the_document() -> None:
    ended = run(
        "interpolate", "map.nii.gz", "out.nii.gz", "--missing", "empty", "--filled", "new.nii.gz", "--json"
    )
    np.testing.assert_array_equal(load("out.nii.gz"), filled())
    mask = load("new.nii.gz")
    assert nibabel.load("new.nii.gz").get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.unique(np.nonzero(mask)[0]), GONE)
    assert mask[3:5].all()
    for image in ("out.nii.gz", "new.nii.gz"):
        np.testing.assert_array_equal(nibabel.load(image).affine, nibabel.load("map.nii.gz").affine)
    assert (
        "3 of 10 slices along z (the first axis; --axis names another) are invented: slices 3 to 4 and 8, counted"
        in ended.err
    )
    (step,) = ended.json["steps"]
    assert step["parameters"] == {"missing": "3:5,8", "axis": "z"}
    assert step["method"] == "logit"
    assert step["interpolation"] == {
        "axis": "z",
        "slices": 10,
        "missing": GONE,
        "repeated": [],
        "classes_exclude_each_other": False,
        "invented_voxels": 3 * 12 * 13,
        "outside_voxels": 0,
    }
    for image in ("out.nii.gz", "new.nii.gz"):
        source = read(image).source
        assert source is not None
        assert source.provenance["command"] == "softmorph interpolate"
        assert source.provenance["parameters"] == {"method": "logit", "missing": "3:5,8", "axis": "z"}


@pytest.mark.parametrize("method", ["linear", "shape", "nearest"])
def test_methods(method: str) -> None:
    run("interpolate", "map.nii.gz", "out.nii.gz", "--missing", "3:5,8", "--axis", "z", "-m", method)
    np.testing.assert_array_equal(load("out.nii.gz"), filled(method))


def test_slices_at_the_ends_are_said_to_be_repeated() -> None:
    ended = run("interpolate", "map.nii.gz", "out.nii.gz", "--missing=:2,-1", "--axis", "z")
    assert "slices 0 to 1 and 9 along z have an observed slice on one side only" in ended.err
    assert "the first axis" not in ended.err
    np.testing.assert_allclose(load("out.nii.gz")[1], ball()[2], atol=1e-6)


def test_empty_slices_at_one_end_alone_are_named() -> None:
    array = ball()
    array[8:] = 0
    save("short.nii.gz", array, SPACING)
    message = refused("interpolate", "short.nii.gz", "out.nii.gz", "--missing", "empty")
    assert "slices 8 to 9 along z, at the end of the stack, are empty" in message
    assert "--missing 8:10 fills them" in message
    save("short.nii.gz", array[:9], SPACING)
    message = refused("interpolate", "short.nii.gz", "out.nii.gz", "--missing", "empty")
    assert "slice 8 along z, at the end of the stack, is empty" in message
    assert "--missing 8 fills it" in message


def test_the_line_under_a_picture_names_the_slices() -> None:
    step = Interpolate(missing="empty", axis="z")
    assert describe.words([step], GONE) == "method logit, missing slices 3 to 4 and 8, axis z"


def test_empty_slices_between_others_are_noted_when_none_is_named() -> None:
    assert "slices 3 to 4 and 8 along z are empty and taken as observed; --missing empty fills them." in (
        run("interpolate", "map.nii.gz", "out.nii.gz", "--spacing", "iso").err
    )
    assert "are empty" not in (
        run("interpolate", "map.nii.gz", "new.nii.gz", "--spacing", "iso", "--missing", "empty").err
    )


def test_the_grid_of_an_image_of_another_place_is_refused() -> None:
    affine = nibabel.load("map.nii.gz").affine.copy()
    affine[:3, 3] += 500
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.uint8), affine), "far.nii")
    message = refused("interpolate", "map.nii.gz", "out.nii.gz", "--like", "far.nii")
    assert "map.nii.gz: --like far.nii lies wholly outside of this map" in message
    assert not Path("out.nii.gz").exists()


def test_a_chain_with_a_finer_grid_a_picture_and_the_mask_of_the_step(tmp_path: Path) -> None:
    steps = ("interpolate:missing=3:5,8,spacing=iso,method=shape", "threshold:largest=1")
    beside = ("--filled", "new.nii.gz", "--preview", "seen.png", "--save-steps", "steps", "--json")
    ended = run("chain", "map.nii.gz", "out.nii.gz", *steps, *beside)
    assert load("out.nii.gz").shape == load("new.nii.gz").shape == (40, 12, 13)
    assert load("steps/01-interpolate.nii.gz").shape == (40, 12, 13)
    assert Path("seen.png").stat().st_size > 1000
    assert ended.json["steps"][0]["parameters"] == {"missing": "3:5,8", "axis": "z", "spacing": "iso"}
    run("interpolate", "map.nii.gz", "alone.nii.gz", "--missing", "3:5,8", "--spacing", "iso", "-m", "shape")
    np.testing.assert_array_equal(load("alone.nii.gz"), load("steps/01-interpolate.nii.gz"))
    Path("steps.toml").write_text(
        '[[step]]\noperation = "interpolate"\nmissing = "3:5,8"\nlike = "out.nii.gz"\nmethod = "shape"\n'
    )
    run("chain", "map.nii.gz", "again.nii.gz", "--pipeline", "steps.toml")
    np.testing.assert_allclose(load("again.nii.gz"), load("alone.nii.gz"), atol=1e-5)


def test_the_mask_is_of_one_step_and_of_the_grid_of_the_result() -> None:
    fill, beside = "interpolate:missing=3:5", ("--filled", "new.nii.gz")
    for steps, message in (
        (
            (fill, "interpolate:missing=8"),
            "--filled is of one step interpolate: name all slices and the grid in one",
        ),
        (
            (fill, "resample:spacing=1mm"),
            "--filled is on the grid of the step interpolate, which resample changes",
        ),
        ((fill, "skeletonize:resample=iso"), "step interpolate, which skeletonize changes"),
    ):
        assert message in refused("chain", "map.nii.gz", "out.nii.gz", *steps, *beside, code=2)
        assert not Path("out.nii.gz").exists()
    # A grid that is changed before the step is that of the result.
    run("chain", "map.nii.gz", "out.nii.gz", "resample:spacing=2mm", "interpolate:missing=6", "fill", *beside)
    assert load("out.nii.gz").shape == load("new.nii.gz").shape == (20, 6, 6)
    np.testing.assert_array_equal(np.unique(np.nonzero(load("new.nii.gz"))[0]), [6])


def test_a_note_on_slices_that_are_replaced() -> None:
    words = ("interpolate", "map.nii.gz", "out.nii.gz", "--force", "--missing")
    assert "note: slices 5 to 6 along z are not empty; they are replaced." in run(*words, "3:7").err
    assert "note: slice 7 along z is not empty; it is replaced." in run(*words, "7,8").err
    assert "replaced" not in run(*words, "3:5,8").err


@pytest.mark.parametrize(("unit", "size", "told"), [("micron", 1e3, 0), ("mm", 1 + 1e-6, 0), ("mm", 1.01, 1)])
def test_a_warning_on_another_grid_only_where_voxels_differ_in_size(
    unit: str, size: float, told: int
) -> None:
    image = nibabel.load("map.nii.gz")
    other = nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine * [size, size, size, 1])
    other.header.set_xyzt_units(unit)
    nibabel.save(other, "like.nii")
    ended = run(
        "interpolate", "map.nii.gz", "out.nii.gz", "--like", "like.nii", "--missing", "empty", "--json"
    )
    assert sum("interpolated" in warning for warning in ended.json["warnings"]) == told


def test_the_grid_of_an_image_of_any_kind() -> None:
    image = nibabel.Nifti1Image(np.full((30, 20, 9, 2), 700, np.int16), np.diag([0.5, 0.5, 3.0, 1]))
    nibabel.save(image, "scan.nii.gz")
    ended = run(
        "interpolate", "map.nii.gz", "out.nii.gz", "--like", "scan.nii.gz", "--missing", "empty", "--json"
    )
    made = nibabel.load("out.nii.gz")
    assert made.shape == (30, 20, 9)
    np.testing.assert_array_equal(made.affine, image.affine)
    outside = ended.json["steps"][0]["interpolation"]["outside_voxels"]
    assert outside > 0
    assert f"{100 * outside / 5400:.3g} % of the voxels lie outside" in ended.err
    # The other image is no longer there: said as of any file.
    Path("scan.nii.gz").unlink()
    assert "scan.nii.gz" in refused("interpolate", "map.nii.gz", "new.nii.gz", "--like", "scan.nii.gz")


def test_a_plane_of_a_stack_is_a_picture() -> None:
    affine = nibabel.load("map.nii.gz").affine.copy()
    affine[:3, 3] = affine[:3] @ [0, 0, 5, 1]
    nibabel.save(nibabel.Nifti1Image(np.zeros((13, 12, 1), np.uint8), affine), "plane.nii")
    run(
        "interpolate",
        "map.nii.gz",
        "out.png",
        "--like",
        "plane.nii",
        "--filled",
        "new.png",
        "--preview",
        "seen.png",
    )
    np.testing.assert_allclose(read("out.png").array, ball()[5], atol=1e-4)
    assert not read("new.png").array.any()
    assert "PNG holds one 2-D image" in refused(
        "interpolate", "map.nii.gz", "whole.nii.gz", "--missing", "empty", "--filled", "stack.png"
    )


def test_classes_of_a_stack_sum_to_1() -> None:
    maps = np.stack([ball(), 1 - ball()])
    save("classes.nii.gz", maps, SPACING)
    run(
        "interpolate", "classes.nii.gz", "out.nii.gz", "--missing", "4:7", "--spacing", "iso", "--renormalize"
    )
    np.testing.assert_allclose(load("out.nii.gz").sum(axis=0), 1, atol=1e-6)


def test_rows_of_a_picture() -> None:
    np.save("flat.npy", ball()[5])
    ended = run("interpolate", "flat.npy", "out.npy", "--missing", "4")
    assert "1 of 12 slices along y (the first axis" in ended.err
    observed = np.arange(12) != 4
    np.testing.assert_array_equal(np.load("out.npy"), fill(ball()[5][np.newaxis], observed, 0)[0])


def test_a_batch_names_the_file_that_has_nothing_missing() -> None:
    Path("in").mkdir()
    Path("map.nii.gz").rename("in/map.nii.gz")
    save("in/whole.nii.gz", ball(), SPACING)
    ended = run("batch", "in", "out", "interpolate:missing=empty", "--workers", 1, code=1)
    np.testing.assert_array_equal(load("out/map.nii.gz"), filled())
    assert not Path("out/whole.nii.gz").exists()
    assert "in/whole.nii.gz: no slice between others is empty along z" in ended.err
    listed = json.loads(Path("out/summary.json").read_text())
    assert [one["status"] for one in listed["files"]] == ["done", "failed"]


def test_a_batch_notices_that_the_image_of_the_grid_has_changed() -> None:
    Path("in").mkdir()
    Path("map.nii.gz").rename("in/map.nii.gz")
    words = ("batch", "in", "out", "interpolate:like=scan.nii.gz", "--workers", 1, "--json")
    for shape, more, status in (((9, 8, 7), (), "done"), ((9, 8, 7), ("--resume",), "skipped")):
        if not Path("scan.nii.gz").exists():
            save("scan.nii.gz", np.zeros(shape, np.float32))
        assert run(*words, *more).json["files"][0]["status"] == status
    save("scan.nii.gz", np.zeros((5, 6, 7), np.float32))
    run(*words, "--resume", "--force")
    assert load("out/map.nii.gz").shape == (5, 6, 7)


def test_what_is_refused() -> None:
    for words, message in (
        ((), "nothing is missing and no grid is asked for"),
        (("--missing", "3", "--spacing", "iso", "--like", "map.nii.gz"), "give either --spacing or --like"),
        (("--missing", "three"), "--missing 'three' names no slices"),
        (("--missing", "3", "--axis", "t"), "--axis t: use z, y or x"),
        (("--missing", "3", "--method", "cubic"), "--method cubic: use logit, linear, shape or nearest"),
        (("--spacing", "1e-300mm"), "--spacing '1e-300mm': it must be from 1e-30 to 1e+300."),
        (("--spacing", "1e301um,1um,1um"), "--spacing '1e301um': it must be from 1e-30 to 1e+300."),
        (("--missing", "1" * 5000), f"--missing '{'1' * 57}...' names no slices: give indices"),
        (("--missing", f"3:{'9' * 5000}"), "...' names no slices: give indices"),
        (("--spacing", "2vox"), "--spacing 2vox: give lengths in mm, um or nm, or iso"),
    ):
        assert message in refused("interpolate", "map.nii.gz", "out.nii.gz", *words, code=2)
    for words, message in (
        (
            ("--missing", "3,10"),
            "map.nii.gz: --missing 3,10: there is no slice 10 along z, which has 10: name slices from 0 to 9.",
        ),
        (("--missing", "1:"), "map.nii.gz: 1 slice along z is observed, and at least 2 are needed"),
        (("--missing", "9" * 18), f"there is no slice {'9' * 18} along z, which has 10"),
        (("--spacing", "1e-30mm"), "GiB may be used: choose larger voxels."),
        (("--missing", ":"), "map.nii.gz: --missing : names every slice along z"),
    ):
        assert message in refused("interpolate", "map.nii.gz", "out.nii.gz", *words)
    same = refused("interpolate", "map.nii.gz", "map.nii", "--missing", "3", "--filled", "map.nii", code=2)
    assert "map.nii is named twice" in same
    like = refused("interpolate", "map.nii.gz", "out.nii", "--like", "g.nii", "--filled", "g.nii", code=2)
    assert "g.nii is named twice" in like
