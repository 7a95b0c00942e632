"""When a filter stops, what it says about it, and what a person is warned of."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers_filters import applied, thinning
from helpers_maps import close, same_bits, vessels
from scipy import ndimage

import softmorph_cli
from softmorph_cli import SoftmorphWarning
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.settings import Progress, Settings
from softmorph_cli.filters.skeleton import PRESETS
from softmorph_cli.rules.rulefile import loads

VESSELS = vessels((24, 40), 1).astype(np.float64)


def _noise(seed: int, sigma: float) -> np.ndarray:
    blurred = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((24, 40)), sigma)
    return np.asarray((blurred - blurred.min()) / np.ptp(blurred))


def _sums(image: np.ndarray, method: str, count: int) -> list[float]:
    runs = [thinning(image, Settings(method), iterations=n).image.sum() for n in range(1, count + 1)]
    return [image.sum(), *map(float, runs)]


@pytest.mark.parametrize("tolerance", [0.2, 0.02, 0.002])
@pytest.mark.parametrize("method", ["multilinear", "product"])
def test_stepwise_methods_stop_at_the_tolerance(method: str, tolerance: float) -> None:
    result = thinning(VESSELS, Settings(method, tolerance=tolerance))
    assert result.stop_reason == "tolerance"
    n = result.iterations
    sums = _sums(VESSELS, method, n)
    changes = [before - after for before, after in pairwise(sums)]
    assert changes[-1] <= tolerance * sums[0]
    assert all(change > tolerance * sums[0] for change in changes[:-1])
    assert same_bits(result.image, thinning(VESSELS, Settings(method), iterations=n).image)


def test_an_iteration_that_changes_nothing_ends_it() -> None:
    line = np.zeros((5, 9))
    line[2, 1:8] = 1
    for method in ("levels", "multilinear", "sampled"):
        result = thinning(line, Settings(method, tolerance=0))
        assert (result.iterations, result.stop_reason) == (1, "stable")
        assert same_bits(result.image, line)


def test_an_empty_map_stops_at_once() -> None:
    for method in ("levels", "multilinear", "smooth-levels", "product"):
        result = thinning(np.zeros((6, 7)), Settings(method))
        assert result.iterations == 1
        assert close(result.image, np.zeros((6, 7)), 1e-6)
        assert result.warnings == ()


METHODS = ("multilinear", "levels", "smooth-levels", "sampled")
KINDS = [(kind, method) for kind in ("numpy", "torch") for method in METHODS]
KINDS += [("gradient", "multilinear"), ("gradient", "smooth-levels")]


@pytest.mark.parametrize(("kind", "method"), KINDS)
def test_batch_mates_do_not_change_when_an_image_stops(method: str, kind: str) -> None:
    images = np.stack([VESSELS, _noise(2, 3), np.zeros_like(VESSELS), (VESSELS > 0.5).astype(float)])
    settings = Settings(method, levels=8, smooth_levels=2)

    def given(image: np.ndarray) -> Any:
        return image if kind == "numpy" else torch.tensor(image, requires_grad=kind == "gradient")

    def taken(image: Any) -> np.ndarray:
        return np.asarray(image if kind == "numpy" else image.detach().numpy())

    together = thinning(given(images), settings, spatial_dims=2)
    alone = [thinning(given(image), settings) for image in images]
    assert together.iterations == max(result.iterations for result in alone)
    assert len({result.iterations for result in alone}) > 1
    if method == "sampled":
        assert same_bits(taken(together.image)[0], taken(alone[0].image))
        return
    for index, result in enumerate(alone):
        assert same_bits(taken(together.image)[index], taken(result.image))


@pytest.mark.parametrize("shape", [(1, 9, 8), (1, 1, 9, 8), (2, 9, 8), (2, 1, 9, 8), (1, 2, 9, 8)])
@pytest.mark.parametrize(("kind", "method"), KINDS)
def test_leading_axes_come_back(kind: str, method: str, shape: tuple[int, ...]) -> None:
    image: Any = np.random.default_rng(0).random(shape) * 0.4
    if kind != "numpy":
        image = torch.tensor(image, requires_grad=kind == "gradient")
    settings = Settings(method, levels=8, smooth_levels=2)
    for result in (
        thinning(image, settings, spatial_dims=2),
        thinning(image, settings, spatial_dims=2, iterations=1),
    ):
        assert tuple(result.image.shape) == shape
        if method == "sampled":
            assert tuple(result.standard_error.shape) == shape


def test_the_cap_ends_runaways_with_a_warning() -> None:
    with pytest.warns(SoftmorphWarning, match=r"stopped at the cap of 2 iterations"):
        softmorph_cli.skeletonize(np.ones((31, 31)), max_iterations=2)
    result = thinning(np.ones((31, 31)), Settings("levels", max_iterations=2))
    assert (result.iterations, result.stop_reason) == (2, "max_iterations")
    blinker = loads('dimensions = 2\naction = "set"\nwhen = "~C"\niterations = "until stable"\n', name="b")
    for method in ("levels", "multilinear"):
        capped = applied(blinker, np.full((4, 4), 0.2), Settings(method, max_iterations=5))
        assert (capped.iterations, capped.stop_reason) == (5, "max_iterations")
        assert any("cap of 5" in warning for warning in capped.warnings)


@pytest.mark.parametrize("value", [1, 0.7])
def test_a_rule_that_sets_stops_by_the_summed_change_not_by_the_change_of_the_sum(value: float) -> None:
    # Shifting keeps the sum and changes every voxel on the way.
    shift = loads('dimensions = 2\naction = "set"\nwhen = "E"\niterations = "until stable"\n', name="shift")
    image = np.zeros((3, 12))
    image[1, 9] = value
    result = applied(shift, image, Settings("multilinear"))
    assert result.iterations == 11
    assert result.stop_reason == "stable"
    assert result.image.sum() == 0


def test_masks_and_finite_methods_have_no_tolerance() -> None:
    # The soft map's own values are all that minima and maxima give.
    for image, methods in (
        (VESSELS, ("minmax", "drastic")),
        (
            (VESSELS > 0.5).astype(np.float64),
            ("multilinear", "product", "lukasiewicz", "einstein", "hamacher"),
        ),
    ):
        for method in methods:
            result = thinning(image, Settings(method, tolerance=0.9))
            assert result.stop_reason == "stable"
            again = thinning(result.image, Settings(method), iterations=1)
            assert same_bits(again.image, result.image)


def test_a_smooth_level_continues_until_its_level_set_is_stable() -> None:
    # A thick bar in a large map: each of the last iterations changes far less than the tolerance allows.
    bar = np.zeros((40, 400))
    bar[14:27, 4:396] = 0.8
    bar[2:38, 4:60] = 0.8
    result = thinning(bar, Settings("smooth-levels", tolerance=0.2))
    assert result.stop_reason == "tolerance"
    hard = thinning(bar, hard=True)
    by_one = thinning((bar > 0.5).astype(float), Settings("multilinear")).image
    assert same_bits(result.image > 0.5, by_one > 0.5)
    assert 0 < (result.image > 0.5).sum() <= 1.1 * hard.image.sum()


def test_faded_skeletons_are_named() -> None:
    with pytest.warns(SoftmorphWarning, match=r"faded: its maximum is 0\.\d\d .*use method nested"):
        softmorph_cli.skeletonize(_noise(3, 1.0), method="product", iterations=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        softmorph_cli.skeletonize(VESSELS)
        softmorph_cli.skeletonize(np.full((9, 9), 0.4), method="product", iterations=6)


def test_fading_is_judged_per_image() -> None:
    fading, bright = _noise(3, 1.0), np.zeros((24, 40))
    bright[12, 2:38] = 1
    for batch in (np.stack([fading, bright]), torch.tensor(np.stack([fading, bright]), requires_grad=True)):
        result = thinning(batch, Settings("product"), iterations=6, spatial_dims=2)
        assert any("faded" in warning for warning in result.warnings)


def test_method_levels_gets_no_advice_to_use_levels() -> None:
    result = thinning(_noise(5, 1.8), Settings("levels"))
    assert result.image.max() < 0.5
    assert not any("use method levels" in warning for warning in result.warnings)


def test_presets_reproduce_their_papers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SoftmorphWarning)
        image = _noise(4, 2)
        volume = np.random.default_rng(5).random((7, 8, 9))
        got = softmorph_cli.skeletonize(image, preset="softmorph-2d")
        assert same_bits(got, softmorph_cli.skeletonize(image, method="product", tolerance=0.02))
        got = softmorph_cli.skeletonize(image, preset="softmorph-2d", method="probabilistic")
        assert same_bits(got, softmorph_cli.skeletonize(image, method="multilinear", tolerance=0.02))
        got = softmorph_cli.skeletonize(volume, preset="softmorph-3d")
        assert same_bits(got, softmorph_cli.skeletonize(volume, method="product", iterations=5))
        got = softmorph_cli.skeletonize(volume, preset="cldice")
        assert same_bits(got, softmorph_cli.skeletonize(volume, method="cldice", iterations=10))
        assert same_bits(got, softmorph_cli.skeletonize(volume, method="cldice"))
        got = softmorph_cli.skeletonize(volume, preset="cldice", iterations=2)
        assert same_bits(got, softmorph_cli.skeletonize(volume, method="cldice", iterations=2))


def test_presets_that_do_not_fit_are_refused() -> None:
    assert set(PRESETS) == {"softmorph-2d", "softmorph-3d", "cldice"}
    with pytest.raises(UsageError, match="unknown preset 'softmorph'"):
        softmorph_cli.skeletonize(VESSELS, preset="softmorph")
    with pytest.raises(UsageError, match="preset softmorph-3d goes with method product, not levels"):
        softmorph_cli.skeletonize(np.zeros((4, 4, 4)), preset="softmorph-3d", method="levels")
    with pytest.raises((InputError, UsageError), match="softmorph-2d"):
        softmorph_cli.skeletonize(np.zeros((4, 4, 4)), preset="softmorph-2d")
    with pytest.raises((InputError, UsageError), match="softmorph-3d"):
        softmorph_cli.skeletonize(VESSELS, preset="softmorph-3d")


def test_the_papers_names_are_accepted() -> None:
    image = VESSELS * 0.4
    for alias, name in (
        ("probabilistic", "multilinear"),
        ("quasi-probabilistic", "product"),
        ("bounded", "lukasiewicz"),
    ):
        assert same_bits(
            softmorph_cli.skeletonize(image, method=alias, iterations=1),
            softmorph_cli.skeletonize(image, method=name, iterations=1),
        )


def test_progress_is_reported_after_every_sub_iteration() -> None:
    told: list[Progress] = []
    thinning(np.ones((9, 9)), Settings("levels", levels=128), told.append, iterations=2)
    assert [p.iteration for p in told] == [1] * 4 + [2] * 4 + [1] * 4 + [2] * 4
    assert {p.parts for p in told} == {2}
    assert [p.part for p in told] == [1] * 8 + [2] * 8
    assert {p.iterations for p in told} == {2}
    assert told[0].changed
    told.clear()
    thinning(np.ones((9, 9)), Settings("multilinear"), told.append)
    assert told[0].iterations is None
    assert len(told) % 4 == 0


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"iterations": 0}, "iterations 0: at least 1"),
        ({"iterations": -3}, "at least 1"),
        ({"tolerance": -0.1, "method": "product"}, "tolerance -0.1"),
        ({"tolerance": float("nan"), "method": "product"}, "tolerance nan"),
        ({"max_iterations": 0}, "max.iterations 0: at least 1"),
        ({"smooth_levels": 0}, "smooth.levels 0"),
        ({"sharpness": 0.0}, "sharpness"),
        ({"sharpness": float("nan")}, "sharpness"),
        ({"sharpness": float("inf")}, "sharpness"),
        ({"method": "fuzzy"}, "unknown method 'fuzzy': use one of multilinear, product"),
        ({"threads": 0}, "threads 0"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], fragment: str) -> None:
    with pytest.raises(UsageError, match=fragment):
        softmorph_cli.skeletonize(VESSELS, **arguments)
