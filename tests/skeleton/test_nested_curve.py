"""A level of a finished nested skeleton is a curve; a file with copied provenance is thinned."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_nested import nested_reference
from helpers_topology import broken_ring, noisy, vessels
from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter

from softmorph_cli.kernels.level_sets import Levels, LevelSets
from softmorph_cli.metrics.pair import MetricSettings, Pair
from softmorph_cli.skeleton.analyse import Choices, inspect
from softmorph_cli.skeleton.curve import nested_curve
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.image_kind import MAP, SKELETON, exact_levels
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.volume import Source, Volume


def written(
    array: np.ndarray, levels: Levels = 16, *, finish: bool = True, dtype: str = "float32", **more: Any
) -> Volume:
    """Return a volume with the provenance of a nested skeleton."""
    parameters = {"method": "nested", "levels": levels, "finish": finish, **more}
    made = {"command": "softmorph skeletonize", "parameters": parameters}
    source = Source(Path("s.nii.gz"), "nifti", array.shape, dtype, provenance=made)
    return Volume(array.astype(np.float32), "ZYX"[-array.ndim :], (1.0,) * array.ndim, "mm", source=source)


@cache
def map_of(dims: int) -> np.ndarray:
    return broken_ring(64, noise=1.0) if dims == 2 else noisy(vessels(16), 1.0, 4)


@cache
def skeleton_of(dims: int, levels: Levels = 16, *, finish: bool = True) -> np.ndarray:
    found = nested_reference(map_of(dims), levels, finish=finish)
    found.setflags(write=False)
    return found


@pytest.fixture(params=[2, 3])
def dims(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def curve_of(found: SkeletonGraph) -> list[list[list[int]]]:
    return [branch.voxels.tolist() for branch in found.branches]


def traced(mask: np.ndarray, volume: Volume) -> list[list[list[int]]]:
    return curve_of(measure(trace(np.argwhere(mask)), Frame.of(volume), mask.shape, {}))


@pytest.mark.parametrize("levels", [8, 16, "exact"])
def test_a_level_is_the_curve_without_thinning(dims: int, levels: Levels) -> None:
    skeleton = skeleton_of(dims, levels)
    assert exact_levels(written(skeleton, levels)) == (levels if levels == "exact" else LevelSets(levels))
    for threshold in (0.125, 0.5, 0.75):
        found = nested_curve(written(skeleton, levels), threshold)
        assert found is not None
        assert np.array_equal(found, skeleton > threshold)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: np.where(binary_dilation(s > 0.5, np.ones((3,) * s.ndim)), 0.75, s),
        lambda s: np.where(s > 0, 1, gaussian_filter(s, 1)),
        lambda s: maximum_filter(s, 2),
    ],
)
def test_an_image_changed_by_another_program_is_no_curve(dims: int, change: Any) -> None:
    changed = change(skeleton_of(dims)).clip(0, 1)
    assert nested_curve(written(changed), 0.5) is None


def test_values_below_all_levels_rule_out_a_nested_skeleton(dims: int) -> None:
    skeleton = skeleton_of(dims)
    assert exact_levels(written(np.where(skeleton > 0, skeleton, 1 / 32))) is None
    assert exact_levels(written(skeleton, lowest=0.9)) is None
    assert (exact_levels(written(skeleton, 8)) is None) == (skeleton[skeleton > 0].min() <= 1 / 16)


def test_without_finishing_it_is_thinned(dims: int) -> None:
    skeleton = skeleton_of(dims, finish=False)
    honest = written(skeleton, finish=False)
    assert exact_levels(honest) == LevelSets(16)
    assert nested_curve(honest, 0.25) is None
    finished = skeleton_of(dims)
    # In the image the templates leave nothing to finish.
    if not np.array_equal(finished > 0.25, skeleton > 0.25):
        assert nested_curve(written(skeleton), 0.25) is None


def test_exact_levels_in_few_bits_are_believed(dims: int) -> None:
    """If rounding made values equal, the level of a voxel is unknown."""
    codes = np.rint(skeleton_of(dims, "exact") * 255) / 255
    for dtype in ("uint8", "float16"):
        found = nested_curve(written(codes, "exact", dtype=dtype), 0.4)
        assert np.array_equal(found, codes.astype(np.float32) > 0.4)  # type: ignore[arg-type]


def test_an_empty_level_is_empty() -> None:
    found = inspect(written(np.zeros((9, 9))), Choices(SKELETON))
    assert found.warnings == ("the skeleton is empty above 0.5: the file is 0 everywhere.",)


@pytest.mark.parametrize("kind", [MAP, SKELETON])
def test_inspect_takes_the_nearest_level_with_a_note(dims: int, kind: str) -> None:
    volume = written(skeleton_of(dims, 8), 8)
    said = "threshold 0.4 -> 0.375, the nearest of the 8 levels of this nested skeleton."
    found = inspect(volume, Choices(kind, threshold=0.4, levels=0))
    assert found.parameters["threshold"] == 0.375
    assert found.parameters["levels"] == 8
    assert said in found.notes
    for threshold, used in ((None, 0.5), (0.375, 0.375)):
        same = inspect(volume, Choices(kind, threshold=threshold, levels=0))
        assert same.parameters["threshold"] == used
        assert not any("->" in note for note in same.notes)


def test_inspect_traces_a_level_as_it_is_and_measures_along_it(dims: int) -> None:
    skeleton = skeleton_of(dims)
    volume = written(skeleton)
    reference = volume.with_array(map_of(dims))
    found = inspect(volume, Choices(SKELETON, threshold=0.25), reference=reference)
    assert curve_of(found.graph) == traced(skeleton > 0.25, volume)
    assert not any("thinned" in text or "not above" in text for text in (*found.warnings, *found.notes))
    for branch in found.graph.branches:
        at = tuple(branch.voxels.T)
        np.testing.assert_array_equal(branch.along["levels"], skeleton[at])
        np.testing.assert_array_equal(branch.along["certainty"], map_of(dims)[at])
        # The radius is that of {p > 0.25}.
        assert (branch.along["radius"] > 0).all()


def test_other_skeletons_keep_their_warnings(dims: int) -> None:
    skeleton = skeleton_of(dims)
    changed = skeleton * np.float32(0.9)
    for volume in (
        written(skeleton).with_array(skeleton),
        written(changed),
        written(skeleton, method="levels"),
    ):
        found = inspect(volume, Choices(SKELETON, threshold=0.51))
        assert found.parameters["threshold"] == (0.5 if exact_levels(volume) else 0.51)
    thick = skeleton.copy()
    thick[tuple(slice(i, i + 2) for i in np.argwhere(skeleton > 0.5)[0])] = 0.9
    found = inspect(written(thick), Choices(SKELETON))
    assert any("cut at 0.5 and thinned to one voxel" in warning for warning in found.warnings)
    assert any("it was changed or cut since" in note for note in found.notes)
    plain = replace(written(thick), source=None)
    assert any("cut at 0.25 and thinned" in w for w in inspect(plain, Choices(SKELETON)).warnings)


def test_a_prediction_that_is_a_nested_skeleton_is_its_own_centreline(dims: int) -> None:
    skeleton = skeleton_of(dims, "exact")
    volume = written(skeleton, "exact")
    truth = volume.with_array((map_of(dims) > 0.5).astype(np.float32))
    pair = Pair(volume, truth, MetricSettings(threshold=0.3))
    assert np.array_equal(pair.skeletons.prediction, skeleton > 0.3)
    assert curve_of(pair.graphs.prediction) == traced(skeleton > 0.3, volume)
