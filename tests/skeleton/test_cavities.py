"""Enclosed background is filled; whatever is open, or only flat, is left as it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, label

from softmorph_cli.skeleton.cavities import filled


def block(*holes: tuple[int, int, int], value: float = 0.9, hole: float = 0.2) -> np.ndarray:
    """Draw a block of 6 x 7 x 8 voxels with a margin of 2, and holes in it."""
    image = np.zeros((10, 11, 12), np.float32)
    image[2:-2, 2:-2, 2:-2] = value
    for at in holes:
        image[at] = hole
    return image


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_filled_as_scipy_fills_it(seed: int) -> None:
    image = np.random.default_rng(seed).random((14, 15, 16))
    mask = image > 0.25
    wanted = binary_fill_holes(mask)  # its background is 6-connected
    found, cavities, voxels = filled(image, 0.25)
    assert (cavities, voxels) == (label(wanted & ~mask)[1], (wanted & ~mask).sum())
    assert cavities > 10
    np.testing.assert_array_equal(found, np.where(wanted & ~mask, 1, image))
    assert found.dtype == image.dtype


def test_the_map_itself_is_not_modified() -> None:
    image = block((4, 5, 5))
    image.setflags(write=False)
    before = image.tobytes()
    found, cavities, voxels = filled(image, 0.5)
    assert (cavities, voxels) == (1, 1)
    assert found[4, 5, 5] == 1
    assert np.count_nonzero(found != image) == 1
    assert image.tobytes() == before


def test_without_cavities_the_map_is_not_copied() -> None:
    image = block()
    assert filled(image, 0.5) == (image, 0, 0)
    assert filled(image, 0.5)[0] is image
    nothing = np.zeros((3, 4, 5), np.float32)
    assert filled(nothing, 0.5)[0] is nothing


def test_the_holes_of_an_image_are_loops_and_stay() -> None:
    image = np.full((9, 9), 0.9, np.float32)
    image[3:6, 3:6] = 0
    assert filled(image, 0.5)[0] is image
    assert filled(image, 0.5)[1:] == (0, 0)


def test_the_background_is_connected_through_faces_alone() -> None:
    # Two holes that share an edge are two; with one that shares a face with both, all three are one.
    assert filled(block((4, 5, 5), (5, 6, 5)), 0.5)[1:] == (2, 2)
    assert filled(block((4, 5, 5), (5, 6, 5), (4, 6, 5)), 0.5)[1:] == (1, 3)
    # A hole that meets the outside at an edge is enclosed; one that meets it at a face is not.
    corner = block((2, 2, 5), (3, 3, 5))
    assert filled(corner, 0.5)[1:] == (1, 1)
    assert filled(block((2, 5, 5), (3, 5, 5)), 0.5)[1:] == (0, 0)


def test_a_pocket_at_the_border_of_the_image_is_open() -> None:
    image = block((2, 5, 5), (3, 5, 5))[2:-2, 2:-2, 2:-2]
    assert filled(image, 0.5)[1:] == (0, 0)
    assert filled(block((3, 5, 5))[2:-2, 2:-2, 2:-2], 0.5)[1:] == (1, 1)


def test_cavities_depend_on_the_threshold() -> None:
    image = block((4, 5, 5), hole=0.5)
    assert filled(image, 0.4)[1:] == (0, 0)
    # What is at the threshold is not above it.
    assert filled(image, 0.5)[1:] == (1, 1)


@pytest.mark.parametrize("way", [(2, 1, 0), (1, 2, 0)])
def test_the_order_in_memory_does_not_matter(way: tuple[int, ...]) -> None:
    image = block((3, 5, 7), (3, 5, 6), (5, 4, 4)).transpose(way)
    assert not image.flags.c_contiguous
    found = filled(image, 0.5)
    wanted = filled(np.ascontiguousarray(image), 0.5)
    assert found[1:] == wanted[1:] == (2, 3)
    np.testing.assert_array_equal(found[0], wanted[0])
