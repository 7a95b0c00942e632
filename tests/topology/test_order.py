"""The order of bars compared with that of NumPy's stable sort."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from softmorph_cli.topology.engine.order import lexicographic
from softmorph_cli.topology.persistence import bars


@pytest.mark.parametrize("values", [1, 4, 900, 10**9])
def test_lexicographic_is_that_of_numpy(values: int) -> None:
    rng = np.random.default_rng(values)
    keys = (*rng.integers(0, 3, (2, 1000)), rng.integers(0, values, 1000) / values)
    np.testing.assert_array_equal(lexicographic(*keys), np.lexsort(keys))
    assert len(lexicographic(*(key[:0] for key in keys))) == 0


def test_zeros_of_either_sign_are_equal() -> None:
    p: npt.NDArray[Any] = np.random.default_rng(0).random((8, 9)).astype(np.float32)
    p[p < 0.5] = 0
    signed = np.where(p == 0, np.float32(-0.0), p)
    for one, other in zip(bars(p).diagrams, bars(signed).diagrams, strict=True):
        np.testing.assert_array_equal(one.birth_at, other.birth_at)
        np.testing.assert_array_equal(one.death_at, other.death_at)
