"""The bundled 2D thinnings of the literature against other implementations, run to the end as they are shipped."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from helpers_filters import applied
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.morphology import thin

from softmorph_cli.filters.settings import Settings

Mask = NDArray[np.bool_]

IMAGES = 400
# Every method that thins step by step or level by level, the rule's own first.
METHODS = (None, "multilinear", "product", "minmax", "smooth-levels", "drastic", "lukasiewicz")


@cache
def random_masks() -> tuple[Mask, ...]:
    """Noise of every density, and blobs of every size; nothing touches the border, where conventions differ."""
    rng, masks = np.random.default_rng(20), []
    for number in range(IMAGES):
        noise = rng.random(rng.integers(5, 33, 2))
        if number % 2:
            noise = gaussian_filter(noise, rng.uniform(0.5, 2))
        masks.append(np.pad(noise > np.quantile(noise, rng.uniform(0.05, 0.7)), 1))
    return tuple(masks)


@cache
def by_the_paper() -> tuple[Mask, ...]:
    return tuple(map(zhang_suen, random_masks()))


def zhang_suen(image: Mask) -> Mask:
    """Thin as the paper of 1984 says: P2 ... P9 run clockwise from north, both passes until neither deletes."""
    image = image.copy()
    while True:
        before = image.copy()
        for first in (True, False):
            p = np.pad(image, 1)
            rows, columns = image.shape
            around = [
                p[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns].astype(int)
                for dy, dx in ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
            ]
            count = sum(around)
            crossings = sum((1 - a) * b for a, b in zip(around, (*around[1:], around[0]), strict=True))
            north, east, south, west = around[::2]
            free = (
                (north * east * south == 0) & (east * south * west == 0)
                if first
                else (north * east * west == 0) & (north * south * west == 0)
            )
            image &= ~((count >= 2) & (count <= 6) & (crossings == 1) & free)
        if np.array_equal(before, image):
            return image


@pytest.mark.parametrize("method", METHODS)
def test_zhang_suen_is_that_of_the_paper(method: str | None) -> None:
    for mask, expected in zip(random_masks(), by_the_paper(), strict=True):
        found = applied("zhang-suen-2d", mask.astype(np.float32), Settings(method))
        assert np.array_equal(found.image > 0.5, expected)
        assert found.stop_reason == "stable"


@pytest.mark.parametrize("method", METHODS)
def test_guo_hall_is_that_of_scikit_image(method: str | None) -> None:
    for mask in random_masks():
        found = applied("guo-hall-2d", mask.astype(np.float32), Settings(method))
        assert np.array_equal(found.image > 0.5, thin(mask))  # type: ignore[no-untyped-call]
        assert found.stop_reason == "stable"


@pytest.mark.parametrize("method", METHODS)
def test_the_tolerance_does_not_end_a_level_of_a_large_object(method: str | None) -> None:
    # The last pixels of a square are far less than 2 % of it.
    square = np.zeros((64, 64), np.float32)
    square[7:57, 7:57] = 1
    found = applied("guo-hall-2d", square, Settings(method))
    assert np.array_equal(found.image > 0.5, thin(square > 0))  # type: ignore[no-untyped-call]
    assert int((found.image > 0.5).sum()) == 1
    assert found.stop_reason == "stable"
