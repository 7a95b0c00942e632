"""The StreetMover distance by hand, and against a slow exact transport."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_curves import drawn, traced
from scipy.optimize import linear_sum_assignment, linprog

from softmorph_cli.metrics.curves import Curves
from softmorph_cli.metrics.street_mover import street_mover, walk

BOX = np.array([100.0, 80.0])


def by_linear_program(costs: np.ndarray) -> float:
    """Solve the transport between equal masses as the linear program that defines it."""
    count = len(costs)
    rows = np.kron(np.eye(count), np.ones(count))
    columns = np.kron(np.ones(count), np.eye(count))
    masses = np.full(2 * count, 1 / count)
    solved = linprog(costs.ravel(), A_eq=np.vstack([rows, columns]), b_eq=masses)
    assert solved.success
    cost: Any = solved.fun
    return float(cost)


def scribble(seed: int, dims: int) -> Curves:
    rng = np.random.default_rng(seed)
    return drawn(*(rng.uniform(0, 80, (int(rng.integers(2, 9)), dims)).tolist() for _ in range(4)), dims=dims)


def test_points_lie_half_a_step_from_the_ends_and_a_step_apart() -> None:
    points = walk(drawn([(0, 3), (10, 3)]), 5)
    np.testing.assert_allclose(points, [(1, 3), (3, 3), (5, 3), (7, 3), (9, 3)])


def test_the_walk_follows_corners_and_all_curves_in_turn() -> None:
    # 3 + 4 along the first, 3 along the second: ten steps of 1.
    points = walk(drawn([(0, 0), (3, 0), (3, 4)], [(50, 0), (50, 3)]), 10)
    first = [(0.5, 0), (1.5, 0), (2.5, 0), (3, 0.5), (3, 1.5), (3, 2.5), (3, 3.5)]
    np.testing.assert_allclose(points, [*first, (50, 0.5), (50, 1.5), (50, 2.5)], atol=1e-12)


def test_a_lone_voxel_counts_as_one_voxel_of_length() -> None:
    points = walk(drawn([(0, 0), (3, 0)], lone=((40, 40),)), 8)
    np.testing.assert_array_equal(points[6:], [(40, 40)] * 2)
    assert (points[:6, 1] == 0).all()
    np.testing.assert_array_equal(walk(drawn(lone=((7, 8),)), 3), [(7, 8)] * 3)


@pytest.mark.parametrize("shift", [0.0, 1.0, 12.5])
def test_a_shift_costs_its_square(shift: float) -> None:
    line = drawn([(10, 20), (60, 20)])
    moved = drawn([(10, 20 + shift), (60, 20 + shift)])
    assert street_mover(moved, line, BOX) == pytest.approx((shift / 100) ** 2, abs=1e-15)


def test_half_of_a_line_by_hand() -> None:
    # Point k of the half goes to k of the whole: half as far from the end they share, at (k + 0.5) / 2 and k + 0.5.
    whole, half = drawn([(0, 0), (100, 0)]), drawn([(0, 0), (50, 0)])
    k = np.arange(100) + 0.5
    assert street_mover(half, whole, BOX) == pytest.approx(np.mean((k / 2 / 100) ** 2))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_slow_exact_transport(seed: int, dims: int) -> None:
    here, there = scribble(seed, dims), scribble(seed + 100, dims)
    box = np.full(dims, 80.0)
    costs = ((walk(here, 40)[:, None] - walk(there, 40)[None]) ** 2).sum(axis=2) / 80**2
    found = street_mover(here, there, box, count=40)
    assert found == pytest.approx(by_linear_program(costs), rel=1e-9)
    rows, columns = linear_sum_assignment(costs)
    assert found == pytest.approx(costs[rows, columns].mean(), rel=1e-12)
    assert street_mover(there, here, box, count=40) == pytest.approx(found, rel=1e-12)


def test_empty_graphs() -> None:
    nothing, line = drawn(), drawn([(0, 0), (0, 80)])
    assert street_mover(nothing, nothing, BOX) == 0
    # The squared diagonal, in units of the longest side: 1 + 0.8^2; nothing in the box is as far apart.
    assert street_mover(nothing, line, BOX) == street_mover(line, nothing, BOX) == pytest.approx(1.64)
    assert street_mover(line, drawn([(100, 0), (100, 80)]), BOX) < 1.64


def test_a_traced_graph_is_measured_in_voxels_wherever_it_lies() -> None:
    image = np.zeros((40, 30), bool)
    image[5, 3:20] = image[5:35, 10] = True
    a, b = Curves.of(traced(image, (1.0, 1.0))), Curves.of(traced(image, (0.25, 0.25)))
    np.testing.assert_allclose(a.places, b.places)
    assert sorted(a.degrees.tolist()) == [1, 1, 1, 3]
    assert street_mover(a, b, BOX) == pytest.approx(0, abs=1e-12)
    stick = np.zeros((8, 9, 30), bool)
    stick[3, 4, 5:25] = True
    # Turned, shifted, and 0.8 x 0.3 x 0.6 mm.
    cos, sin = np.cos(0.4), np.sin(0.4)
    affine = np.array(
        [[0, 0, 0.6, 9], [0.8 * cos, -0.3 * sin, 0, 7], [0.8 * sin, 0.3 * cos, 0, -50], [0, 0, 0, 1]]
    )
    along = walk(Curves.of(traced(stick, affine=affine)))
    # 19 steps of 0.6 mm, in voxels of 0.3 mm, less half a step at both ends.
    assert np.linalg.norm(along[-1] - along[0]) == pytest.approx(19 * 2 * 0.99)
