"""Bit planes: up to 64 binary images in one integer image, one binary image per bit.

The level sets of a map are nested, so the bits of a voxel are a unary code: the number of set bits is the number of
levels below the voxel's probability. If the level sets have to stay nested (`pack_nested`), the lowest threshold is
the highest bit, because v | -v sets all bits above the lowest set bit. Random draws come from a counter-based
generator (SplitMix64's finaliser over a Weyl sequence, Steele, Lea & Flood 2014): draw k of voxel v is a pure
function of (seed, image, v, k).
"""

from __future__ import annotations

import math
from operator import index
from typing import Any, Final, SupportsIndex

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import UsageError
from softmorph_cli.kernels.level_sets import LevelSets, round_down
from softmorph_cli.system.parameters import named

WORD: Final = 64

# The probabilities with logits -16 and 16: others are 0 or 1 to seven digits.
LOGIT_RANGE: Final = (1 / (1 + math.exp(16)), 1 / (1 + math.exp(-16)))

GOLDEN: Final = 0x9E3779B97F4A7C15
FINALIZER: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_MASK: Final = (1 << 64) - 1


def check_count(levels: SupportsIndex) -> int:
    """Return a number of bit planes as an int, after checking the number.

    Raises:
        UsageError: If the number is not 8, 16, 32 or a multiple of 64 (2^20 at most).
    """
    number = index(levels) if isinstance(levels, SupportsIndex) else 0
    if number not in (8, 16, 32) and (number <= 0 or number % WORD or number > 1 << 20):
        raise UsageError(f"{named('levels')} {levels}: use 8, 16, 32 or a multiple of 64.")
    return number


def chunks(levels: int) -> range:
    """Return the indices of the 64-bit words that hold `levels` bit planes."""
    return range(-(-levels // WORD))


def bits_in_chunk(levels: int, chunk: int) -> int:
    """Return the number of bit planes in the word with index `chunk`."""
    return min(WORD, levels - WORD * chunk)


def word_of(levels: int) -> np.dtype[Any]:
    """Return the unsigned integer type of a word with `levels` bit planes, 64 at most."""
    return np.dtype(f"uint{min(levels, WORD)}")


def seed_key(seed: int, index: int) -> int:
    """Return the start of the Weyl sequence for a seed and the index of an image."""
    return mix(mix(seed & _MASK) + index * GOLDEN & _MASK)


def signed(value: int) -> int:
    """Return the signed 64-bit integer that has the same bits as an unsigned integer."""
    return value - (1 << 64) if value >> 63 else value


def mix(value: int) -> int:
    """Return a 64-bit integer after SplitMix64's finaliser, which mixes the bits."""
    for places, factor in FINALIZER:
        value = (value ^ value >> places) * factor & _MASK
    return value ^ value >> 31


def pack_levels(image: npt.NDArray[Any], levels: int, chunk: int, planes: npt.NDArray[Any]) -> None:
    """Write the level sets {p > (k + 1/2) / levels}, for k from 64 chunk on, into `planes` as bit planes."""
    bits = bits_in_chunk(levels, chunk)
    codes = np.array([(1 << n) - 1 for n in range(bits + 1)], planes.dtype)
    # p * levels is exact if levels is a power of two; otherwise float64 makes it exact for float32 input.
    exact = image.dtype if levels & (levels - 1) == 0 else np.dtype(np.float64)
    # Slice by slice: temporaries stay in the processor's cache.
    for part, out in zip(image, planes, strict=True):
        below = np.ceil(part.astype(exact, copy=False) * exact.type(levels) - exact.type(0.5))
        below -= exact.type(WORD * chunk)
        np.take(codes, np.clip(below, 0, bits, out=below).astype(np.uint8), out=out)


def bins_of(part: npt.NDArray[Any], sets: LevelSets) -> npt.NDArray[Any]:
    """Return the number of thresholds below each value, in the type of `part`."""
    count, dtype = sets.count, part.dtype
    if count & (count - 1):
        # p * count is not exact, so values are compared with the thresholds.
        return np.searchsorted(sets.thresholds, part, side="left").astype(dtype)
    # Multiples of 1 / count from this one on are thresholds.
    first = count - len(sets.thresholds) + 1
    found: npt.NDArray[Any] = np.ceil(part * dtype.type(count))
    if first > 1:
        found -= dtype.type(first - 1)
    np.maximum(found, 1, out=found)
    # A value of this type is above the threshold if and only if it is above the threshold rounded down to the type.
    found *= part > round_down(sets.thresholds[0], dtype)
    return found


def pack_nested(image: npt.NDArray[Any], sets: LevelSets, planes: npt.NDArray[Any]) -> None:
    """Write the level sets {p > t_k} into `planes` as bit planes; t_0 is the highest bit of a word."""
    bits = 8 * planes.dtype.itemsize
    codes = np.array([(1 << bits) - (1 << bits - n) for n in range(len(sets.thresholds) + 1)], planes.dtype)
    # Slice by slice: temporaries stay in the processor's cache.
    for part, out in zip(image, planes, strict=True):
        np.take(codes, bins_of(part, sets).astype(np.uint8), out=out)


def refine(
    image: npt.NDArray[Any], counts: npt.NDArray[Any], sets: LevelSets, refined: npt.NDArray[Any]
) -> None:
    """Write the values of a nested skeleton into `refined`: min(p, upper end of the bin given by a voxel's count).

    Args:
        image: Probabilities p.
        counts: The number of level sets of the skeleton that contain each voxel.
        sets: The thresholds that separate the bins.
        refined: The output.
    """
    bounds = np.concatenate(([0], round_down(sets.upper_bounds, image.dtype))).astype(image.dtype)
    # A skeleton is 0 almost everywhere: only other voxels are looked up.
    refined[...] = 0
    for part, kept, out in zip(image, counts, refined, strict=True):
        held = np.nonzero(kept)
        out[held] = np.minimum(part[held], bounds[kept[held].astype(np.intp)])


SAMPLER: Final = f'''\
"""Generated by softmorph: Bernoulli draws as bit planes."""

from numba import njit, types
import numpy as np

GOLDEN = np.uint64({GOLDEN})
FIRST, SECOND = np.uint64({FINALIZER[0][1]}), np.uint64({FINALIZER[1][1]})
S20, S{FINALIZER[0][0]}, S{FINALIZER[1][0]}, S31, S32 = (
    np.uint64(20), np.uint64({FINALIZER[0][0]}), np.uint64({FINALIZER[1][0]}), np.uint64(31), np.uint64(32)
)

@njit(
    types.void(
        types.Array(types.{{dtype}}, 1, "C", readonly=True), types.{{word}}[::1], types.uint64, types.uint64,
        types.uint64, types.uint64, types.uint64,
    ), nogil=True, cache=True,
)
def draw(image, planes, key, first_draw, bits, first, last):
    for voxel in range(first, last):
        threshold = np.uint64(np.float64(image[voxel]) * 4294967296.0)
        word = np.uint64(0)
        if threshold:
            for bit in range(np.uint64(0), bits):
                h = ((voxel << S20) + first_draw + bit) * GOLDEN + key
                h = (h ^ (h >> S{FINALIZER[0][0]})) * FIRST
                h = (h ^ (h >> S{FINALIZER[1][0]})) * SECOND
                h = h ^ (h >> S31)
                word |= np.uint64((h >> S32) < threshold) << bit
        planes[voxel] = word
'''
