"""Nested skeletons in tiles, thinned and finished by subfields, equal those of the whole map bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers_filters import made
from helpers_maps import same_bits, vessels
from helpers_tiles import check, tiled, whole

from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Settings
from softmorph_cli.rules import catalog
from softmorph_cli.tiled import TileProgress

RNG = np.random.default_rng(8)
TUBES = vessels((43, 35, 51), 1, noise=0.1).astype(np.float32)
GRAIN = RNG.random((71, 66), np.float32)
# Odd sizes, so that tiles begin at voxels of every parity.
ODD = {3: ((19, 17, 23),), 2: ((17, 21),)}
MAPS = pytest.mark.parametrize("image", [TUBES, GRAIN], ids=["tubes", "grain"])
LEVELS = pytest.mark.parametrize("levels", [8, 64, 128, "exact"])


def nested(levels: Any = None, iterations: int | None = None, **more: Any) -> SoftFilter:
    return made("skeletonize", Settings("nested", levels=levels, **more), iterations=iterations)


def compare(spec: SoftFilter, image: np.ndarray, length: int | None) -> Any:
    return check(spec, image, length, ODD[image.ndim])


@MAPS
@LEVELS
def test_thinned_and_finished(levels: Any, image: np.ndarray) -> None:
    found = compare(nested(levels), image, 2)
    assert found.finished
    assert (found.image < compare(nested(levels, finish=False), image, 1).image).any()


@MAPS
@pytest.mark.parametrize("levels", [16, 192, "exact"])
def test_above_a_lowest_level(levels: Any, image: np.ndarray) -> None:
    # Above 0.75 so few of 192 levels are left that they are planes again.
    for lowest in (0.3, 0.75):
        compare(nested(levels, lowest=lowest), image, 3)


@MAPS
@pytest.mark.parametrize("levels", [16, "exact"])
def test_pruned_by_contrast(levels: Any, image: np.ndarray) -> None:
    for kind in (np.float32, np.float64):
        compare(nested(levels, prune_contrast=0.07), image.astype(kind), 2)


@MAPS
@LEVELS
@pytest.mark.parametrize(("iterations", "length"), [(2, None), (3, 2), (60, 3)])
def test_a_number_of_iterations_is_not_finished(
    levels: Any, iterations: int, length: int | None, image: np.ndarray
) -> None:
    assert compare(nested(levels, iterations), image, length).finished is False


@MAPS
@pytest.mark.parametrize("finish", [True, False])
def test_hard_skeletons(finish: bool, image: np.ndarray) -> None:
    spec = made("skeletonize", Settings(finish=finish), hard=True, threshold=0.4)
    assert compare(spec, image, 3).finished is finish


@pytest.mark.parametrize("levels", [16, "exact"])
def test_a_part_that_follows_begins_only_after_a_stable_one(levels: Any) -> None:
    rest = whole(nested(levels, finish=False), TUBES).iterations
    reasons = set()
    for cap in (2, rest - 1, rest):
        for length in (1, 3):
            reasons.add(compare(nested(levels, max_iterations=cap), TUBES, length).stop_reason)
    assert reasons == {"max_iterations", "stable"}
    # A cap that only the second part reaches.
    line = np.zeros((9, 90), np.float32)
    line[3:5, 3:87] = 0.7
    both = whole(nested(), line)
    assert both.iterations > whole(nested(finish=False), line).iterations


@MAPS
@pytest.mark.parametrize("method", ["nested", "levels", "multilinear", "sampled"])
def test_rules_over_subfields(method: str, image: np.ndarray) -> None:
    if method == "multilinear" and image.ndim == 3:
        pytest.skip("the program is long, and takes a minute to compile")
    spec = made("apply", Settings(method), rule="thinning-subfields", iterations=2)
    compare(spec, image, None)
    if method != "multilinear":
        compare(spec, image, 1)
        compare(made("apply", Settings(method), rule="thinning-subfields"), image, 2)


def test_other_rules_by_nested_levels() -> None:
    spec = made("apply", Settings("nested", levels=8), rule=catalog.bundled("thinning", 3))
    assert compare(spec, TUBES, 2).finished is None
    compare(
        made("apply", Settings("nested", levels=8), rule=catalog.bundled("thinning", 3), iterations=1),
        TUBES,
        None,
    )


@pytest.mark.parametrize("kind", [np.float16, np.float64])
@pytest.mark.parametrize("levels", [8, 128, "exact"])
def test_types(levels: Any, kind: Any) -> None:
    compare(nested(levels), TUBES.astype(kind), 2)


def test_parts_are_reported_in_order() -> None:
    seen: list[TileProgress] = tiled(nested(), TUBES, (19, 17, 23), 2).progress
    stages = list(dict.fromkeys((one.stage, one.part) for one in seen))
    assert stages == [("pass", "thinning"), ("pass", "finishing"), ("write", "")]
    seen = tiled(nested(finish=False), TUBES, (19, 17, 23), 2).progress
    assert {one.part for one in seen} == {""}
    seen = tiled(made("skeletonize", Settings("levels", levels=128)), TUBES, (19, 17, 23), 2).progress
    assert {one.part for one in seen} == {"levels 1 of 2", "levels 2 of 2", ""}


@pytest.mark.parametrize("seed", range(6))
def test_many_cuts_of_many_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dimensions = int(rng.integers(2, 4))
    shape = tuple(int(n) for n in rng.integers(20, {2: 90, 3: 48}[dimensions], dimensions))
    image = vessels(shape, seed, branches=int(rng.integers(2, 9)), noise=float(rng.random() / 4))
    image = image.astype(("float32", "float64")[rng.integers(2)])
    tile = tuple(int(n) for n in rng.integers(9, 34, dimensions))
    levels: Any = rng.choice(np.array([8, 16, 32, 64, 128, 256, "exact"], object))
    spec = nested(levels, lowest=rng.choice(np.array([None, 0.1, 0.6], object)), finish=bool(rng.integers(4)))
    for threads in (1, 2):
        one = replace(spec, threads=threads)
        check(one, image, int(rng.integers(1, 5)), [tile])
        hard = made("skeletonize", Settings(threads=threads), hard=True, threshold=float(rng.random()))
        check(hard, image, int(rng.integers(1, 5)), [tile])


def test_the_parity_is_that_of_the_whole_map() -> None:
    spec = nested(8)
    wanted = whole(spec, GRAIN).image
    moved = whole(spec, np.pad(GRAIN, ((1, 0), (0, 0)))).image[1:]
    # If a shift had no effect, tiles that begin at odd voxels would prove nothing.
    assert not same_bits(moved, wanted)
    for tile in ((9, 11), (13, 21), (71, 7)):
        assert same_bits(tiled(spec, GRAIN, tile, 1).image, wanted)
