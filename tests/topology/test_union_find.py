"""Bars of components and cavities by union-find compared with those of gudhi."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from softmorph_cli.topology.persistence import bars, diagram


@pytest.mark.parametrize("connectivity", [26, 6])
@pytest.mark.parametrize("seed", range(40))
def test_noise_has_the_bars_of_its_complex(seed: int, connectivity: int) -> None:
    rng = np.random.default_rng(seed)
    p: npt.NDArray[Any] = rng.random(rng.integers(1, 10, 3)).astype(np.float32 if seed % 2 else np.float64)
    # All values are distinct, so that births and deaths are unique; every fourth map also has zeros.
    if seed % 4 == 0:
        p[p < 0.3] = 0
    whole = bars(p, connectivity)
    for dimension in (0, 1, 2):
        one, wanted = diagram(p, dimension, connectivity), whole.diagrams[dimension]
        np.testing.assert_array_equal(one.birth, wanted.birth)
        np.testing.assert_array_equal(one.death, wanted.death)
        np.testing.assert_array_equal(one.birth_at, wanted.birth_at)
        above = wanted.death > 0
        np.testing.assert_array_equal(one.death_at[above], wanted.death_at[above])


@pytest.mark.parametrize(("dimension", "connectivity"), [(0, 6), (2, 26)])
def test_equal_values(dimension: int, connectivity: int) -> None:
    p = np.random.default_rng(0).integers(0, 4, (9, 10, 11)) / 4
    one, wanted = diagram(p, dimension, connectivity), bars(p, connectivity).diagrams[dimension]
    assert len(wanted) > 5
    np.testing.assert_array_equal(one.birth, wanted.birth)
    np.testing.assert_array_equal(one.death, wanted.death)
    np.testing.assert_array_equal(p[tuple(one.birth_at.T)], one.birth)


def test_empty_and_single_voxel_maps() -> None:
    assert len(diagram(np.zeros((3, 4, 5)), 0)) == len(diagram(np.zeros((3, 4, 5)), 2)) == 0
    (birth,), (death,) = (getattr(diagram(np.ones((1, 1)), 0), end) for end in ("birth", "death"))
    assert (birth, death) == (1, 0)
