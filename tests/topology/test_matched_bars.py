"""Betti matching of maps: against the ranks of all maps, against that of masks, and on paper."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers_homology import boundaries, cells, image_bars, rank, reduced
from helpers_topology import intervals

from softmorph_cli.errors import InputError
from softmorph_cli.topology.components import CONNECTIVITIES
from softmorph_cli.topology.matching import Matched, match
from softmorph_cli.topology.persistence import Bars, bars

EVERY = [(dims, connectivity) for dims in (2, 3) for connectivity in CONNECTIVITIES[dims]]
DIMENSIONS = [(dims, connectivity, k) for dims, connectivity in EVERY for k in range(dims)]


def two_maps(seed: int, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two small maps that resemble each other; some have zeros, equal values, or are masks."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(3, 6, dims) if dims == 2 else np.array([3, 3, 4])
    # Dark voxels in the inside make holes and cavities.
    common = rng.random(shape)
    inside = (slice(1, -1),) * dims
    common[inside] *= rng.choice([0.2, 1])
    first, second = (0.5 * common + 0.5 * rng.random(shape) for _ in range(2))
    if seed % 2:
        for one in (first, second):
            one += 0.3 * (1 - one)
            one[inside] *= 0.3
    if seed % 3 == 1:
        second = np.where(second > 0.4, 1.0, 0.0)
    if seed % 4 == 3:
        first, second = np.round(first, 1), np.round(second, 1)
    if seed % 4 == 2:
        first[first < 0.3] = second[second < 0.3] = 0
    return first, second


def triples(matched: Matched) -> Counter[tuple[float, float, float]]:
    births = (
        one.birth[rows] for one, rows in zip((matched.first, matched.second), matched.pairs.T, strict=True)
    )
    return Counter(zip(*(values.tolist() for values in (*births, matched.end)), strict=True))


@pytest.mark.parametrize(("dims", "connectivity", "dimension"), DIMENSIONS)
def test_bars_are_matched_that_die_together_in_the_union(
    dims: int, connectivity: int, dimension: int
) -> None:
    seen = Counter[str]()
    for seed in range(24 if dims == 2 else 8):
        first, second = two_maps(seed, dims)
        union = np.maximum(first, second)
        deaths = Counter[float]()
        for (_, death), count in image_bars(union, union, dimension, connectivity).items():
            deaths[death] += count
        images = [image_bars(one, union, dimension, connectivity) for one in (first, second)]
        found = triples(match(first, second, connectivity).dimensions[dimension])
        for death, count in deaths.items():
            births = [[birth for birth, end in bar.elements() if end == death] for bar in images]
            here = {key: number for key, number in found.items() if key[2] == death}
            # Where several classes of the union die at once, the ranks do not tell which of them is which.
            if count == 1:
                assert here == ({(births[0][0], births[1][0], death): 1} if all(births) else {})
                seen["one" if all(births) else "none"] += 1
            else:
                assert sum(here.values()) <= min(map(len, births))
        assert {key[2] for key in found} <= set(deaths)
    assert seen["one"] > 1
    assert seen["none"] > 1


@pytest.mark.parametrize(("dims", "connectivity", "dimension"), DIMENSIONS)
def test_classes_that_live_until_0_have_the_position_of_two_flags(
    dims: int, connectivity: int, dimension: int
) -> None:
    seen = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shape = (8, 9) if dims == 2 else (4, 5, 5)
        # Few voxels above 0 are many components, many are holes and cavities.
        above = rng.random(shape) > ((0.8, 0.2) if dims == 2 else (0.9, 0.5, 0.02))[dimension]
        flipped = 0.03
        if dimension == 2:
            flipped = 0.005
            above[1, 1, 1] = above[2, 3, 3] = False
        first, second = (
            rng.integers(1, 4, shape) / 4 * (above ^ (rng.random(shape) < flipped)) for _ in range(2)
        )
        union = cells((first > 0) | (second > 0), connectivity)
        filled = [vector for _, vector in boundaries(union, dimension + 1)]
        matched = match(first, second, connectivity).dimensions[dimension]
        for t in (0.25, 0.5, 0.75):
            for s in (0.25, 0.5, 0.75):
                cycles = [
                    reduced(boundaries(cells(one >= level, connectivity), dimension))[1]
                    for one, level in ((first, t), (second, s))
                ]
                alone = [rank(filled + chains) - rank(filled) for chains in cycles]
                both = sum(alone) - (rank(filled + cycles[0] + cycles[1]) - rank(filled))
                counted = sum(
                    number
                    for (b, c, end), number in triples(matched).items()
                    if b >= t and c >= s and end == 0
                )
                assert counted == both
                seen += counted > 1
    assert seen > 0


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_bars_are_those_of_either_map(dims: int, connectivity: int) -> None:
    for seed in range(24):
        rng = np.random.default_rng(seed)
        first = rng.random(rng.integers(1, 9, dims))
        second = np.roll(first, 1, 0)
        if seed % 2:
            first, second = np.round(first, 1), np.round(second * (second > 0.4), 1)
        matching = match(first.astype(np.float32), second.astype(np.float32), connectivity)
        for image, side in ((first, "first"), (second, "second")):
            wanted = bars(image.astype(np.float32), connectivity)
            found = tuple(getattr(matched, side) for matched in matching.dimensions)
            assert intervals(Bars(found, connectivity)) == intervals(wanted)
            for diagram in found:
                inside = diagram.death_at[:, 0] >= 0
                np.testing.assert_array_equal(
                    image.astype(np.float32)[tuple(diagram.birth_at.T)], diagram.birth
                )
                np.testing.assert_array_equal(
                    image.astype(np.float32)[tuple(diagram.death_at[inside].T)], diagram.death[inside]
                )
                assert not diagram.death[~inside].any()


@pytest.mark.parametrize(("dims", "connectivity"), EVERY)
def test_a_map_matches_itself(dims: int, connectivity: int) -> None:
    for seed in range(8):
        p = np.random.default_rng(seed).random((9, 10) if dims == 2 else (5, 6, 7))
        if seed % 2:
            p = np.round(p, 1)
        matching = match(p, p, connectivity)
        assert matching.loss == 0
        assert len(matching.dimensions[1].first) > 1
        for matched in matching.dimensions:
            assert len(matched.pairs) == len(matched.first)
            assert (matched.pairs[:, 0] == matched.pairs[:, 1]).all()


def test_on_paper() -> None:
    # A ring with a gap of 0.4 and a speck, against a ring that is closed and another speck.
    p, g = np.zeros((9, 16)), np.zeros((9, 16))
    p[1:6, 1:6], g[1:6, 1:6] = 0.8, 1
    p[2:5, 2:5], g[2:5, 2:5] = 0.1, 0
    p[3, 1], p[7, 12], g[2, 14] = 0.4, 0.6, 1
    matching = match(p, g)
    components, loops = matching.dimensions
    assert triples(components) == Counter({(0.8, 1.0, 0.0): 1})
    assert triples(loops) == Counter({(0.4, 1.0, 0.1): 1})
    assert components.unmatched[0].tolist() == [1]
    assert components.first.birth_at[1].tolist() == [7, 12]
    assert components.unmatched[1].tolist() == [1]
    by_hand = 2 * 0.2**2 + 0.6**2 + 1, 2 * (0.6**2 + 0.1**2)
    assert [one.loss for one in matching.dimensions] == pytest.approx(by_hand)
    assert matching.loss == pytest.approx(sum(by_hand))


def test_a_bridge_in_the_union_joins_what_is_apart() -> None:
    # In the maximum the speck of 0.6 meets the piece of 0.9 at 0.5, before its own map joins it to anything.
    p = np.array([[0.9, 0.1, 0.6, 0.0]])
    g = np.array([[0.0, 0.5, 0.0, 0.0]])
    (components, _) = match(p, g).dimensions
    assert triples(components) == Counter({(0.9, 0.5, 0.0): 1})
    assert components.first.death.tolist() == [0, 0.1]
    assert components.unmatched[0].tolist() == [1]


def test_threads_do_not_change_the_matching() -> None:
    rng = np.random.default_rng(0)
    p, g = (rng.random((40, 41, 42)).astype(np.float32) for _ in range(2))
    one, three = match(p, g, threads=1), match(p, g, threads=3)
    for first, second in zip(one.dimensions, three.dimensions, strict=True):
        assert len(first.pairs) > 100
        np.testing.assert_array_equal(first.pairs, second.pairs)
        np.testing.assert_array_equal(first.first.birth_at, second.first.birth_at)


def test_maps_without_a_voxel_above_0() -> None:
    for shape in ((4, 5), (3, 4, 5)):
        empty, full = np.zeros(shape), np.ones(shape)
        assert [len(matched.pairs) for matched in match(empty, full).dimensions] == [0] * len(shape)
        assert match(empty, full).loss == 1
        assert match(empty, empty).loss == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.ones((3, 3)), np.ones((3, 4))),
        (np.ones((3, 3)), np.ones((3, 3), np.float32)),
        (np.ones((3, 3)), -np.ones((3, 3))),
        (np.ones(3), np.ones(3)),
        (np.full((3, 3), np.nan), np.ones((3, 3))),
    ],
)
def test_maps_that_do_not_fit_are_refused(first: np.ndarray, second: np.ndarray) -> None:
    with pytest.raises(InputError):
        match(first, second)
