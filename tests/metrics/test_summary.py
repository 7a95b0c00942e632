"""Many values in a few numbers, and files matched by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.errors import FileError
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


def test_no_name_in_both() -> None:
    with pytest.raises(FileError, match=r"p holds a\.nii; r holds a_gt\.nii"):
        match(Path("p"), Path("r"), ["a.nii"], ["a_gt.nii"])
