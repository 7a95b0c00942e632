"""Betti errors on drawn cases, whole and in patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_drawn import pair
from helpers_maps import topology, vessels

from softmorph_cli.metrics import topological
from softmorph_cli.metrics.metric import Metric

WHOLE, RATIO, PATCHES, *_ = topological.METRICS


def ring(shape: tuple[int, ...] = (20, 20)) -> np.ndarray:
    image = np.zeros(shape)
    middle = (shape[0] // 2,) if len(shape) == 3 else ()
    image[(*middle, slice(4, 16), slice(4, 16))] = 1
    image[(*middle, slice(6, 14), slice(6, 14))] = 0
    return image


def cut(image: np.ndarray) -> np.ndarray:
    opened = image.copy()
    opened[..., 4:6, 9:11] = 0
    return opened


def values(
    metric: Metric, predicted: np.ndarray, reference: np.ndarray, **settings: Any
) -> list[float | None]:
    return list(metric.compute(pair(predicted, reference, **settings)).values.values())


def test_a_ring_that_is_cut_and_a_speck_beside_it() -> None:
    specked = cut(ring())
    specked[0, 0] = 1
    assert values(WHOLE, cut(ring()), ring()) == [0, 1, None, 1]
    # Two errors, b_0 and b_1, add up in the Euler characteristic: 2 - 0 and 1 - 1.
    assert values(WHOLE, specked, ring()) == [1, 1, None, 2]


def test_a_shell_that_is_pierced_has_lost_its_cavity() -> None:
    shell = np.zeros((9, 9, 9))
    shell[1:8, 1:8, 1:8] = 1
    shell[3:6, 3:6, 3:6] = 0
    pierced = shell.copy()
    pierced[4, 4, :4] = 0
    assert values(WHOLE, pierced, shell) == [0, 0, 1, 1]
    twice = pierced.copy()
    twice[4, 4] = 0
    assert values(WHOLE, twice, shell) == [0, 1, 1, 2]


def test_components_depend_on_the_connectivity() -> None:
    diagonal = np.eye(5)
    assert values(WHOLE, diagonal, diagonal, connectivity=4) == [0, 0, None, 0]
    filled = diagonal.copy()
    filled[np.arange(4), np.arange(4) + 1] = 1
    assert values(WHOLE, diagonal, filled) == [0, 0, None, 0]
    assert values(WHOLE, diagonal, filled, connectivity=4) == [4, 0, None, 4]


def test_the_euler_ratio_and_where_it_is_not_defined() -> None:
    two = np.zeros((20, 44))
    two[:, :20], two[:, 22:42] = ring(), cut(ring())
    assert values(RATIO, two, cut(ring((20, 44)))) == [1.0]
    disk = cut(ring())
    assert values(RATIO, ring(), disk) == [0.0]
    assert values(RATIO, ring(), ring()) == [1.0]
    reading = RATIO.compute(pair(disk, ring()))
    assert reading.values == {"euler_ratio": None}
    assert "euler_ratio is not defined" in reading.notes[0]


def counted(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.abs(np.subtract(topology(predicted), topology(truth)))


@pytest.mark.parametrize("shape", [(100, 130), (50, 60, 55)])
def test_patches_equal_a_slow_count(shape: tuple[int, ...]) -> None:
    predicted, truth = vessels(shape, 1, branches=9) > 0.5, vessels(shape, 2, branches=9) > 0.5
    side = {2: 64, 3: 48}[len(shape)]
    rng = np.random.default_rng(5)
    corners = rng.integers(0, np.array(shape) - side + 1, (12, len(shape)))
    boxes = [tuple(slice(a, a + side) for a in corner) for corner in corners.tolist()]
    wanted = np.mean([counted(predicted[box], truth[box]) for box in boxes], axis=0)
    got = values(PATCHES, predicted, truth, patches=12, seed=5)
    assert got[: len(shape)] == pytest.approx(wanted[: len(shape)].tolist())
    assert (got[2] is None) == (len(shape) == 2)
    assert got == values(PATCHES, predicted, truth, patches=12, seed=5)
    assert got != values(PATCHES, predicted, truth, patches=12, seed=6)


def test_a_map_smaller_than_a_patch_is_one_patch() -> None:
    predicted, truth = vessels((40, 50), 1) > 0.5, vessels((40, 50), 2) > 0.5
    assert values(PATCHES, predicted, truth, patches=4) == values(WHOLE, predicted, truth)[:3]
