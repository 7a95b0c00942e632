"""Which channel is the background: the same for files, filters and shape priors."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from softmorph_cli import classes as module
from softmorph_cli.classes import background, complete, numbered
from softmorph_cli.completion.prior import background_first
from softmorph_cli.io.nnunet import classes
from softmorph_cli.volume import Volume


def softmax(count: int = 3, shape: tuple[int, ...] = (6, 10)) -> np.ndarray:
    soft = np.random.default_rng(0).dirichlet(np.ones(count), shape)
    return np.moveaxis(soft, -1, 0).astype(np.float32)


def outside_of_a_mask() -> np.ndarray:
    maps = softmax()
    maps[:, 0] = 0
    return maps


def wrong_in_a_few(wrong: int) -> np.ndarray:
    """Return two channels of 2,000 voxels, some of which sum to one half."""
    maps = softmax(2, (2000,))
    maps[:, :wrong] = 0.25
    return maps


MASKS = np.array([[[1, 0, 0]], [[0, 1, 0]]], np.float32)


@pytest.mark.parametrize(
    ("maps", "holds"),
    [
        (softmax(), True),
        (outside_of_a_mask(), True),
        # Masks of two objects, both 0 in the background.
        (MASKS, False),
        (np.concatenate([1 - MASKS.sum(0, keepdims=True), MASKS]), True),
        (softmax()[1:], False),
        (np.zeros((2, 3, 3), np.float32), False),
        (wrong_in_a_few(2), True),
        (wrong_in_a_few(3), False),
        (np.ones((1, 4), np.float32), False),
    ],
)
def test_channels_that_sum_to_one_hold_their_background_everywhere(maps: np.ndarray, holds: bool) -> None:
    assert complete(maps) is holds
    assert background(maps, None) == (0 if holds else None)
    if maps.ndim == 3:
        kind = classes(Volume(maps, "CYX")).kind if len(maps) > 1 else "rest"
        assert (kind == "complete") is holds
    _, names, order = background_first(maps, None)
    assert order == [*range(len(maps))] if holds else [-1, *range(len(maps))]
    assert len(names) == len(maps) - holds


@pytest.mark.parametrize("name", ["background", "bg", " BG ", "Background"])
def test_a_background_is_found_by_its_name(name: str) -> None:
    maps, names = softmax(), ("vein", name, "artery")
    assert numbered(names, 3) == (1, 0, 2)
    assert background(maps, names) == background(MASKS, names[:2]) == 1
    found, front, order = background_first(maps, names)
    assert (front, order) == (("vein", "artery"), [1, 0, 2])
    np.testing.assert_allclose(found, maps[[1, 0, 2]], atol=1e-6)


def test_of_names_without_a_background_the_first_is_it_where_they_sum_to_one() -> None:
    names = ("label 0", "label 1", "label 2")
    assert numbered(names, 3) == (0, 1, 2)
    assert background(softmax(), names) == 0
    assert background(MASKS, names[:2]) is None
    assert background_first(softmax(), names)[1] == ("label 1", "label 2")
    # Those that a prior knows as classes are no background.
    assert background_first(softmax(), names, foreground=names)[2] == [-1, 0, 1, 2]


def test_a_voxel_without_any_class_is_background() -> None:
    maps = np.array([[[0.5, 0.0, 1e-9]], [[0.25, 0.0, 3e-9]]], np.float32)
    found, _, _ = background_first(maps, ("background", "vessel"))
    # 0.5 and 0.25 are divided by their sum.
    np.testing.assert_allclose(found, [[[2 / 3, 1, 1]], [[1 / 3, 0, 0]]], atol=1e-6)


def test_the_examples_of_docstrings_run() -> None:
    tried = doctest.testmod(module)
    assert (tried.failed, tried.attempted > 0) == (0, True)
