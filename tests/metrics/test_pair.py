"""Pairs of maps: shared results, refused arguments, parameters in the JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.spatial
from helpers_drawn import measured, pair
from helpers_maps import same_bits, vessels

from softmorph_cli import skeletonize
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.metrics import detection, line_distances
from softmorph_cli.metrics.pair import MetricSettings
from softmorph_cli.metrics.registry import METRICS
from softmorph_cli.topology import components

BLANK, FULL = np.zeros((12, 14)), np.ones((12, 14))


def test_maps_of_different_shapes_are_refused_with_both_shapes() -> None:
    with pytest.raises(InputError, match=r"\(12, 14\).*\(12, 13\).*one grid"):
        pair(BLANK, BLANK[:, 1:])


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5])
def test_values_outside_0_1_are_refused(wrong: float) -> None:
    for both in ((BLANK, BLANK + wrong), (BLANK + wrong, BLANK)):
        with pytest.raises(InputError, match="probabilities lie in"):
            pair(*both)


def test_a_connectivity_of_the_wrong_number_of_axes_is_refused() -> None:
    with pytest.raises(InputError, match="connectivity 26 has no topology in 2D"):
        pair(BLANK, BLANK, connectivity=26)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.0}, {"tolerance": -1.0}, {"patches": 0}, {"iterations": 0}, {"method": "none"}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        MetricSettings(**wrong)


def test_a_voxel_at_the_threshold_is_background_and_a_soft_reference_is_cut_at_one_half() -> None:
    one = pair(np.array([[0.3, 0.31, 0.5]]), np.array([[0.3, 0.5, 0.51]]), threshold=0.3)
    # 0.3 as float32 is above 0.3.
    assert one.predicted.tolist() == [[bool(np.float32(0.3) > 0.3), True, True]]
    assert one.truth.tolist() == [[False, False, True]]


def test_components_and_trees_of_distances_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = dict.fromkeys(("components", "trees"), 0)

    def counted(name: str, make: Any) -> Any:
        def count(*args: Any) -> Any:
            calls[name] += 1
            return make(*args)

        return count

    monkeypatch.setattr(components, "label_components", counted("components", components.label_components))
    monkeypatch.setattr(scipy.spatial, "cKDTree", counted("trees", scipy.spatial.cKDTree))
    one = pair(vessels((40, 44), 1), vessels((40, 44), 2) > 0.5)
    for metric in detection.METRICS:
        metric.compute(one)
    calls["trees"] = 0  # tracing a graph takes trees too
    for metric in line_distances.METRICS:
        metric.compute(one)
    assert calls == {"components": 1, "trees": 2}


def test_the_skeletons_are_those_of_the_command() -> None:
    map_, truth = vessels((40, 44), 1), vessels((40, 44), 2) > 0.5
    one = pair(map_, truth, threshold=0.3, method="cldice", iterations=4)
    assert same_bits(one.skeletons.prediction, skeletonize(map_, hard=True, threshold=0.3) > 0)
    assert same_bits(one.skeletons.reference, skeletonize(truth.astype(float), hard=True) > 0)
    assert same_bits(
        one.soft_skeletons.prediction, skeletonize(map_.astype(np.float32), method="cldice", iterations=4)
    )


def test_shared_results_are_computed_once() -> None:
    one = pair(vessels((40, 44), 1), vessels((40, 44), 2))
    for name in ("predicted", "truth", "skeletons", "soft_skeletons", "graphs", "betti", "surfaces"):
        assert getattr(one, name) is getattr(one, name)


def test_the_settings_in_the_json_are_complete() -> None:
    told = MetricSettings(connectivity=6, patches=7, seed=3).as_dict(3)
    assert (told["connectivity"], told["background_connectivity"]) == (6, 26)
    assert (told["patches"], told["patch_shape"], told["seed"]) == (7, [48, 48, 48], 3)
    assert told["threshold"] == told["reference_threshold"] == 0.5
    assert "background" in told["ties"]
    assert "Kuba" in told["skeleton"]
    assert MetricSettings().as_dict(2)["patches"] is None
    assert MetricSettings(expensive=True).as_dict(2)["patches"] == 100


def names() -> list[str]:
    return [name for metric in METRICS for name in metric.names]


def test_names_in_the_json_are_unique() -> None:
    wanted = (
        "dice accuracy iou precision recall soft_dice cldice soft_cldice betti_0_error betti_1_error betti_2_error "
        "euler_error euler_ratio betti_0_error_patches betti_1_error_patches betti_2_error_patches "
        "betti_matching_0_error betti_matching_1_error betti_matching_2_error soft_betti_matching_0_error "
        "soft_betti_matching_1_error soft_betti_matching_2_error smd opt_j_f1 hd95_mm assd_mm nsd diu "
        "tree_length_detected branches_detected leakage centreline_precision centreline_recall centreline_f1 "
        "centreline_hd_mm centreline_hd95_mm"
    )
    assert " ".join(names()) == wanted


@pytest.mark.parametrize("shape", [(30, 34), (14, 16, 18)])
@pytest.mark.parametrize("which", ["like", "empty prediction", "empty reference", "both empty", "full"])
def test_every_metric_is_defined_or_has_a_note_on_why_not(shape: tuple[int, ...], which: str) -> None:
    map_, blank = vessels(shape, 3), np.zeros(shape)
    maps = {
        "like": (map_, map_ > 0.5),
        "empty prediction": (blank, map_ > 0.5),
        "empty reference": (map_, blank),
        "both empty": (blank, blank),
        "full": (blank + 1, blank + 1),
    }
    got = measured(pair(*maps[which], expensive=True, patches=3))
    assert list(got.values) == names()
    missing = {name for name, value in got.values.items() if value is None}
    assert all(np.isfinite(value) for value in got.values.values() if value is not None)
    images = {name for metric in METRICS for name in metric.solid} if len(shape) == 2 else set()
    distances = {"hd95_mm", "assd_mm", "centreline_hd_mm", "centreline_hd95_mm"}
    undefined = {*distances, "euler_ratio", "leakage"}
    assert missing - images <= (undefined if "empty" in which else set())
    for name in missing - images:
        assert any(name in note for note in got.notes), name
    if which in ("both empty", "full"):
        perfect = {metric.names: {"higher": 1, "lower": 0, "one": 1}[metric.better] for metric in METRICS}
        for many, value in perfect.items():
            assert all(got.values[name] in (value, None) for name in many), many


@pytest.mark.parametrize(
    ("method", "iterations", "told"),
    [
        ("nested", None, "until nothing changes"),
        ("minmax", None, "until nothing changes"),
        ("product", None, "until nothing changes, or by less than 0.02 of the map's sum"),
        ("cldice", None, 10),
        ("product", 3, 3),
    ],
)
def test_the_stopping_condition_of_soft_skeletons_is_in_the_json(
    method: str, iterations: int | None, told: int | str
) -> None:
    assert MetricSettings(method=method, iterations=iterations).as_dict(3)["soft_skeleton_iterations"] == told
