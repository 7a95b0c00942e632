"""Neighbours, connectivities and rotations."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_reference import RING, RING_OFFSETS, TURNS_2D, TURNS_3D
from scipy import ndimage

from softmorph_cli.rules.neighborhood import (
    COMPASS,
    CONNECTIVITIES,
    DIRECTIONS,
    block,
    centre,
    name,
    neighbors,
    quarter_turn,
    rotate,
)


def test_compass_is_clockwise_from_north() -> None:
    assert tuple(COMPASS) == RING
    assert tuple(COMPASS.values()) == RING_OFFSETS


def test_3d_directions_are_the_matrices_of_the_specification_in_its_order() -> None:
    assert list(DIRECTIONS[3].items()) == list(TURNS_3D.items())


def test_2d_directions_turn_the_ring_by_two_places_each() -> None:
    assert tuple(DIRECTIONS[2]) == TURNS_2D
    for o, rotation in enumerate(DIRECTIONS[2].values()):
        for k, offset in enumerate(RING_OFFSETS):
            assert rotate(offset, rotation) == RING_OFFSETS[(k + 2 * o) % 8]


@pytest.mark.parametrize(("dimensions", "connectivity"), [(2, 4), (2, 8), (3, 6), (3, 18), (3, 26)])
def test_connectivities_are_those_of_scipy(dimensions: int, connectivity: int) -> None:
    order = CONNECTIVITIES[dimensions].index(connectivity) + 1
    structure = ndimage.generate_binary_structure(dimensions, order)
    structure[(1,) * dimensions] = False
    expected = [tuple(int(i) - 1 for i in index) for index in np.argwhere(structure)]
    assert list(neighbors(connectivity, dimensions)) == expected
    assert len(expected) == connectivity


@pytest.mark.parametrize(("dimensions", "axis"), [(2, 0), (3, 0), (3, 1), (3, 2)])
def test_a_quarter_turn_is_a_proper_rotation_of_order_four_that_keeps_its_axis(
    dimensions: int, axis: int
) -> None:
    matrix = np.array(quarter_turn(axis, dimensions))
    assert round(np.linalg.det(matrix)) == 1
    assert (np.linalg.matrix_power(matrix, 4) == np.eye(dimensions)).all()
    assert (np.linalg.matrix_power(matrix, 2) != np.eye(dimensions)).any()
    if dimensions == 3:
        assert (matrix @ np.eye(3)[axis] == np.eye(3)[axis]).all()


def test_block_and_centre() -> None:
    assert len(block(2)) == 9
    assert len(block(3)) == 27
    assert block(3)[13] == centre(3) == (0, 0, 0)
    assert block(2)[4] == centre(2) == (0, 0)


def test_names_are_what_rule_files_write() -> None:
    assert name((0, 0)) == name((0, 0, 0)) == "C"
    assert name((-1, 1)) == "NE"
    assert name((1, 0, -1)) == "[1,0,-1]"
