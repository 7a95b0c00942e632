"""Data of the examples: drawn vessels and roads, handwritten digits, patches of a map; each with its true mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Map = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
# An image and its mask of 0 and 1.
Pair = tuple[Map, Map]

# Values of a digit's pixels above the half are strokes.
DIGIT_THRESHOLD: Final = 127


class Thickened(NamedTuple):
    """Lines grown to tubes: the mask, its blurred contrast, and the indices of the nearest pixel of a line."""

    mask: Mask
    contrast: Floats
    nearest: tuple[Indices, ...]


def bent(rng: np.random.Generator, shape: tuple[int, ...]) -> Indices:
    """Return the pixels along a random quadratic curve, shape (4 side, d), some more than once."""
    side = shape[0]
    start, bend, end = rng.uniform(0, side - 1, (3, len(shape)))
    t = np.linspace(0, 1, 4 * side)[:, None]
    line: Indices = np.rint((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end).astype(np.intp)
    return line


def crossing(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[Indices]:
    """Return the pixels of two or three roads from left to right, and of as many from top to bottom."""
    side = shape[0]
    t = np.linspace(0, 1, 4 * side)
    for axis in (0, 1):
        count = rng.integers(2, 4)
        # One in each strip, so that roads of one direction meet at most at the ends.
        ends = (np.arange(count)[:, None] + rng.uniform(0.15, 0.85, (count, 2))) * side / count
        for first, last in ends:
            across = np.clip(np.rint(first + t * (last - first)), 0, side - 1)
            pair = (across, np.rint(t * (side - 1)))
            yield np.stack(pair if axis == 0 else pair[::-1], axis=1).astype(np.intp)


def gapped(
    rng: np.random.Generator, length: int, contrast: float, gaps: tuple[int, int], rest: float
) -> Floats:
    """Return the contrast along a line, in which random gaps of 4 to 12 % of its length have the contrast `rest`.

    Args:
        rng: Generator of the random numbers.
        length: Number of points of the line.
        contrast: The contrast outside of the gaps.
        gaps: The least number of gaps, and one more than the greatest.
        rest: The contrast in the gaps.
    """
    along = np.full(length, contrast)
    for _ in range(rng.integers(*gaps)):
        gap = rng.integers(0, length)
        along[gap : gap + rng.integers(length // 25, length // 8)] = rest
    return along


def thickened(contrast: Floats, radius: float) -> Thickened:
    """Return tubes of a radius in pixels around lines; `contrast` is NaN outside of the lines."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    distance, nearest = distance_transform_edt(np.isnan(contrast), return_indices=True)
    mask = distance <= radius
    return Thickened(mask, gaussian_filter(mask * contrast[tuple(nearest)], 0.5), tuple(nearest))


def uneven(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return a smooth random background."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(rng.normal(size=shape), 6) * 3)


def batched(pairs: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]) -> tuple[Tensor, Tensor]:
    """Return images and masks as two tensors (N, 1, [D,] H, W)."""
    images, masks = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(masks))[:, None]


def vessels(rng: np.random.Generator, shape: tuple[int, ...], radius: tuple[float, float]) -> Pair:
    """Return an image of two to four vessels with gaps on an uneven, noisy background, and their mask.

    Args:
        rng: Generator of the random numbers.
        shape: Shape of the image, equal sides.
        radius: Range of the vessels' radius in pixels; those of an image have the same.
    """
    lines = (bent(rng, shape) for _ in range(rng.integers(2, 5)))
    return _imaged(rng, shape, lines, radius, (0.4, 0.9))


def roads(rng: np.random.Generator, shape: tuple[int, int], radius: tuple[float, float]) -> Pair:
    """Return a 2D image of roads that cross each other and are partly hidden, and their mask; as `vessels`."""
    return _imaged(rng, shape, crossing(rng, shape), radius, (0.15, 0.45))


def _imaged(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    lines: Iterable[Indices],
    radius: tuple[float, float],
    contrast: tuple[float, float],
) -> Pair:
    along = np.full(shape, np.nan)
    for line in lines:
        along[tuple(line.T)] = gapped(rng, len(line), rng.uniform(*contrast), (1, 5), 0.05)
    drawn = thickened(along, rng.uniform(*radius))
    image = drawn.contrast + uneven(rng, shape) + 0.3 * rng.normal(size=shape)
    return image.astype(np.float32), drawn.mask.astype(np.float32)


def strokes(rng: np.random.Generator, digit: npt.NDArray[np.uint8]) -> Pair:
    """Return a digit with three faded spots on an uneven, noisy background, and the mask of its strokes."""
    mask = digit > DIGIT_THRESHOLD
    seen = digit / 255 * rng.uniform(0.5, 0.9)
    rows, columns = np.indices(digit.shape)
    inside = np.argwhere(mask)
    for row, column in inside[rng.integers(0, len(inside), 3)]:
        seen[(rows - row) ** 2 + (columns - column) ** 2 <= 2**2] *= 0.1
    image = seen + uneven(rng, digit.shape) + 0.3 * rng.normal(size=digit.shape)
    return image.astype(np.float32), mask.astype(np.float32)


def patch(rng: np.random.Generator, probabilities: Map, side: int) -> Pair:
    """Return a random cube of a map as a noisy image, and its mask above 0.5, which fills 1 % of the cube or more."""
    while True:
        corner = rng.integers(0, np.array(probabilities.shape) - side + 1)
        cube = probabilities[tuple(slice(a, a + side) for a in corner)]
        mask = cube > 0.5
        if mask.mean() >= 0.01:
            break
    image = rng.uniform(0.4, 0.9) * cube + uneven(rng, cube.shape) + 0.3 * rng.normal(size=cube.shape)
    return image.astype(np.float32), mask.astype(np.float32)
