"""Betti numbers of drawn shapes, and of noise compared with persistent homology."""

from __future__ import annotations

import gudhi
import numpy as np
import pytest

from softmorph_cli.errors import InputError
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.components import connectivities


def by_homology(mask: np.ndarray, connectivity: int) -> tuple[int, ...]:
    """Count the homology classes that live at 1/2; the mask has value 0 and its surroundings 1."""
    values = np.pad(1.0 - mask, 1, constant_values=1)
    cells = "vertices" if connectivity == 2 * mask.ndim else "top_dimensional_cells"
    cube = gudhi.CubicalComplex(**{cells: values})
    found = [0] * mask.ndim
    for dimension, (birth, death) in cube.persistence(homology_coeff_field=2, min_persistence=0):
        if birth < 0.5 < death:
            found[dimension] += 1
    return tuple(found)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("seed", range(200))
def test_noise_has_the_numbers_of_its_homology(seed: int, full: bool) -> None:
    rng = np.random.default_rng(seed)
    dims = 2 + seed % 2
    mask = rng.random(rng.integers(1, 11 if dims == 3 else 24, dims)) < rng.uniform(0.1, 0.95)
    connectivity = 3**dims - 1 if full else 2 * dims
    found = betti_numbers(mask, connectivity)
    assert found.numbers == by_homology(mask, connectivity)
    assert found.euler == found.b0 - found.b1 + (found.b2 or 0)
    assert found.connectivity == connectivity


@pytest.mark.parametrize(("share", "connectivity"), [(0.8, 6), (0.5, 26)])
def test_noise_has_components_loops_and_cavities(share: float, connectivity: int) -> None:
    # So that the numbers compared above are not mostly 0.
    mask = np.random.default_rng(0).random((20, 20, 20)) < share
    assert min(betti_numbers(mask, connectivity).numbers) > 0
    assert betti_numbers(mask, connectivity).numbers == by_homology(mask, connectivity)


def test_shapes() -> None:
    ring = np.zeros((7, 7), bool)
    ring[1:6, 1:6] = True
    ring[2:5, 2:5] = False
    assert betti_numbers(ring).numbers == (1, 1)
    ring[1, 1] = False  # the corner still joins by a diagonal, in 8 alone
    assert betti_numbers(ring, 8).numbers == (1, 1)
    assert betti_numbers(ring, 4).numbers == (1, 0)

    tube = np.zeros((5, 7, 7), bool)
    tube[:, 1:6, 1:6] = True
    tube[:, 2:5, 2:5] = False
    assert betti_numbers(tube).numbers == (1, 1, 0)  # open at both ends, which are the border
    tube[[0, -1], 2:5, 2:5] = True
    assert betti_numbers(tube).numbers == (1, 0, 1)
    assert betti_numbers(tube).euler == 2


def test_full_and_empty_masks() -> None:
    assert betti_numbers(np.ones((3, 4), bool)).numbers == (1, 0)
    assert betti_numbers(np.ones((3, 4, 5), bool), 6).numbers == (1, 0, 0)
    assert betti_numbers(np.zeros((3, 4), bool), 4).numbers == (0, 0)
    assert betti_numbers(np.zeros((3, 4, 5), bool)).numbers == (0, 0, 0)
    assert betti_numbers(np.zeros((3, 0), bool)).numbers == (0, 0)


def test_the_background_has_the_complementary_connectivity() -> None:
    assert [connectivities(2, c) for c in (None, 8, 4)] == [(8, 4), (8, 4), (4, 8)]
    assert [connectivities(3, c) for c in (None, 26, 6)] == [(26, 6), (26, 6), (6, 26)]


@pytest.mark.parametrize(("dims", "connectivity"), [(3, 18), (3, 8), (2, 26), (2, 6), (4, None), (1, None)])
def test_connectivities_without_complement_are_refused(dims: int, connectivity: int | None) -> None:
    with pytest.raises(InputError):
        connectivities(dims, connectivity)


def test_a_map_that_is_not_boolean_is_refused() -> None:
    with pytest.raises(InputError, match="mask of bool"):
        betti_numbers(np.zeros((3, 4)))  # type: ignore[arg-type]
