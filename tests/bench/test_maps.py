"""Drawn maps are reproducible probabilities with a density that is independent of their size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from softmorph_cli.bench import maps


@pytest.mark.parametrize("draw", maps.DRAWN.values())
@pytest.mark.parametrize("shape", [(9, 9), (24, 24, 24), (12, 20, 31)])
def test_drawn_maps_are_reproducible_probabilities(
    draw: Callable[..., maps.Map], shape: tuple[int, ...]
) -> None:
    drawn = draw(shape)
    assert drawn.shape == shape
    assert drawn.dtype == np.float32
    assert drawn.itemsize == maps.ITEMSIZE
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert np.array_equal(drawn, draw(shape))
    assert not np.array_equal(drawn, draw(shape, seed=7))


def test_noise_is_fractional_everywhere() -> None:
    noise = maps.noise((32, 32, 32))
    assert ((noise > 0) & (noise < 1)).mean() > 0.999


@pytest.mark.parametrize(("dimensions", "sizes"), [(3, (96, 160)), (2, (512, 1500))])
def test_vessels_are_sparse_soft_and_as_dense_in_any_size(dimensions: int, sizes: tuple[int, int]) -> None:
    for size in sizes:
        vessels = maps.vessels((size,) * dimensions)
        assert 0.02 < (vessels > 0.5).mean() < 0.1
        assert (vessels == 0).mean() > 0.5
        assert ((vessels > 0.1) & (vessels < 0.9)).mean() > 0.01


def test_a_straight_tube_is_the_sigmoid_of_its_depth() -> None:
    inside = np.full((21, 21, 40), -maps.SKIRT, np.float32)
    maps._draw_piece(inside, np.array([10.0, 10.0, 5.0]), np.array([10.0, 10.0, 30.0]), 3.0)
    assert inside[10, 10, 5:31] == pytest.approx(3.0)
    assert inside[10, 14, 20] == pytest.approx(-1.0)
    assert inside[10, 10, 35] == pytest.approx(-2.0)  # a round end, 5 beyond the last point
    assert inside[10, 20, 20] == pytest.approx(-maps.SKIRT)
