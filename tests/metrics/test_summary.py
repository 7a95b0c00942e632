"""Many values in a few numbers, and files matched by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.errors import FileError
from softmorph_cli.metrics.case_names import CaseNames
from softmorph_cli.metrics.folders import match, summarize


def test_undefined_values_do_not_count() -> None:
    found = summarize([1.0, None, 4.0, None, 10.0], seed=0)
    assert (found.count, found.undefined) == (3, 2)
    assert (found.mean, found.median) == (5.0, 4.0)


@pytest.mark.parametrize("values", [[], [None, None]])
def test_no_values(values: list[None]) -> None:
    found = summarize(values, seed=0)
    assert found.as_dict() == {
        **dict.fromkeys(("mean", "median", "low", "high")), "count": 0, "undefined": len(values)
    }  # fmt: skip


def test_one_value_has_no_interval_and_equal_ones_have_one_of_no_width() -> None:
    one = summarize([0.5], seed=0)
    assert (one.mean, one.low, one.high) == (0.5, None, None)
    same = summarize([0.25] * 5, seed=0)
    assert (same.low, same.high) == (0.25, 0.25)


def test_the_interval_covers_the_true_mean_at_its_confidence() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(60):
        found = summarize(rng.normal(3.0, 1.0, 30).tolist(), seed=0)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 3.0 <= found.high
    # 57 are expected; fewer than 51 or all 60 of a right interval happen once in a hundred and once in twenty.
    assert 51 <= hits <= 60


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).random(12).tolist()
    assert summarize(values, 1) == summarize(values, 1)
    assert summarize(values, 1) != summarize(values, 2)


def test_stems_match_whatever_the_format() -> None:
    found = match(
        Path("p"),
        Path("r"),
        ["b.npz", "a.nii.gz", "c.v2.tif", "alone.nrrd"],
        ["a.mha", "b.nii.gz", "c.v2.zarr", "d.png", "e.png"],
    )
    assert found.pairs == (
        ("a", Path("p/a.nii.gz"), Path("r/a.mha")),
        ("b", Path("p/b.npz"), Path("r/b.nii.gz")),
        ("c.v2", Path("p/c.v2.tif"), Path("r/c.v2.zarr")),
    )
    assert found.predictions == (Path("p/alone.nrrd"),)
    assert found.references == (Path("r/d.png"), Path("r/e.png"))
    assert found.unmatched == (
        "1 prediction has no reference of that name: p/alone.nrrd.",
        "2 references have no prediction of that name: r/d.png, r/e.png.",
    )


def test_a_name_twice_in_one_folder_is_not_compared() -> None:
    found = match(Path("p"), Path("r"), ["a.nii", "b.nii"], ["a.nii", "a.png", "b.nii"])
    assert [stem for stem, *_ in found.pairs] == ["b"]
    assert found.ambiguous == (
        ("a", "r holds a.nii and a.png, of which only one can be compared: move the rest away."),
    )


def test_suffixes_and_patterns_name_cases() -> None:
    names = (["a_skeleton.nii", "b_skeleton.nii", "b.nii", "c.nii"], ["a.npz", "b.nii", "c.nii"])
    found = match(Path("p"), Path("r"), *names, CaseNames(suffix="_skeleton"))
    assert [stem for stem, *_ in found.pairs] == ["a", "b"]
    assert found.pairs[1][1:] == (Path("p/b_skeleton.nii"), Path("r/b.nii"))
    # Beside files with the suffix, those without it are other things.
    assert found.aside == (Path("p/b.nii"), Path("p/c.nii"))
    assert found.references == (Path("r/c.nii"),)
    names = (["sub-01_pred.nii", "sub-02_pred.nii", "mean.nii"], ["gt_sub-02.png", "gt_sub-03.png"])
    found = match(Path("p"), Path("r"), *names, CaseNames(pattern=r"sub-(\d+)"))
    assert found.pairs == (("02", Path("p/sub-02_pred.nii"), Path("r/gt_sub-02.png")),)
    assert found.aside == (Path("p/mean.nii"),)
    assert found.notes == ("left aside, as their names are not those of a case: p/mean.nii.",)
    with pytest.raises(
        FileError, match=r"p/sub-01_pred\.nii; 1 reference has .* r/gt_sub-03\.png: leave out"
    ):
        found.check_complete()


def test_names_twice_by_a_pattern_are_not_compared() -> None:
    found = match(
        Path("p"), Path("r"), ["a1x.nii", "b1.nii", "2.nii"], ["1.nii", "2.nii"], CaseNames(pattern=r"\d")
    )
    assert [stem for stem, *_ in found.pairs] == ["2"]
    assert [stem for stem, _ in found.ambiguous] == ["1"]


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        ((["a_0000.nii", "b_0000.nii"], ["a.nii", "b.nii"]), r"Add --suffix _0000, or give"),
        ((["a.nii"], ["a_gt.nii"]), r"Add --suffix _gt, or give"),
        ((["pred7.nii", "pred8.nii"], ["gt_7.nii"]), r"Add --pattern '\\d\+', or give"),
        ((["x.nii"], ["y.nii"]), r"Give a prediction the name"),
        # The first numbers are all 1, so they name no case.
        ((["v1_a.nii", "v1_b.nii"], ["w1_a.nii"]), r"Give a prediction the name"),
    ],
)
def test_what_names_have_in_common_is_proposed(names: tuple[list[str], list[str]], advice: str) -> None:
    with pytest.raises(FileError, match=advice):
        match(Path("p"), Path("r"), *names)


def test_no_name_in_both() -> None:
    with pytest.raises(FileError, match=r"p holds a\.nii; r holds a_gt\.nii"):
        match(Path("p"), Path("r"), ["a.nii"], ["a_gt.nii"])
