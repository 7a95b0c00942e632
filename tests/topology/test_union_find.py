"""Bars of single dimensions, and of special maps."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_topology import gudhi_intervals, intervals

from softmorph_cli.topology.persistence import bars, diagram


@pytest.mark.parametrize("connectivity", [26, 6])
@pytest.mark.parametrize("dimension", [0, 1, 2])
def test_one_dimension_has_the_bars_of_all(dimension: int, connectivity: int) -> None:
    p = np.random.default_rng(dimension).random((7, 8, 9)).astype(np.float32)
    one, wanted = diagram(p, dimension, connectivity), bars(p, connectivity).diagrams[dimension]
    assert len(one) > 5
    for end in ("birth", "death", "birth_at", "death_at"):
        np.testing.assert_array_equal(getattr(one, end), getattr(wanted, end))


@pytest.mark.parametrize("connectivity", [26, 6])
def test_background_of_zeros_in_several_pieces(connectivity: int) -> None:
    # Shells around zeros, one inside of the other, and a tunnel of zeros: classes that die at 0.
    p = np.zeros((11, 11, 11), np.float32)
    p[1:10, 1:10, 1:10] = 0.9
    p[2:9, 2:9, 2:9] = 0
    p[4:7, 4:7, 4:7] = 0.7
    p[5, 5, 5] = 0
    p[1, 3, 3] = 0.4  # the outer shell's thinnest place
    p[9, 5, 5] = p[9, 5, 7] = 0  # two openings: a loop
    found = bars(p, connectivity)
    assert intervals(found) == gudhi_intervals(p, connectivity)
    assert [len(one) for one in found.diagrams] == [2, 2, 1]
    assert all((one.death_at[one.death == 0] == -1).all() for one in found.diagrams)


def test_empty_and_single_voxel_maps() -> None:
    assert len(diagram(np.zeros((3, 4, 5)), 0)) == len(diagram(np.zeros((3, 4, 5)), 2)) == 0
    (birth,), (death,) = (getattr(diagram(np.ones((1, 1)), 0), end) for end in ("birth", "death"))
    assert (birth, death) == (1, 0)


def test_threads_do_not_change_the_bars() -> None:
    # More voxels than one thread takes alone.
    p = np.random.default_rng(0).integers(0, 9, (40, 41, 42)) / np.float32(8)
    one, three = bars(p, threads=1), bars(p, threads=3)
    for first, second in zip(one.diagrams, three.diagrams, strict=True):
        assert len(first) > 500
        for end in ("birth", "death", "birth_at", "death_at"):
            np.testing.assert_array_equal(getattr(first, end), getattr(second, end))
