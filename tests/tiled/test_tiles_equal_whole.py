"""A map filtered in tiles equals, bit for bit, the map filtered as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from helpers_filters import MORPHOLOGY, made
from helpers_maps import same_bits, vessels
from helpers_tiles import check, tiled, whole

from softmorph_cli.filters.settings import Settings
from softmorph_cli.rules.expression import negation, var
from softmorph_cli.rules.neighborhood import DIRECTIONS
from softmorph_cli.rules.rule import Action, Rule, SubIteration

RNG = np.random.default_rng(5)
TUBES = vessels((61, 49, 73), 1, noise=0.08).astype(np.float32)
NOISE = RNG.random((45, 41, 67), np.float32)
FLAT = vessels((90, 77), 2, branches=9, noise=0.1).astype(np.float32)
GRAIN = RNG.random((83, 90), np.float32)
MAPS = pytest.mark.parametrize("image", [TUBES, NOISE, FLAT, GRAIN], ids=["tubes", "noise", "flat", "grain"])
METHODS = ("multilinear", "product", "minmax", "lukasiewicz", "einstein", "hamacher", "drastic")


def with_heavy(*always: Any, heavy: Iterable[Any]) -> list[Any]:
    """Return values of a parameter; the heavy ones run only with -m heavy."""
    return [*always, *(pytest.param(value, marks=pytest.mark.heavy) for value in heavy)]


@MAPS
@pytest.mark.parametrize("operation", MORPHOLOGY)
def test_morphology(operation: str, image: np.ndarray) -> None:
    box = {2: 8, 3: 26}[image.ndim]
    check(made(operation, Settings("multilinear"), dilation=box, iterations=2), image)
    check(made(operation, Settings("levels", levels=16), erosion=box, iterations=3), image)


@pytest.mark.parametrize("method", with_heavy("product", "sampled", "smooth-levels", heavy=METHODS[2:]))
@pytest.mark.parametrize("operation", ["opening", "blackhat"])
def test_morphology_by_every_method(operation: str, method: str) -> None:
    settings = Settings(method, levels=64, smooth_levels=3, seed=9)
    check(made(operation, settings, iterations=2), NOISE)


def test_a_radius_is_that_of_the_whole_map() -> None:
    check(made("closing", Settings("multilinear"), radius=4.0, spacing=(2.0, 1.0, 1.3)), TUBES)


@MAPS
@pytest.mark.parametrize(
    "method",
    with_heavy("multilinear", "minmax", "smooth-levels", "cldice", heavy=[METHODS[1], *METHODS[3:]]),
)
def test_skeletons_of_a_fixed_number_of_iterations(method: str, image: np.ndarray) -> None:
    check(made("skeletonize", Settings(method, smooth_levels=3), iterations=2), image)


@MAPS
@pytest.mark.parametrize("method", ["levels", "sampled"])
@pytest.mark.parametrize(("iterations", "length"), [(3, None), (3, 1), (5, 2), (50, 3)])
def test_planes_of_a_fixed_number(
    method: str, iterations: int, length: int | None, image: np.ndarray
) -> None:
    check(made("skeletonize", Settings(method, levels=32, seed=-3), iterations=iterations), image, length)


@MAPS
@pytest.mark.parametrize("levels", with_heavy(8, 64, heavy=[192]))
@pytest.mark.parametrize("length", with_heavy(2, heavy=[1, 4]))
def test_level_sets_until_stable(levels: int, length: int, image: np.ndarray) -> None:
    check(made("skeletonize", Settings("levels", levels=levels)), image, length)


@MAPS
@pytest.mark.parametrize("length", [1, 3])
def test_hard_skeletons(length: int, image: np.ndarray) -> None:
    check(made("skeletonize", hard=True, threshold=0.3), image, length)


@pytest.mark.parametrize("length", with_heavy(3, heavy=[1, 2]))
def test_draws_until_stable(length: int) -> None:
    check(made("skeletonize", Settings("sampled", levels=128, seed=4)), TUBES, length)


@MAPS
@pytest.mark.parametrize("cap", with_heavy(2, 3, 7, heavy=[1, 4, 5, 6, 8]))
def test_passes_end_exactly_at_the_cap(cap: int, image: np.ndarray) -> None:
    for length in (1, 2, 3):
        check(made("skeletonize", Settings("levels", levels=8, max_iterations=cap)), image, length)


def test_the_number_of_iterations_until_stable_is_right() -> None:
    # Balls of growing size come to rest after different numbers of iterations, in the middle of passes.
    grid = np.stack(np.meshgrid(*(np.arange(40.0),) * 3, indexing="ij"))
    told = set()
    for radius in np.arange(1, 17, 1.5):
        centre = np.array([16.0, 23.0, 20.0])[:, None, None, None]
        ball = (np.linalg.norm(grid - centre, axis=0) < radius).astype(np.float32)
        spec = made("skeletonize", hard=True)
        told.add(whole(spec, ball).iterations)
        for length in (2, 3, 5):
            got = tiled(spec, ball, (16, 24, 17), length)
            assert same_bits(got.image, whole(spec, ball).image)
            assert got.result.iterations == whole(spec, ball).iterations
    assert len(told) > 5


@pytest.mark.parametrize("rule", ["prune", "majority", "boundary", "guo-hall", "zhang-suen", "corners"])
@pytest.mark.parametrize("method", ["levels", "multilinear"])
def test_rules_of_the_catalogue(rule: str, method: str) -> None:
    check(made("apply", Settings(method, levels=16), rule=rule, iterations=3), FLAT)
    if method == "levels":
        check(made("apply", Settings(method, levels=16), rule=rule, iterations=7), FLAT, 2)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_rule_that_never_becomes_stable(length: int) -> None:
    # Every voxel becomes the opposite of its upper neighbour: no pass may take a net nothing for rest.
    upright = next(iter(DIRECTIONS[2].values()))
    turning = Rule("turning", 2, Action.SET, (SubIteration(negation(var((-1, 0))), upright),) * 2)
    for cap in (5, 6, 7):
        check(made("apply", Settings("levels", levels=8, max_iterations=cap), rule=turning), FLAT, length)


def test_a_rule_that_only_adds_and_one_that_sets() -> None:
    upright = next(iter(DIRECTIONS[3].values()))
    growing = Rule("growing", 3, Action.ADD, (SubIteration(var((0, 1, 1)), upright),))
    falling = Rule("falling", 3, Action.SET, (SubIteration(var((1, 0, -1)), upright),), outside=1)
    for rule in (growing, falling):
        for length in (1, 4):
            check(made("apply", Settings("levels", levels=16), rule=rule), NOISE[:20, :36], length)


@pytest.mark.parametrize("kind", [np.float16, np.float64, bool])
def test_types(kind: Any) -> None:
    image = (TUBES > 0.4) if kind is bool else TUBES.astype(kind)
    for spec, length in (
        (made("skeletonize", Settings("levels", levels=16)), 2),
        (made("dilation", Settings("product")), None),
    ):
        wanted = whole(spec, image).image
        kept = image.astype(wanted.dtype) if kind is bool else image
        got = tiled(spec, kept, (24, 24, 40), length)
        assert same_bits(got.image, wanted)


def test_warnings_of_faded_skeletons_and_clamped_differences() -> None:
    faded = whole(made("skeletonize", Settings("product"), iterations=9), TUBES)
    assert faded.warnings
    check(made("skeletonize", Settings("product"), iterations=9), TUBES)
    spec = made("tophat", Settings("multilinear"))
    even = 0.2 * GRAIN + np.float32(0.7)
    assert whole(spec, even).warnings
    check(spec, even)


@pytest.mark.heavy
def test_many_cuts_of_many_maps() -> None:
    rng = np.random.default_rng(0)
    for seed in range(40):
        shape = tuple(int(n) for n in rng.integers(20, 80, 3))
        image = vessels(shape, seed, branches=int(rng.integers(2, 12)), noise=float(rng.random() / 4))
        tile = tuple(int(n) for n in rng.integers(9, 40, 3))
        length = int(rng.integers(1, 5))
        spec = made("skeletonize", Settings("levels", levels=int(rng.choice([8, 32, 64, 128]))))
        wanted, got = whole(spec, image), tiled(spec, image, tile, length)
        assert same_bits(got.image, wanted.image)
        assert got.result.iterations == wanted.iterations
