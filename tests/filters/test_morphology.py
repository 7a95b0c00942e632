"""Erosion to black-hat: against products typed out, against SciPy, radii with a unit, and clamping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_filters import MORPHOLOGY, made
from helpers_maps import close, same_bits
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import softmorph_cli
from softmorph_cli import SoftmorphWarning
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.morphology import reach
from softmorph_cli.filters.operations.morphological import Erosion
from softmorph_cli.filters.settings import Settings
from softmorph_cli.rules.structuring import erosion

RNG = np.random.default_rng(21)
IMAGE = RNG.random((9, 11))
VOLUME = RNG.random((6, 7, 8))
ELEMENTS = [(2, 4), (2, 8), (3, 6), (3, 18), (3, 26)]


def footprint(dimensions: int, connectivity: int) -> np.ndarray:
    order = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}[connectivity]
    return ndimage.generate_binary_structure(dimensions, order)


def product_over(image: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """The product over the element, each voxel once; outside counts as 1."""
    padded = np.pad(image, 1, constant_values=1)
    result = np.ones_like(image)
    for offset in np.argwhere(structure):
        result *= padded[tuple(slice(o, o + n) for o, n in zip(offset, image.shape, strict=True))]
    return result


@pytest.mark.parametrize("method", ["multilinear", "product"])
@pytest.mark.parametrize(("dimensions", "connectivity"), ELEMENTS)
def test_erosion_and_dilation_are_products(dimensions: int, connectivity: int, method: str) -> None:
    image = IMAGE if dimensions == 2 else VOLUME
    structure = footprint(dimensions, connectivity)
    eroded = softmorph_cli.erosion(image, connectivity=connectivity, method=method)
    assert close(eroded, product_over(image, structure), 1e-13)
    dilated = softmorph_cli.dilation(image, connectivity=connectivity, method=method)
    assert close(dilated, 1 - product_over(1 - image, structure), 1e-13)


def test_defaults_are_the_cross_once() -> None:
    assert same_bits(softmorph_cli.erosion(IMAGE), softmorph_cli.erosion(IMAGE, connectivity=4, iterations=1))
    assert same_bits(softmorph_cli.dilation(VOLUME), softmorph_cli.dilation(VOLUME, connectivity=6))


def test_composed_operations() -> None:
    e, d = softmorph_cli.erosion, softmorph_cli.dilation
    two: dict[str, Any] = {"iterations": 2}
    mixed: dict[str, Any] = {"erosion_connectivity": 8, "dilation_connectivity": 4, "iterations": 2}
    opened = d(e(IMAGE, connectivity=8, **two), connectivity=4, **two)
    assert close(softmorph_cli.opening(IMAGE, **mixed), opened, 1e-14)
    closed = e(d(IMAGE, connectivity=4, **two), connectivity=8, **two)
    assert close(softmorph_cli.closing(IMAGE, **mixed), closed, 1e-14)
    assert close(
        softmorph_cli.closing(IMAGE, connectivity=8), e(d(IMAGE, connectivity=8), connectivity=8), 1e-14
    )
    overridden = softmorph_cli.opening(IMAGE, connectivity=8, dilation_connectivity=4)
    assert close(overridden, d(e(IMAGE, connectivity=8), connectivity=4), 1e-14)
    assert close(softmorph_cli.gradient(IMAGE, **two), d(IMAGE, **two) - e(IMAGE, **two), 1e-14)


@pytest.mark.parametrize(("name", "partner"), [("tophat", "opening"), ("blackhat", "closing")])
def test_hats_are_clamped_at_0_and_say_so(name: str, partner: str) -> None:
    sign = 1 if name == "tophat" else -1
    image = IMAGE * 0.2 + (0.7 if name == "tophat" else 0.05)
    with pytest.warns(SoftmorphWarning, match="can pass its input"):
        got = getattr(softmorph_cli, name)(image, method="multilinear")
    difference = sign * (image - getattr(softmorph_cli, partner)(image, method="multilinear"))
    assert (difference < 0).any()
    assert close(got, np.maximum(difference, 0), 1e-14)


@pytest.mark.parametrize("name", ["tophat", "blackhat", "gradient"])
def test_nothing_is_said_where_nothing_is_clamped(name: str) -> None:
    # A grey-level opening never exceeds its input, nor does a soft one of a mask (warnings are errors here).
    assert getattr(softmorph_cli, name)(IMAGE).max() > 0
    binary = (IMAGE > 0.4).astype(float)
    assert set(np.unique(getattr(softmorph_cli, name)(binary, method="multilinear"))) == {0, 1}


@pytest.mark.parametrize("operation", MORPHOLOGY)
@pytest.mark.parametrize("method", ["multilinear", "levels", "smooth-levels", "drastic"])
@pytest.mark.filterwarnings("ignore::softmorph_cli.SoftmorphWarning")
def test_every_operation_under_every_kind_of_method(operation: str, method: str) -> None:
    result = made(operation, Settings(method, levels=8))(IMAGE)
    assert result.image.shape == IMAGE.shape
    assert result.image.dtype == IMAGE.dtype
    assert 0 <= result.image.min() <= result.image.max() <= 1
    assert result.iterations == 1
    assert result.stop_reason == "iterations"


# ---------------------------------------------------------------------------------------------- radius


def _stepwise(image: np.ndarray, connectivity: int, steps: tuple[int, ...]) -> np.ndarray:
    """Erode step by step; an axis leaves the element once it has had its share."""
    for k in range(max(steps)):
        structure = footprint(image.ndim, connectivity)
        for axis, count in enumerate(steps):
            if k >= count:
                structure = structure.copy()
                np.moveaxis(structure, axis, 0)[[0, 2]] = False
        image = product_over(image, structure)
    return image


@pytest.mark.parametrize(
    ("radius", "spacing", "steps"),
    [
        (2.4, (0.8, 0.8), (3, 3)),
        (1.0, (0.5, 1.0), (2, 1)),
        (3.0, (1.0, 5.0), (3, 0)),
        (0.3, (0.1, 0.1), (3, 3)),
        (2.9, (1.0, 1.5), (2, 1)),
        (3.0, (2.5, 1.0, 0.7), (1, 3, 4)),
        (2.0, (4.0, 1.0, 1.0), (0, 2, 2)),
    ],
)
@pytest.mark.parametrize("wide", [False, True])
def test_a_radius_with_a_unit(
    radius: float, spacing: tuple[float, ...], steps: tuple[int, ...], wide: bool
) -> None:
    image = (IMAGE if len(spacing) == 2 else VOLUME) * 0.2 + 0.8
    connectivity = {(2, False): 4, (2, True): 8, (3, False): 6, (3, True): 26}[len(spacing), wide]
    element = made("erosion", Settings("multilinear"), erosion=connectivity, radius=radius, spacing=spacing)
    result = element(image)
    assert close(result.image, _stepwise(image, connectivity, steps), 1e-13)
    assert result.iterations == max(steps)
    assert result.radius is not None
    assert result.radius == pytest.approx([n * s for n, s in zip(steps, spacing, strict=True)])
    how: dict[str, Any] = {"connectivity": connectivity, "radius": radius, "spacing": np.array(spacing)}
    got = softmorph_cli.erosion(image, method="multilinear", **how)
    assert same_bits(got, result.image)


def test_an_18_element_loses_an_axis() -> None:
    how: dict[str, Any] = {"connectivity": 18, "radius": 2.0, "spacing": (1.5, 1.0, 1.0)}
    got = softmorph_cli.erosion(VOLUME, method="multilinear", **how)
    assert close(got, _stepwise(VOLUME, 18, (1, 2, 2)), 1e-13)


def test_opening_with_a_radius_erodes_and_dilates_by_it() -> None:
    how: dict[str, Any] = {"radius": 2.0, "spacing": (1.0, 2.0)}
    wanted = softmorph_cli.dilation(softmorph_cli.erosion(IMAGE, **how), **how)
    assert close(softmorph_cli.opening(IMAGE, **how), wanted, 1e-14)


@pytest.mark.parametrize(
    ("arguments", "kind", "fragment"),
    [
        ({"radius": 2.0}, InputError, "voxel size"),
        ({"radius": 2.0, "iterations": 2, "spacing": (1, 1)}, UsageError, "not both"),
        ({"radius": 0.0, "spacing": (1, 1)}, UsageError, "radius"),
        ({"radius": -1.0, "spacing": (1, 1)}, UsageError, "radius"),
        ({"radius": float("nan"), "spacing": (1, 1)}, UsageError, "radius"),
        ({"radius": float("inf"), "spacing": (1, 1)}, (UsageError, InputError), "radius"),
        ({"radius": 0.5, "spacing": (1, 1)}, InputError, "smaller than one voxel"),
        ({"radius": 2.0, "spacing": (1, 1, 1)}, InputError, "2 positive numbers"),
        ({"radius": 2.0, "spacing": (1, 0)}, InputError, "positive"),
        ({"radius": 2.0, "spacing": (1, float("nan"))}, InputError, "positive"),
        ({"iterations": 0}, UsageError, "at least 1"),
        ({"connectivity": 6}, InputError, "connectivity 6 does not exist in 2D: use one of 4, 8"),
        ({"method": "cldice"}, UsageError, "skeleton"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], kind: Any, fragment: str) -> None:
    with pytest.raises(kind, match=fragment):
        softmorph_cli.erosion(IMAGE, **arguments)


@given(st.integers(1, 60), st.floats(0.01, 10))
def test_n_voxels_are_n_steps_however_the_division_rounds(n: int, size: float) -> None:
    assert reach((200, 200), Erosion(radius=n * size, spacing=(size, size))).steps == (n, n)


def test_an_axis_leaves_the_element_after_its_iterations() -> None:
    ((*phases,),) = Erosion(radius=3.0, spacing=(1.0, 3.0, 1.5)).phases((99, 99, 99))
    assert [phase.iterations for phase in phases] == [1, 1, 1]
    assert [phase.rule for phase in phases] == [erosion(6, 3, axes) for axes in ((0, 1, 2), (0, 2), (0,))]


@pytest.mark.parametrize("name", ["gradient", "tophat", "blackhat"])
def test_differences_of_draws_have_their_own_standard_error(name: str) -> None:
    image = np.random.default_rng(3).random((12, 12)).astype(np.float32)
    runs = [getattr(softmorph_cli, name)(image, method="sampled", seed=seed) for seed in range(120)]
    spread = np.std([mean for mean, _ in runs], axis=0)
    claimed = np.mean([error for _, error in runs], axis=0)
    ratio = np.median(claimed[spread > 0.02] / spread[spread > 0.02])
    assert 0.9 < ratio < 1.1


@pytest.mark.parametrize(
    ("name", "opened", "first"), [("tophat", "opening", False), ("blackhat", "closing", True)]
)
def test_hats_of_levels_are_differences_of_level_sets(name: str, opened: str, first: bool) -> None:
    image = np.random.default_rng(4).random((13, 70))
    quantised = np.ceil(image * 64 - 0.5) / 64
    other = getattr(softmorph_cli, opened)(image, method="levels")
    expected = other - quantised if first else quantised - other
    np.testing.assert_array_equal(getattr(softmorph_cli, name)(image, method="levels"), expected)
