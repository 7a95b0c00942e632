"""By default erosion, dilation and the like are grey-level morphology: the binary filter at every threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_maps import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

import softmorph_cli

ORDER = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}
ELEMENTS = [(2, 4), (2, 8), (3, 6), (3, 18), (3, 26)]
DTYPES = ["float32", "float64"]
# Subnormal numbers, ties, exact 0 and 1, and everything between.
VALUES = st.sampled_from([0.0, 1e-44, 1e-39, 0.25, 0.5, 1 - 2.0**-24, 1.0]) | st.floats(0, 1, width=32)


def _footprints(connectivity: int, steps: tuple[int, ...]) -> list[np.ndarray]:
    """The element of each iteration: an axis leaves it once it has had its share."""
    made = []
    for k in range(max(steps)):
        footprint = ndimage.generate_binary_structure(len(steps), ORDER[connectivity])
        for axis, count in enumerate(steps):
            if k >= count:
                np.moveaxis(footprint, axis, 0)[[0, 2]] = False
        made.append(footprint)
    return made


def _eroded(image: np.ndarray, footprints: list[np.ndarray]) -> np.ndarray:
    for footprint in footprints:
        if image.dtype == bool:
            image = ndimage.binary_erosion(image, footprint, border_value=1)
        else:
            image = ndimage.grey_erosion(image, footprint=footprint, mode="constant", cval=np.inf)
    return image


def _dilated(image: np.ndarray, footprints: list[np.ndarray]) -> np.ndarray:
    for footprint in footprints:
        if image.dtype == bool:
            image = ndimage.binary_dilation(image, footprint)
        else:
            image = ndimage.grey_dilation(image, footprint=footprint, mode="constant", cval=-np.inf)
    return image


def _wanted(name: str, image: np.ndarray, footprints: list[np.ndarray]) -> np.ndarray:
    match name:
        case "erosion":
            return _eroded(image, footprints)
        case "dilation":
            return _dilated(image, footprints)
        case "opening":
            return _dilated(_eroded(image, footprints), footprints)
        case "closing":
            return _eroded(_dilated(image, footprints), footprints)
        case "gradient":
            return np.asarray(_dilated(image, footprints) - _eroded(image, footprints))
        case "tophat":
            return np.asarray(image - _wanted("opening", image, footprints))
    return np.asarray(_wanted("closing", image, footprints) - image)


FILTERS = ["erosion", "dilation", "opening", "closing"]
NAMES = [*FILTERS, "gradient", "tophat", "blackhat"]


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize(("dimensions", "connectivity"), ELEMENTS)
@pytest.mark.parametrize("name", NAMES)
def test_scipy_says_the_same(name: str, dimensions: int, connectivity: int, iterations: int) -> None:
    rng = np.random.default_rng(iterations)
    for dtype in DTYPES:
        image = rng.random((23, 140) if dimensions == 2 else (9, 11, 70)).astype(dtype)
        got = getattr(softmorph_cli, name)(image, connectivity=connectivity, iterations=iterations)
        assert same_bits(got, _wanted(name, image, _footprints(connectivity, (iterations,) * dimensions)))


@pytest.mark.parametrize(
    ("spacing", "steps"),
    [
        ((1.0, 0.5, 0.5), (3, 6, 6)),
        ((5.0, 1.0, 0.7), (0, 3, 4)),
        ((2.5, 1.0, 3.0), (1, 3, 1)),
        ((1.5, 0.6), (2, 5)),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_radius_on_anisotropic_voxels(
    name: str, spacing: tuple[float, ...], steps: tuple[int, ...]
) -> None:
    image = np.random.default_rng(4).random((12, 17, 33)[-len(steps) :], np.float32)
    for connectivity in [c for d, c in ELEMENTS if d == len(steps)]:
        got = getattr(softmorph_cli, name)(image, connectivity=connectivity, radius=3.0, spacing=spacing)
        assert same_bits(got, _wanted(name, image, _footprints(connectivity, steps)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("dimensions", "connectivity"), ELEMENTS)
@pytest.mark.parametrize("name", FILTERS)
@given(data=st.data())
@settings(max_examples=15)
def test_every_threshold_is_the_binary_filter_of_that_threshold(
    name: str, dimensions: int, connectivity: int, dtype: str, data: st.DataObject
) -> None:
    shapes = hnp.array_shapes(min_dims=dimensions, max_dims=dimensions, min_side=1, max_side=7)
    image = data.draw(hnp.arrays(np.dtype(dtype), shapes, elements=VALUES.map(float)))
    iterations = data.draw(st.integers(1, 4))
    how: dict[str, Any] = {"connectivity": connectivity, "iterations": iterations}
    result = getattr(softmorph_cli, name)(image, **how)
    assert result.dtype == image.dtype
    footprints = _footprints(connectivity, (iterations,) * dimensions)
    for threshold in (0.0, *np.unique(image)[:-1]):
        assert ((result > threshold) == _wanted(name, image > threshold, footprints)).all()


@pytest.mark.parametrize("name", FILTERS)
def test_with_a_gradient_the_values_are_the_same(name: str) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(5).random((6, 9, 20), np.float32)
    image[:2] = np.finfo(np.float32).smallest_subnormal
    tensor = torch.tensor(image, requires_grad=True)
    result = getattr(softmorph_cli, name)(tensor, iterations=2)
    assert same_bits(result.detach().numpy(), getattr(softmorph_cli, name)(image, iterations=2))
    result.sum().backward()
    # Minima and maxima hand the gradient on: nothing of it is lost.
    assert tensor.grad.sum().item() == pytest.approx(image.size, rel=1e-5)
