"""The place of voxels in the box of a prior."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from helpers_subjects import grid_of, upright

from softmorph_cli.completion.box import VOXELS, Box, Coordinates, Frame, Grid
from softmorph_cli.errors import InputError
from softmorph_cli.volume import Volume

CUBE = Box((80.0, 80.0, 80.0), "mm")


def every(place: Coordinates) -> npt.NDArray[np.float32]:
    return place.at(np.arange(place.size)).reshape(*place.shape, -1)


def test_a_grid_that_fills_the_box_has_the_centres_of_its_voxels() -> None:
    grid = grid_of((4, 5, 8), (20.0, 16.0, 10.0))
    found = every(CUBE.coordinates(grid, Frame.of(grid)))
    for z, y, x in np.ndindex(4, 5, 8):
        assert found[z, y, x] == pytest.approx(((z + 0.5) / 4, (y + 0.5) / 5, (x + 0.5) / 8))


def test_the_middle_of_a_smaller_grid_is_that_of_the_box() -> None:
    grid = grid_of((1, 2, 4), (10.0, 10.0, 5.0))
    found = every(CUBE.coordinates(grid, Frame.of(grid)))
    assert found.mean(axis=(0, 1, 2)) == pytest.approx((0.5, 0.5, 0.5))
    assert found[0, 0, 0] == pytest.approx((0.5, 0.5 - 5 / 80, 0.5 - 7.5 / 80))


def test_sizes_in_other_units_are_the_same_lengths() -> None:
    array = np.zeros((4, 4, 4), np.float32)
    in_mm = Grid.of(Volume(array, "ZYX", (0.003, 0.002, 0.001), "mm"))
    in_um = Grid.of(Volume(array, "ZYX", (3.0, 2.0, 1.0), "um"))
    assert in_mm.extents == pytest.approx(in_um.extents)
    assert in_um.extents == pytest.approx((0.012, 0.008, 0.004))
    assert (in_um.unit, in_um.oriented) == ("mm", False)
    assert Grid.of(Volume(array, "ZYX", (3.0, 2.0, 1.0))).unit is None


def test_voxels_are_counted_where_asked() -> None:
    volume = Volume(np.zeros((3, 6), np.float32), "YX", (2.0, 1.0), "mm")
    grid = Grid.of(volume, voxels=True)
    assert (grid.unit, grid.extents.tolist()) == (VOXELS, [3.0, 6.0])


def test_a_map_without_geometry_is_refused_with_advice() -> None:
    volume = Volume(np.zeros((3, 6), np.float32), "YX")
    with pytest.raises(InputError, match="does not say how large its voxels are: add voxels=True"):
        Grid.of(volume)
    assert Grid.of(volume, voxels=True).extents.tolist() == [3, 6]


def test_a_map_counted_in_other_lengths_is_refused_with_advice() -> None:
    volume = Volume(np.zeros((8, 8, 8), np.float32), "ZYX", (10.0, 10.0, 10.0), "mm")
    in_voxels = Box((8.0, 8.0, 8.0), VOXELS)
    for box, wrong, advice in ((CUBE, True, "leave out voxels=True"), (in_voxels, False, "add voxels=True")):
        grid, right = Grid.of(volume, voxels=wrong), Grid.of(volume, voxels=not wrong)
        with pytest.raises(InputError, match=f"the prior counts in .*{advice} for the map"):
            box.check(grid, Frame.of(grid))
        box.check(right, Frame.of(right))


def test_an_oblique_plane_is_placed_by_its_world_positions() -> None:
    grid = grid_of((8, 16, 16), (10.0, 5.0, 5.0))
    frame = Frame.of(grid)
    angle = 0.4
    affine = np.eye(4)
    affine[:3, 2] = (math.cos(angle), 0, math.sin(angle))
    affine[:3, 1] = (0, 1, 0)
    affine[:3, 0] = (-math.sin(angle), 0, math.cos(angle))
    affine[:3, 3] = (12, 20, 9)
    plane = Grid((1, 3, 7), affine, True, "mm")
    found = every(CUBE.coordinates(plane, frame))
    for row, column in np.ndindex(3, 7):
        x, y, z = affine[:3, :3] @ (0, row, column) + affine[:3, 3]
        # The grid begins half a voxel before its first centre, at which the world is 0.
        assert found[0, row, column] == pytest.approx(
            ((z + 5) / 80, (y + 2.5) / 80, (x + 2.5) / 80), abs=1e-6
        )


def test_a_turned_and_exchanged_array_has_the_same_coordinates_at_the_same_positions() -> None:
    grid = grid_of((4, 5, 8), (20.0, 16.0, 10.0))
    directions = [tuple(side) for side in Frame.of(grid).directions.tolist()]
    first = every(CUBE.coordinates(grid, Frame.of(grid, directions)))
    # The axes are x, z (turned round), y.
    affine = np.eye(4)
    affine[:3, 0] = grid.affine[:3, 2]
    affine[:3, 1] = -grid.affine[:3, 0]
    affine[:3, 2] = grid.affine[:3, 1]
    affine[:3, 3] = grid.affine[:3, 3] + 3 * grid.affine[:3, 0]
    other = Grid((8, 4, 5), affine, True, "mm")
    frame = Frame.of(other, directions)
    assert (frame.order, frame.flipped, frame.as_stored) == ((1, 2, 0), (True, False, False), False)
    second = every(CUBE.coordinates(other, frame))
    assert second == pytest.approx(np.moveaxis(first[::-1], 2, 0), abs=1e-6)


def test_a_slightly_turned_array_keeps_its_axes() -> None:
    grid = grid_of((4, 5, 8), (20.0, 16.0, 10.0))
    turn = np.eye(4)
    turn[:2, :2] = [[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]]
    turned = Grid(grid.shape, turn @ grid.affine, True, "mm")
    frame = Frame.of(turned, [tuple(side) for side in Frame.of(grid).directions])
    assert frame.as_stored
    assert every(CUBE.coordinates(turned, frame)) == pytest.approx(
        every(CUBE.coordinates(grid, Frame.of(grid))), abs=1e-6
    )


def test_sheared_voxels_and_planes_of_2d_maps_have_their_own_axes() -> None:
    affine = upright((1.0, 2.0, 1.0))
    affine[0, 1] = 0.5  # a row is half a voxel to the right of the one above
    affine[2, 1] = 0.25  # and higher in z
    grid = Grid((4, 6), affine, True, "mm")
    length = float(np.linalg.norm(affine[:3, 1]))
    box = Box((4 * length, 6.0), "mm")
    found = every(box.coordinates(grid, Frame.of(grid)))
    for y, x in np.ndindex(4, 6):
        assert found[y, x] == pytest.approx(((y + 0.5) / 4, (x + 0.5) / 6), abs=1e-6)


def test_the_box_around_grids_has_the_longest_sides() -> None:
    grids = [grid_of((4, 5, 8), (20.0, 16.0, 10.0)), grid_of((10, 2, 2), (10.0, 1.0, 1.0))]
    assert Box.around(grids) == Box((100.0, 80.0, 80.0), "mm")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            grid_of((9, 8, 8), (10.0, 10.0, 10.0)),
            r"measures 90 x 80 x 80 mm, which is larger .* 80 x 80 x 80 mm",
        ),
        (grid_of((8, 8), (10.0, 10.0)), "has 2 spatial axes, and the prior has 3: use a prior of maps in 2D"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(grid: Grid, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CUBE.check(grid, Frame.of(grid))


def test_headers_may_round_the_size_of_the_box() -> None:
    grid = grid_of((8, 8, 8), (10.0004, 10.0, 10.0))
    CUBE.check(grid, Frame.of(grid))
