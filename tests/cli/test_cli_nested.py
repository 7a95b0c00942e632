"""A nested skeleton through the command line: written in any type, cut at its levels, inspected as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import load, nibabel, provenance, refused, run, save
from helpers_maps import tree
from helpers_nested import nested_reference
from helpers_topology import broken_ring, noisy, vessels
from PIL import Image

from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.kernels.level_sets import LevelSets, nested_levels
from softmorph_cli.topology.betti import betti_numbers

NEAREST = "threshold 0.4 -> 0.375, the nearest of the 8 levels of this nested skeleton."
BREAKS = "a threshold on it breaks lines"
CUT = "thinned to one voxel"


@pytest.fixture(scope="module")
def probabilities() -> np.ndarray:
    return noisy(vessels(20), 1.0, 4)


@pytest.fixture(scope="module")
def expected(probabilities: np.ndarray) -> np.ndarray:
    return nested_reference(probabilities, 8)


@pytest.fixture(autouse=True)
def _map(probabilities: np.ndarray) -> None:
    save("in.nii.gz", probabilities, spacing=(1.0, 1.0, 1.0))


def skeleton(*more: object, target: str = "s.nii.gz") -> str:
    run("skeletonize", "in.nii.gz", target, "--method", "nested", "--levels", 8, *more)
    return target


@pytest.mark.parametrize("output_type", ["float32", "uint8", "uint16"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".nrrd", ".zarr"])
def test_the_file_has_the_topology_of_the_map_at_every_level(
    probabilities: np.ndarray, expected: np.ndarray, suffix: str, output_type: str
) -> None:
    again = read(skeleton("--output-type", output_type, target=f"s{suffix}"))
    assert again.source is not None
    assert nested_levels(again.source.provenance) == LevelSets(8)
    for threshold in LevelSets(8).thresholds:
        above = again.array > threshold
        assert np.array_equal(above, expected > threshold)
        assert betti_numbers(above) == betti_numbers(probabilities > threshold)


def test_png_keeps_every_level() -> None:
    p = broken_ring(noise=1.0)
    Image.fromarray(np.rint(p * 65535).astype(np.uint16)).save("in.png")
    p = (np.asarray(Image.open("in.png")) / np.float32(65535)).astype(np.float32)
    for name, more in (("s.png", ()), ("t.png", ("--output-type", "uint8"))):
        run("skeletonize", "in.png", name, "--method", "nested", "--levels", 16, *more)
        with Image.open(name) as image:
            numbers = np.asarray(image)
        shares = numbers / np.iinfo(numbers.dtype).max
        for threshold in LevelSets(16).thresholds:
            assert betti_numbers(shares > threshold) == betti_numbers(p > threshold)
            assert np.array_equal(shares > threshold, read(name).array > threshold)


@pytest.mark.parametrize(
    "words",
    [
        ("skeletonize", "missing.nii.gz", "out.nii.gz", "--levels", 128, "--output-type", "uint8"),
        ("skeletonize", "missing.png", "out.png", "--levels", 32768),
        (
            "chain",
            "missing.nii.gz",
            "out.tif",
            "close",
            "skeletonize:levels=4096",
            "--output-type",
            "float16",
        ),
        ("batch", ".", "out", "skeletonize:levels=128", "--output-type", "uint8"),
    ],
)
def test_levels_that_do_not_fit_are_refused_before_anything_is_read(words: tuple[object, ...]) -> None:
    assert " --output-type " in refused(*words, code=2, says=("levels do not fit into", "--levels "))


def test_more_levels_fit_where_other_values_are_written() -> None:
    run("chain", "in.nii.gz", "out.nii.gz", "skeletonize:levels=128", "dilate", "--output-type", "uint8")
    assert nested_levels(provenance("out.nii.gz")) is None


def test_no_warning_of_broken_lines_for_an_exact_skeleton() -> None:
    save("tree.nii.gz", tree(), spacing=(1.0, 1.0, 1.0))
    words = ("skeletonize", "tree.nii.gz", "s.nii.gz", "--force")
    assert BREAKS not in run(*words, "--method", "nested").err
    assert BREAKS not in run(*words, "--method", "nested", "--levels", "exact").err
    assert BREAKS in run(*words, "--method", "levels").err


def test_inspect_takes_a_level_as_it_is(expected: np.ndarray) -> None:
    skeleton()
    more = ("--threshold", 0.4, "--json", "j.json", "--skeleton", "curve.nii.gz")
    ended = run("inspect", "s.nii.gz", *more)
    assert f"note: {NEAREST}" in ended.err
    assert CUT not in ended.err
    assert "above 0.375" in ended.out
    document = json.loads(Path("j.json").read_text())
    assert document["parameters"]["threshold"] == 0.375
    assert document["parameters"]["levels"] == 8
    assert NEAREST in document["notes"]
    assert not any(CUT in warning for warning in document["warnings"])
    curve = load("curve.nii.gz") > 0
    assert not (curve & (expected <= 0.375)).any()
    assert betti_numbers(curve) == betti_numbers(expected > 0.375)


def test_inspect_of_exact_levels_takes_any_threshold() -> None:
    run("skeletonize", "in.nii.gz", "s.nii.gz", "--method", "nested", "--levels", "exact")
    ended = run("inspect", "s.nii.gz", "--threshold", 0.4, "--json")
    assert ended.json["parameters"]["threshold"] == 0.4
    assert ended.json["parameters"]["levels"] == "exact"
    assert "->" not in ended.err
    assert CUT not in ended.err


def test_inspect_of_an_unfinished_skeleton_notes_the_thinning() -> None:
    for name, more in (("a", ("--no-finish",)), ("b", ("--iterations", 1))):
        skeleton(*more, target=f"{name}.nii.gz")
        assert provenance(f"{name}.nii.gz")["parameters"]["finish"] is False
        ended = run("inspect", f"{name}.nii.gz", "--threshold", 0.3, "--json")
        # Its level sets are those of the map all the same.
        assert ended.json["parameters"]["threshold"] == 0.25
        assert CUT in ended.err or "no skeleton but a solid object" in ended.err
    skeleton("--max-iterations", 1, target="c.nii.gz")
    assert provenance("c.nii.gz")["parameters"]["finish"] is False
    run("skeletonize", "in.nii.gz", "d.nii.gz", "--method", "levels")
    assert CUT in run("inspect", "d.nii.gz").err


@pytest.mark.parametrize(
    "step",
    [
        ("dilate", "--iterations", 1),
        ("close", "--iterations", 1),
        ("resample", "--spacing", "0.8mm"),
        ("despeckle", "--min-size", "3vox"),
    ],
)
def test_later_filters_of_a_nested_skeleton_use_the_given_threshold(step: tuple[object, ...]) -> None:
    skeleton()
    name, *more = step
    run(name, "s.nii.gz", "later.nii.gz", *more)
    ended = run("inspect", "later.nii.gz", "--as", "skeleton", "--threshold", 0.4, "--json")
    assert ended.json["parameters"]["threshold"] == 0.4
    run(
        "chain",
        "in.nii.gz",
        "chain.nii.gz",
        "skeletonize:levels=8",
        _typed(name, more),
        "threshold:threshold=0.4",
    )
    ended = run("threshold", "later.nii.gz", "mask.nii.gz", "--threshold", 0.4, "--json")
    assert "->" not in ended.err
    assert ended.json["steps"][0]["parameters"] == {"threshold": 0.4}
    np.testing.assert_array_equal(load("mask.nii.gz"), load("chain.nii.gz"))


def _typed(name: object, more: list[object]) -> str:
    flag, value = more
    return f"{name}:{str(flag).removeprefix('--')}={value}"


def test_a_file_that_another_program_changed_is_not_believed() -> None:
    from scipy.ndimage import gaussian_filter, grey_dilation

    image = nibabel.load(skeleton())
    values = np.asarray(image.get_fdata(), np.float32)
    for name, changed in (
        ("blurred", gaussian_filter(values, 1)),
        ("thick", grey_dilation(values, (3, 3, 3))),
    ):
        # nibabel copies what softmorph said along with the header.
        nibabel.save(nibabel.Nifti1Image(changed, image.affine, image.header), f"{name}.nii.gz")
        assert nested_levels(provenance(f"{name}.nii.gz")) == LevelSets(8)
        ended = run("inspect", f"{name}.nii.gz", "--threshold", 0.4, "--json")
        assert ended.json["warnings"] != []
        assert ended.json["parameters"]["threshold"] == (0.4 if name == "blurred" else 0.375)
        assert ("changed or cut since" in ended.err) == (name == "thick")


def test_threshold_takes_the_nearest_level(expected: np.ndarray) -> None:
    skeleton("--output-type", "uint8")
    ended = run("threshold", "s.nii.gz", "mask.nii.gz", "--threshold", 0.4, "--json", "--verbose")
    assert f"note: {NEAREST}" in ended.err
    assert "in force: threshold 0.375." in ended.err
    assert ended.json["steps"][0]["parameters"] == {"threshold": 0.375}
    assert provenance("mask.nii.gz")["parameters"]["threshold"] == 0.375
    np.testing.assert_array_equal(load("mask.nii.gz") > 0, expected > 0.375)
    # In one go, and with what else the command can do.
    ended = run("chain", "in.nii.gz", "chain.nii.gz", "skeletonize:levels=8", "threshold:threshold=0.4")
    assert f"note: {NEAREST}" in ended.err
    np.testing.assert_array_equal(load("mask.nii.gz"), load("chain.nii.gz"))
    run("threshold", "s.nii.gz", "labels.nii.gz", "--threshold", 0.4, "--labels")
    np.testing.assert_array_equal(load("labels.nii.gz") > 0, expected > 0.375)
    # A level itself is nothing to speak of.
    assert "->" not in run("threshold", "s.nii.gz", "half.nii.gz").err


def test_a_hard_skeleton_of_a_nested_one_is_cut_at_a_level_too(expected: np.ndarray) -> None:
    skeleton(target="s.zarr")
    words = ("--hard", "--threshold", 0.4)
    ended = run("skeletonize", "s.zarr", "whole.zarr", *words, "--json")
    assert NEAREST in ended.err
    assert ended.json["steps"][0]["parameters"]["threshold"] == 0.375
    whole = read("whole.zarr").array > 0
    assert betti_numbers(whole) == betti_numbers(expected > 0.375)
    assert not (whole & (expected <= 0.375)).any()


def test_evaluate_takes_the_nearest_level() -> None:
    skeleton("--output-type", "uint16")
    run("threshold", "in.nii.gz", "truth.nii.gz")
    words = ("--metrics", "dice,cldice", "--json")
    ended = run("evaluate", "s.nii.gz", "truth.nii.gz", "--threshold", 0.4, *words)
    assert f"note: s.nii.gz: {NEAREST}" in ended.err
    assert ended.json["parameters"]["threshold"] == 0.375
    assert f"s.nii.gz: {NEAREST}" in ended.json["notes"]
    same = run("evaluate", "s.nii.gz", "truth.nii.gz", "--threshold", 0.375, *words)
    assert same.json["metrics"] == ended.json["metrics"]
    # The reference is cut at 0.5 whatever the threshold, and a table says so where they differ.
    for threshold, says in ((0.4, "PRED > 0.375, REF > 0.5; 26"), (0.5, "p > 0.5; 26")):
        told = run("evaluate", "s.nii.gz", "truth.nii.gz", "--threshold", threshold, *words[:2])
        assert says in told.out + told.err
    # Its centreline is itself, so all of it lies in the mask of the map at a higher level's expense only.
    run("threshold", "s.nii.gz", "self.nii.gz", "--threshold", 0.4)
    itself = run("evaluate", "s.nii.gz", "self.nii.gz", "--threshold", 0.4, *words).json["metrics"]
    assert itself["dice"] == 1
    run("skeletonize", "in.nii.gz", "other.nii.gz", "--method", "levels")
    assert "->" not in run("evaluate", "other.nii.gz", "truth.nii.gz", "--threshold", 0.4, *words).err


def test_topology_is_counted_at_the_nearest_level(probabilities: np.ndarray) -> None:
    skeleton()
    ended = run("topology", "numbers", "s.nii.gz", "--threshold", 0.4, "--no-bars", "--json")
    assert f"note: {NEAREST}" in ended.err
    assert ended.json["parameters"]["threshold"] == 0.375
    assert (
        tuple(ended.json["classes"][0]["betti"].values())[:3] == betti_numbers(probabilities > 0.375).numbers
    )
    assert "->" not in run("topology", "numbers", "in.nii.gz", "--threshold", 0.4, "--no-bars").err


def test_a_coarser_resolution_is_no_nested_skeleton() -> None:
    save("big.nii.gz", np.pad(load("in.nii.gz"), ((30, 30),) * 3))
    ended = run("skeletonize", "big.nii.gz", "s.zarr", "--method", "nested", "--levels", 8, "--pyramid")
    assert "only resolution 0 is the nested skeleton" in ended.err
    for resolution, used in ((0, 0.375), (1, 0.4)):
        words = ("inspect", "s.zarr", "--resolution", resolution, "--threshold", 0.4, "--json")
        assert run(*words).json["parameters"]["threshold"] == used


def test_a_coarser_resolution_is_no_skeleton_and_what_info_advises_works() -> None:
    save("big.nii.gz", np.pad(load("in.nii.gz"), ((30, 30),) * 3))
    run("skeletonize", "big.nii.gz", "s.zarr", "--levels", 8, "--pyramid", "--pyramid-pool", "max")
    assert "try next: softmorph inspect s.zarr" in run("info", "s.zarr").out.splitlines()[-2]
    (advised,) = [line for line in run("info", "s.zarr/1").out.splitlines() if "try next" in line]
    words = advised.split("softmorph ")[1].split()
    assert words[:2] == ["skeletonize", "s.zarr/1"]
    run(*words)
    assert read(words[2]).array.shape == read("s.zarr/1").array.shape
    assert "taken as one" in run("inspect", "s.zarr").err
    assert "taken as one" not in run("inspect", "s.zarr/1", "--threshold", 0.1).err


def test_classes_that_are_renormalized_are_no_nested_skeletons_any_more(probabilities: np.ndarray) -> None:
    classes = np.stack([1 - probabilities, probabilities]).astype(np.float32)
    np.save("in.npy", classes)
    words = ("skeletonize", "in.npy", "--axes", "CZYX", "--method", "nested", "--levels", 8, "--force")
    run(*words[:2], "s.tif", *words[2:])
    assert nested_levels(provenance("s.tif")) == LevelSets(8)
    run(*words[:2], "s.tif", *words[2:], "--renormalize")
    assert nested_levels(provenance("s.tif")) is None


@pytest.mark.parametrize("large", [(), ("--memory", "1GB")])
def test_apply_of_a_thinning_is_unfinished_with_a_note(large: tuple[str, ...]) -> None:
    document = run("apply", "thinning", "in.nii.gz", "a.zarr", "--json", *large).json
    assert document["steps"][0]["method"] == "nested"
    assert document["steps"][0]["parameters"]["finish"] is False
    assert provenance("a.zarr")["parameters"]["finish"] is False
    document = run("skeletonize", "in.nii.gz", "s.zarr", "--json", *large).json
    assert document["steps"][0]["parameters"]["finish"] is True


def test_no_finish_is_idle_where_nothing_is_finished() -> None:
    assert (
        "--no-finish has no effect"
        in run("skeletonize", "in.nii.gz", "o.nii.gz", "-m", "levels", "--no-finish").err
    )
    assert "no-finish" not in run("apply", "prune", "in.nii.gz", "o.nii.gz", "--force").err


@pytest.mark.parametrize(
    ("options", "cut"), [(["--hard"], "0.5"), (["--lowest", "0.4"], "0.4"), ([], "0.03125")]
)
def test_an_empty_skeleton_is_warned_of(options: list[str], cut: str) -> None:
    largest = 0.03 if cut == "0.03125" else 0.375
    save("in.npy", np.eye(9, dtype=np.float32) * np.float32(largest))
    told = run("skeletonize", "in.npy", "out.npy", *options).err
    assert f"is empty: nothing is above {cut}, the largest value is {largest}" in told
    assert "is empty" not in run("skeletonize", "in.npy", "o.npy", "--lowest", 0.01).err
    save("zero.npy", np.zeros((9, 9), np.float32))
    assert "is empty" not in run("skeletonize", "zero.npy", "o.npy", *options, "--force").err


def test_a_background_above_0_is_noted() -> None:
    image = 0.005 * np.random.default_rng(0).random((60, 61), dtype=np.float32)
    image[20:23, 5:55] = 0.9
    save("in.npy", image)
    assert "--lowest 0.01" in run("skeletonize", "in.npy", "every.npy", "--levels", "exact").err
    told = run("skeletonize", "in.npy", "line.npy", "--levels", "exact", "--lowest", 0.01).err
    assert "--lowest" not in told
    assert (load("every.npy") > 0).sum() > 10 * (load("line.npy") > 0).sum() > 0


def test_unfinished_lines_are_noted() -> None:
    save("in.npy", np.pad(np.full((9, 30), 0.9, np.float32), 3))
    for options, told in ((["-n", 2], True), (["--no-finish"], True), ([], False), (["--hard"], False)):
        said = run("skeletonize", "in.npy", "out.npy", "--force", *options).err
        assert ("lines are not finished to one voxel" in said) is told


def test_tiles_judge_a_changed_skeleton_as_the_whole_map_does() -> None:
    """Its provenance was copied to a map with a value below the lowest level, which is exact nowhere."""
    skeleton(target="s.zarr")
    changed = read("s.zarr")
    array = changed.array.copy()
    array[0, 0, 0] = 0.02
    write(replace(changed, array=array), "changed.zarr", provenance=provenance("s.zarr"))
    for source, threshold in (("s.zarr", 0.375), ("changed.zarr", 0.4)):
        hard = ("skeletonize", source, "--hard", "--threshold", 0.4, "--json-file", "stats.json", "--force")
        for target, more in (("whole.zarr", ()), ("tiles.zarr", ("--memory", "2GB"))):
            run(hard[0], hard[1], target, *hard[2:], *more)
            document = json.loads(Path("stats.json").read_text(encoding="utf-8"))
            assert document["steps"][0]["parameters"]["threshold"] == threshold
        assert np.array_equal(read("whole.zarr").array, read("tiles.zarr").array)
