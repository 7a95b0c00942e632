"""The variance of the volume of {p > U}, where one random threshold U applies to all voxels of a map p.

With U uniform on [0, 1] the variance is the sum of min(p, q) (1 - max(p, q)) over all pairs of voxels, whose
probabilities are p and q. The exact variance needs all voxels sorted by probability. Here voxels are sorted into narrow
bins instead, whose counts and sums can be added up over blocks of a map; only pairs within a bin are estimated.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Each octave of t = min(p, 1 - p), in each half of [0, 1], has 256 bins, which separate the values of 8-bit maps and
# steps of 1/1024; values of t below 2^-63 share a bin.
_OCTAVE_BITS: Final = 8
_OCTAVES: Final = 63
_MANTISSA_BITS: Final = 52
_LOWEST: Final = (1023 - _OCTAVES) << _OCTAVE_BITS
# t = 1/2, where the octaves end, has a bin of its own.
_BINS: Final = 2 * (((_OCTAVES - 1) << _OCTAVE_BITS) + 1)


class ComonotoneVariance:
    """Accumulator for the variance of the number of voxels in {p > U}, where the threshold U is uniform on [0, 1].

    Within a bin min(p, q) is replaced by the mean of p and q, so the standard deviation is never too small and at most
    0.07 % (1 part in 1500) too large; n voxels below 2^-63 or above 1 - 2^-63 add at most n 2^-32 voxels. The variance
    is exact up to rounding if each bin holds one value, as in masks, 8-bit maps and steps of 1/1024.
    """

    def __init__(self) -> None:
        # Bins of the lower and the upper half of [0, 1] alternate, so that the used ones lie in one range.
        self._counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS)
        self._begin, self._end = _BINS, 0

    def add(self, p: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> None:
        """Add voxels to the counts and sums that determine the variance.

        Args:
            p: Probabilities of the voxels, above 0 and below 1, shape (N,).
            other: 1 - p.
        """
        if not p.size:
            return
        nearest = np.minimum(p, other)
        # The leading bits of a positive float are its octave and the bin within it.
        bins = nearest.view(np.int64) >> (_MANTISSA_BITS - _OCTAVE_BITS)
        bins -= _LOWEST
        np.maximum(bins, 0, out=bins)
        bins <<= 1
        bins += p > 0.5
        begin = int(bins.min())
        bins -= begin
        self._add(begin, np.bincount(bins), np.bincount(bins, weights=nearest))

    def merge(self, other: ComonotoneVariance) -> None:
        """Add the voxels that another accumulator, such as that of another channel, has counted."""
        used = slice(other._begin, other._end)
        if other._end > other._begin:
            self._add(other._begin, other._counts[used], other._sums[used])

    def _add(self, begin: int, counts: npt.NDArray[Any], sums: npt.NDArray[Any]) -> None:
        used = slice(begin, begin + len(counts))
        self._counts[used] += counts
        self._sums[used] += sums
        self._begin, self._end = min(self._begin, used.start), max(self._end, used.stop)

    @property
    def variance(self) -> float:
        """The variance of the number of voxels in {p > U}, in voxels squared."""
        # Beginning with an even bin, of the lower half.
        begin = self._begin & ~1
        counts, sums = self._counts[begin : self._end], self._sums[begin : self._end]
        rest = counts - sums
        # In the order of p: the lower half ascending, then the upper half, whose sums are of 1 - p, descending.
        p = np.concatenate([sums[::2], rest[1::2][::-1]])
        other = np.concatenate([rest[::2], sums[1::2][::-1]])
        from_here = np.cumsum(other[::-1])[::-1]
        # All terms are positive, so there is no cancellation.
        return float((p * (2 * from_here - other)).sum())
