"""Frames: world coordinates of array indices, and their unit."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_graphs import frame, oblique

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.volume import Volume


@pytest.mark.parametrize(("unit", "millimetres"), [("mm", 1.0), ("um", 1e-3), ("nm", 1e-6)])
def test_lengths_are_in_the_unit_of_the_file(unit: str, millimetres: float) -> None:
    where = frame((2, 2, 2), spacing=(3.0, 2.0, 1.5), unit=unit)
    assert (where.unit, where.suffix) == (unit, unit)
    # The world is (x, y, z), the array (z, y, x).
    np.testing.assert_allclose(where.world(np.array([1, 10, 100])), [150, 20, 3])
    assert where.finest == pytest.approx(1.5)
    # An affine is in mm whatever the unit is, and lengths are in the unit all the same.
    affine = oblique()
    placed = frame((2, 2, 2), spacing=(3.0, 2.0, 1.5), unit=unit, affine=affine)
    index = np.array([3.0, 4.0, 5.0])
    assert placed.unit == unit
    np.testing.assert_allclose(placed.world(index) * millimetres, (affine @ [*index, 1])[:3])
    np.testing.assert_allclose(placed.finest * millimetres, 0.3)


def test_the_affine_of_an_unknown_unit_is_in_voxels_along_x() -> None:
    affine = oblique()
    where = frame((2, 2, 2), spacing=(7.0, 8.0, 9.0), unit=None, affine=affine)
    assert (where.unit, where.suffix) == (None, "voxels")
    index = np.array([3.0, 4.0, 5.0])
    along_x = np.linalg.norm(affine[:3, 2])
    np.testing.assert_allclose(where.world(index) * along_x, (affine @ [*index, 1])[:3])
    # Without a voxel size beside it an affine is in mm, as its definition says.
    assert frame((2, 2, 2), affine=affine).unit == "mm"


def test_an_image_lies_in_the_plane_of_its_affine() -> None:
    affine = oblique()
    where = frame((2, 2), spacing=(0.31, 0.3), unit="mm", affine=affine)
    assert where.dims == 2
    # An image is the slice z = 0.
    np.testing.assert_allclose(where.world(np.array([4, 5])), (affine @ [0, 4, 5, 1])[:3])
    np.testing.assert_allclose(where.world(np.array([0, 0])), affine[:3, 3])


def test_an_image_without_one_lies_at_z_0() -> None:
    where = frame((2, 2), spacing=(3.0, 2.0))
    np.testing.assert_allclose(where.world(np.array([1, 10])), [20, 3, 0])


def test_a_mirrored_axis_has_a_length_all_the_same() -> None:
    where = frame((2, 2, 2), affine=np.diag([-0.5, -0.6, 2.0, 1.0])[:, [2, 1, 0, 3]])
    assert where.finest == pytest.approx(0.5)
    np.testing.assert_allclose(where.world(np.array([1, 1, 1])), [-0.5, -0.6, 2])


@pytest.mark.parametrize("unit", [None, "furlong"])
def test_without_a_known_unit_lengths_are_voxels_along_x_and_shapes_are_kept(unit: str | None) -> None:
    where = frame((2, 2, 2), spacing=(2.0, 0.25, 0.5), unit=unit)
    assert where.unit is None
    assert where.suffix == "voxels"
    np.testing.assert_allclose(where.world(np.eye(3)), np.array([[0, 0, 4], [0, 0.5, 0], [1, 0, 0]]))
    assert where.finest == pytest.approx(0.5)


def test_the_unit_in_words_names_the_axis_of_uneven_voxels() -> None:
    uneven = frame((2, 2, 2), spacing=(2.0, 0.25, 0.5), unit=None)
    assert uneven.counted == "voxels along x, of which one along z counts 4 and one along y counts 0.5"
    assert (
        frame((2, 2), spacing=(5.0, 2.0), unit=None).counted
        == "pixels along x, of which one along y counts 2.5"
    )
    # Cubic but for the rounding of float32, without a size, and with a unit.
    assert frame((2, 2, 2), spacing=(0.7, float(np.float32(0.7)), 0.7), unit=None).counted == "voxels"
    assert frame((2, 2, 2), unit=None).counted == "voxels"
    assert frame((2, 2, 2), spacing=(2.0, 0.25, 0.5), unit="um").counted == "um"


@pytest.mark.parametrize("dims", [2, 3])
def test_without_a_voxel_size_a_unit_has_no_effect(dims: int) -> None:
    where = Frame.of(Volume(np.zeros((2,) * dims, np.float32), "ZYX"[-dims:], None, "mm"))
    assert (where.suffix, where.finest) == ({2: "pixels", 3: "voxels"}[dims], 1.0)
    np.testing.assert_array_equal(where.world(np.arange(dims)), [*range(dims)[::-1], 0][:3])


def test_places_have_the_shape_of_their_indices() -> None:
    where = frame((2, 2, 2), affine=oblique())
    index = np.random.default_rng(0).random((4, 5, 3))
    places = where.world(index)
    assert places.shape == (4, 5, 3)
    np.testing.assert_allclose(places[2, 3], where.world(index[2, 3]))
    assert where.world(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("dims", [2, 3])
def test_places_lead_back_to_their_indices(dims: int) -> None:
    where = frame((2,) * dims, affine=oblique())
    index = np.random.default_rng(0).random((4, dims)) * 100
    np.testing.assert_allclose(where.index(where.world(index)), index, rtol=0, atol=1e-9)
    # In 2D what lies off the plane of the image has the index of its foot.
    normal = np.cross(*where.matrix.T) if dims == 2 else np.zeros(3)
    np.testing.assert_allclose(where.index(where.world(index) + normal), index, rtol=0, atol=1e-9)
