"""Voxel-wise operations on a GPU, each in one pass without temporary images."""

from __future__ import annotations

from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from softmorph_cli.kernels.bitplanes import FINALIZER, GOLDEN, WORD, bits_in_chunk, signed

_BLOCK: Final = 1024
_ROW_BLOCK: Final = 256
# Without contraction: products and differences are rounded separately, as in torch and NumPy.
_OPTIONS: Final = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": False}


@triton.jit(do_not_specialize=["size", "levels", "first", "bits"])
def _levels(image, planes, size, levels, first, bits, EXACT: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(image + at, mask=at < size, other=0)
    if EXACT:
        values = values.to(tl.float64)
    below = tl.ceil(values * levels.to(values.dtype) - 0.5).to(tl.int64) - first
    below = tl.minimum(tl.maximum(below, 0), bits.to(tl.int64))
    # A shift by 64 is undefined.
    ladder = tl.where(below > 63, -1, ((below * 0 + 1) << (below & 63)) - 1)
    tl.store(planes + at, ladder.to(planes.dtype.element_ty), mask=at < size)


@triton.jit(do_not_specialize=["size", "voxel", "key", "first", "bits"])
def _samples(
    image,
    planes,
    size,
    voxel,
    key,
    first,
    bits,
    WEYL: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    threshold = (tl.load(image + at, mask=at < size, other=0).to(tl.float64) * 4294967296.0).to(tl.int64)
    start = ((at + voxel) << 20) + first
    weyl = key.to(tl.int64).to(tl.uint64, bitcast=True)
    planes_here = at * 0
    for bit in range(bits):
        h = (start + bit).to(tl.uint64, bitcast=True) * WEYL + weyl
        h = (h ^ (h >> 30)) * FIRST
        h = (h ^ (h >> 27)) * SECOND
        h = (h ^ (h >> 31)) >> 32
        planes_here |= (h.to(tl.int64) < threshold).to(tl.int64) << bit
    tl.store(planes + at, planes_here.to(planes.dtype.element_ty), mask=at < size)


@triton.jit(do_not_specialize=["size", "many", "turns"])
def _bins(
    image, thresholds, found, size, many, turns, PLANES: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(image + at, mask=at < size, other=0).to(tl.float64)
    # Binary search: thresholds before `low` are below the value, those from `high` on are not.
    low = tl.zeros([BLOCK], tl.int32)
    high = low + many
    for _ in range(turns):
        middle = (low + high) // 2
        below = tl.load(thresholds + middle, mask=low < high, other=float("inf")) < values
        low = tl.where(below, middle + 1, low)
        high = tl.where(below, high, middle)
    if PLANES:
        # The highest `low` bits are set; a shift by all bits is undefined.
        ladder = tl.where(low == 0, 0, (low.to(tl.int64) * 0 - 1) << (BITS - tl.maximum(low, 1)).to(tl.int64))
        tl.store(found + at, ladder.to(found.dtype.element_ty), mask=at < size)
    else:
        tl.store(found + at, low.to(found.dtype.element_ty), mask=at < size)


@triton.jit(do_not_specialize=["size"])
def _refine(image, counts, bounds, refined, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(image + at, mask=at < size, other=0)
    number = tl.load(counts + at, mask=at < size, other=0).to(tl.int32)
    top = tl.load(bounds + number, mask=at < size, other=0)
    tl.store(refined + at, tl.where(values < top, values, top), mask=at < size)


@triton.jit(do_not_specialize=["size", "used"])
def _count(planes, counts, size, used, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(planes + at, mask=at < size, other=0).to(tl.int64) & used
    # A population count by sums of ever wider bit fields; unsigned, so that shifts insert zeros.
    x = word.to(tl.uint64, bitcast=True)
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    x = (x * 0x0101010101010101) >> 56
    tl.store(counts + at, x.to(tl.int32).to(counts.dtype.element_ty), mask=at < size)


@triton.jit(do_not_specialize=["width"])
def _row_sums(first, second, sums, width, PAIR: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, width, BLOCK):
        x = start + tl.arange(0, BLOCK)
        values = tl.load(first + row * width + x, mask=x < width, other=0).to(tl.float64)
        if PAIR:
            values = tl.abs(
                values - tl.load(second + row * width + x, mask=x < width, other=0).to(tl.float64)
            )
        total += values
    tl.store(sums + row, tl.sum(total))


def _grid(image: Tensor) -> tuple[int]:
    return (-(-image.numel() // _BLOCK),)


def pack_levels(image: Tensor, planes: Tensor, levels: int, chunk: int) -> None:
    """Write the level sets {p > (k + 1/2) / levels}, for k from 64 chunk on, into `planes` as bit planes."""
    # p * levels is exact where levels is a power of two; else float64 makes it exact for float32 input.
    exact = levels & (levels - 1) != 0
    bits = bits_in_chunk(levels, chunk)
    numbers = (image.numel(), levels, WORD * chunk, bits)
    _levels[_grid(image)](image, planes, *numbers, EXACT=exact, BLOCK=_BLOCK, **_OPTIONS)


def pack_samples(image: Tensor, planes: Tensor, draws: int, chunk: int, key: int, voxel: int) -> None:
    """Write independent Bernoulli draws, from draw 64 chunk on, into `planes` as bit planes.

    Args:
        image: Probabilities.
        planes: The output.
        draws: The number of draws of all words together.
        chunk: The index of the word.
        key: The start of the Weyl sequence, from `bitplanes.seed_key`.
        voxel: The raster index of the first voxel of `image` in the whole map.
    """
    numbers = (image.numel(), voxel, signed(key), WORD * chunk, bits_in_chunk(draws, chunk))
    constants = {"WEYL": GOLDEN, "FIRST": FINALIZER[0][1], "SECOND": FINALIZER[1][1], "BLOCK": _BLOCK}
    _samples[_grid(image)](image, planes, *numbers, **constants, **_OPTIONS)


def bins(image: Tensor, found: Tensor, thresholds: Tensor) -> None:
    """Write the number of ascending thresholds below each value into `found`.

    The number is written as a float if `found` is of floats, otherwise as that many set bits from the highest bit
    down.
    """
    many = thresholds.numel()
    planes = not found.dtype.is_floating_point
    constants = {"PLANES": planes, "BITS": 8 * found.itemsize, "BLOCK": _BLOCK}
    _bins[_grid(image)](
        image, thresholds, found, image.numel(), many, many.bit_length(), **constants, **_OPTIONS
    )


def refine(image: Tensor, counts: Tensor, refined: Tensor, bounds: Tensor) -> None:
    """Write into `refined` the minimum of each value and `bounds[n]`, where n is the voxel's element of `counts`."""
    _refine[_grid(image)](image, counts, bounds, refined, image.numel(), BLOCK=_BLOCK, **_OPTIONS)


def count(planes: Tensor, counts: Tensor, bits: int) -> None:
    """Write the number of set bits among the lowest `bits` bits of each voxel of `planes` into `counts`."""
    # Sign extension of a narrow word must not be counted.
    used = signed((1 << min(bits, 8 * planes.itemsize)) - 1)
    _count[_grid(planes)](planes, counts, planes.numel(), used, BLOCK=_BLOCK, **_OPTIONS)


def row_sums(first: Tensor, second: Tensor | None = None) -> Tensor:
    """Return the float64 sum of each row of an image (rows, X), or of the absolute difference of two images."""
    sums = torch.empty(first.shape[0], dtype=torch.float64, device=first.device)
    other: Any = first if second is None else second
    _row_sums[(first.shape[0],)](
        first, other, sums, first.shape[1], PAIR=second is not None, BLOCK=_ROW_BLOCK, **_OPTIONS
    )
    return sums
