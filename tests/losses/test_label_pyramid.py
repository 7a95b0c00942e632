"""The pyramid of labels is the set of the classes in each cell, by brute force and by dilation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers_losses import labels, noise
from scipy.ndimage import maximum_filter
from torch import Tensor

from softmorph_cli import dilation
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses import label_pyramid

IGNORED = 7
# Sizes that divide and sizes that do not, beside each other.
PYRAMIDS: list[tuple[tuple[int, ...], list[tuple[int, ...]]]] = [
    ((12, 8), [(12, 8), (6, 4), (3, 2), (1, 1)]),
    ((13, 9), [(7, 5), (5, 3), (4, 9), (2, 1)]),
    ((6, 9, 7), [(3, 3, 7), (4, 5, 3), (1, 2, 2)]),
]


def _cells(whole: Sequence[int], size: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each cell's place and its pixels, by whole numbers alone."""
    found = []
    for cell in itertools.product(*(range(n) for n in size)):
        part = tuple(
            slice(i * N // n, -(-(i + 1) * N // n)) for i, n, N in zip(cell, size, whole, strict=True)
        )
        found.append((cell, part))
    return found


def _by_sets(
    target: npt.NDArray[np.int64], size: tuple[int, ...], classes: int, pooling: str
) -> npt.NDArray[np.float64]:
    """What `label_pyramid` gives of one item's labels, a set or a count for each cell."""
    result = np.zeros((classes, *size))
    for cell, part in _cells(target.shape, size):
        pixels = target[part].ravel().tolist()
        for name in range(classes):
            if pooling == "mean":
                value = math.nan if IGNORED in pixels else pixels.count(name) / len(pixels)
            else:
                value = 1.0 if name in set(pixels) else math.nan if IGNORED in set(pixels) else 0.0
            result[(name, *cell)] = value
    return result


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("ignored", [False, True], ids=["all known", "some ignored"])
@pytest.mark.parametrize(("whole", "sizes"), PYRAMIDS, ids=str)
def test_each_cell_holds_the_union_of_its_pixels(
    whole: tuple[int, ...], sizes: list[tuple[int, ...]], ignored: bool, pooling: str
) -> None:
    target = labels(2, 4, *whole, seed=3)
    # Mostly background, or every coarse cell would hold every class.
    target[noise(*target.shape, seed=4) < 0.9] = 0
    if ignored:
        target[noise(*target.shape, seed=5) < 0.1] = IGNORED
    levels = label_pyramid(
        target, sizes, classes=4, ignore_index=IGNORED if ignored else None, pooling=pooling
    )
    for size, level in zip(sizes, levels, strict=True):
        assert level.shape == (2, 4, *size)
        wanted = [_by_sets(item[0].numpy(), size, 4, pooling) for item in target]
        np.testing.assert_allclose(level.numpy(), np.stack(wanted), rtol=1e-6)
    assert any(bool(level.isnan().any()) for level in levels) == ignored
    assert all((levels[1] == value).any() for value in (0, 1)), "a level of both"


@pytest.mark.parametrize("whole", [(16, 11), (8, 7, 9)], ids=str)
def test_an_object_of_one_pixel_is_at_every_level(whole: tuple[int, ...]) -> None:
    sizes = [tuple(-(-n // 2**level) for n in whole) for level in range(5)]
    assert min(sizes[-1]) == 1
    lost = 0
    for pixel in np.ndindex(whole):
        target = torch.zeros(1, 1, *whole, dtype=torch.long)
        target[(0, 0, *pixel)] = 1
        for level in label_pyramid(target, sizes, classes=2):
            assert level[0, 1].max() == 1
        lost += sum(
            int(one[0, 1].max() == 0) for one in label_pyramid(target, sizes, classes=2, pooling="nearest")
        )
    assert lost > 0, "which nearest pixels do not grant"


@pytest.mark.parametrize(
    ("whole", "block"), [((12, 18), 3), ((6, 9, 12), 3), ((8, 20), 4), ((4, 8, 4), 2)], ids=str
)
def test_it_is_a_flat_dilation_and_then_subsampling(whole: tuple[int, ...], block: int) -> None:
    planes = noise(2, 3, *whole, seed=1, dtype=torch.float32)
    size = tuple(n // block for n in whole)
    (level,) = label_pyramid(planes, [size])
    middle = block // 2
    # The window of an even block reaches one pixel further to the front, so its cells end right after their middle.
    dilated = maximum_filter(planes.numpy(), (1, 1, *(block,) * len(whole)), mode="nearest")
    every = (slice(None), slice(None), *(slice(middle, None, block),) * len(whole))
    np.testing.assert_array_equal(level.numpy(), dilated[every])


def test_it_is_this_packages_own_dilation() -> None:
    plane = noise(12, 18, seed=2, dtype=torch.float32)
    (level,) = label_pyramid(plane[None, None], [(4, 6)])
    dilated = np.asarray(dilation(plane.numpy(), connectivity=8))
    np.testing.assert_array_equal(level[0, 0].numpy(), dilated[1::3, 1::3])


def test_what_is_known_of_a_cell() -> None:
    nan = math.nan
    planes = torch.tensor([[1, nan, 0, nan, 0, 0, nan, nan, 0.5, nan]])[None, None].repeat(1, 1, 2, 1)
    (level,) = label_pyramid(planes, [(1, 5)])
    # There for certain; perhaps; not; perhaps; of a half the unknown pixel may be more.
    torch.testing.assert_close(level.flatten(), torch.tensor([1, nan, 0, nan, nan]), equal_nan=True)


def test_nearest_is_the_pixel_at_the_centre() -> None:
    target = labels(1, 3, 9, 10, seed=1)
    target[0, 0, 4, 7] = 255
    (level,) = label_pyramid(target, [(3, 5)], classes=3, ignore_index=255, pooling="nearest")
    for row, column in np.ndindex(3, 5):
        found = target[0, 0, 3 * row + 1, 2 * column + 1].item()
        wanted = [math.nan] * 3 if found == 255 else [float(found == name) for name in range(3)]
        assert level[0, :, row, column].tolist() == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_types_of_labels(dtype: torch.dtype) -> None:
    target = torch.tensor([[0, 1, 2, 1]]).to(dtype)[None, None]
    (level,) = label_pyramid(target, [(1, 2)], classes=3)
    assert level.dtype == torch.float32
    assert level[0, :, 0].tolist() == [[1, 0], [1, 1], [0, 1]]


def test_minus_one_is_not_255() -> None:
    target = torch.tensor([[0, 255]], dtype=torch.uint8)[None, None]
    with pytest.raises(InputError, match="labels from 0 to 255 do not fit 2 channels"):
        label_pyramid(target, [(1, 1)], classes=2, ignore_index=-1)


def test_types_of_planes() -> None:
    planes = noise(1, 2, 4, 4).round()
    for one in (planes.bool(), planes.to(torch.uint8), planes.half()):
        (level,) = label_pyramid(one, [(2, 2)])
        assert level.dtype == torch.float32
        assert torch.equal(level.double(), label_pyramid(planes, [(2, 2)])[0])


@pytest.mark.parametrize(
    ("target", "sizes", "how", "message"),
    [
        (torch.zeros(1, 1, 4, 4), [(2, 2)], {"pooling": "median"}, "use one of max, mean, nearest"),
        (torch.zeros(1, 1, 4, 4), [(2, 2)], {"ignore_index": 1}, "set them to NaN"),
    ],
)
def test_what_is_never_taken(
    target: Tensor, sizes: list[tuple[int, ...]], how: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        label_pyramid(target, sizes, **how)


@pytest.mark.parametrize(
    ("target", "size", "classes", "message"),
    [
        (torch.zeros(4, 4), (2, 2), None, r"\(B, C, H, W\) or \(B, C, D, H, W\) is expected"),
        (torch.zeros(1, 1, 4, 4), (5, 2), None, "larger than its target"),
        (torch.zeros(1, 1, 4, 4), (2,), None, "2 numbers from 1 are needed"),
        (torch.zeros(1, 1, 4, 4), (0, 2), None, "2 numbers from 1 are needed"),
        (torch.full((1, 1, 4, 4), 2.0), (2, 2), None, r"lies in \[0, 1\]"),
        (torch.full((1, 1, 4, 4), math.inf), (2, 2), None, r"lies in \[0, 1\]"),
        (torch.full((1, 1, 4, 4), 3), (2, 2), 3, "labels from 3 to 3 do not fit 3 channels"),
        (torch.full((1, 1, 4, 4), 0.5), (2, 2), 3, "whole numbers"),
        (torch.zeros(1, 1, 4, 4), (2, 2), 1, "at least 2"),
    ],
)
def test_what_does_not_fit(target: Tensor, size: tuple[int, ...], classes: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_pyramid(target, [size], classes=classes)
