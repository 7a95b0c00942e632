"""What a probability map holds, in numbers: expected volume, histogram, entropy, components.

Every sum runs in float64 over blocks of a fixed size, one after another, so that it is the same on every
machine and for any number of threads; a block is all the memory that is taken beside the map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.measure.components import count_components, row_ranges
from softmorph_cli.units import millimetres

# A power of two: k / 32 is exact in every float type, so a value on an edge falls into the same bin in each.
BINS: Final = 32
# Small enough for what is made of a block to stay in cache, and for the heap to hand the same memory out again.
BLOCK_VOXELS: Final = 2**15


@dataclass(frozen=True)
class Histogram:
    """How many voxels lie in each interval of probability.

    Attributes:
        edges: The bounds of the bins, one more than there are bins; a bin holds its lower bound, the last one
            also its upper bound.
        counts: Voxels in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Statistics:
    """Statistics of one probability map p, its voxels taken as independent.

    Attributes:
        sum: Sum of p: the expected number of foreground voxels.
        expected_volume: `sum` times the volume of a voxel, in `volume_unit`.
        volume_std: Standard deviation of the volume, sqrt(sum p(1 - p)) times the volume of a voxel.
        volume_unit: "mm^3", in 2D "mm^2", or "voxels" where the voxel size or its unit is unknown.
        mean: Mean of p.
        min: Smallest p.
        max: Largest p.
        histogram: Voxels in 32 bins of equal width over [0, 1].
        entropy_bits: Entropy of the whole map in bits, the sum of -p log2 p - (1 - p) log2 (1 - p): 0 where
            every voxel is certain, 1 for each voxel at 0.5.
        voxels_above_half: Voxels with p > 0.5.
        components_above_half: Connected components of p > 0.5 under `connectivity`; those of different
            channels or times are different.
        connectivity: 8 in 2D, 26 in 3D.
        index: Which time, channel, ... this is, where it is a part of a larger map.
        per_channel: The same for each index of the mapped axes, in C order; empty where there are none.
    """

    sum: float
    expected_volume: float
    volume_std: float
    volume_unit: str
    mean: float
    min: float
    max: float
    histogram: Histogram
    entropy_bits: float
    voxels_above_half: int
    components_above_half: int
    connectivity: int
    index: tuple[int, ...] = ()
    per_channel: tuple[Statistics, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers for JSON; `index` and `per_channel` only where not empty."""

        def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {name: list(v) if isinstance(v, tuple) else v for name, v in items if v != ()}

        return asdict(self, dict_factory=plain)


def summarize(
    array: npt.NDArray[Any],
    *,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    spatial_dims: int,
) -> Statistics:
    """Return the statistics of a probability map, and of each of its channels.

    Args:
        array: Probabilities in [0, 1], shape (..., Y, X) or (..., Z, Y, X); any axes before these are mapped
            axes (time, channel). Any memory layout; never written to.
        spacing: Size of a voxel along each spatial axis, in array order.
        unit: Unit of `spacing`: "mm", "um", "nm", ...; volumes are given in mm.
        spatial_dims: 2 or 3.

    Raises:
        InputError: If the array is empty, has fewer axes than `spatial_dims`, or holds NaN or values outside
            [0, 1].
    """
    if spatial_dims not in (2, 3) or array.ndim < spatial_dims or array.size == 0:
        raise InputError(
            f"statistics need a map of 2 or 3 spatial axes that is not empty, not {array.shape}."
        )
    if spacing is not None and len(spacing) != spatial_dims:
        raise InputError(f"spacing {tuple(spacing)} must be {spatial_dims} numbers.")
    scale = millimetres(unit)
    voxel, volume_unit = 1.0, "voxels"
    if spacing is not None and scale is not None:
        voxel, volume_unit = math.prod(size * scale for size in spacing), f"mm^{spatial_dims}"

    mapped = array.shape[: array.ndim - spatial_dims]
    totals = [_total(array[index]) for index in np.ndindex(mapped)]
    parts = tuple(
        total.statistics(voxel, volume_unit, spatial_dims, index)
        for index, total in zip(np.ndindex(mapped), totals, strict=True)
    )
    if not mapped:
        return parts[0]
    return _merged(totals).statistics(voxel, volume_unit, spatial_dims, (), parts)


def change(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> dict[str, float]:
    """Return how far two maps of one shape are apart.

    Returns:
        `sum_abs`, the sum of |after - before| over all voxels, and `max_abs`, the largest one.

    Raises:
        InputError: If the shapes differ.
    """
    if before.shape != after.shape:
        raise InputError(f"maps of shape {before.shape} and {after.shape} cannot be compared voxel by voxel.")
    sums, largest = [], 0.0
    for part in _blocks(before.shape):
        apart = np.abs(_float64(after[part]) - _float64(before[part]))
        sums.append(float(apart.sum()))
        largest = max(largest, float(apart.max()))
    return {"sum_abs": math.fsum(sums), "max_abs": largest}


@dataclass(frozen=True)
class _Total:
    """What can be added up: over blocks first, over channels then."""

    voxels: int
    sum: float
    variance: float
    entropy: float
    min: float
    max: float
    counts: npt.NDArray[np.int64]
    above_half: int
    components: int

    def statistics(
        self,
        voxel: float,
        volume_unit: str,
        spatial_dims: int,
        index: tuple[int, ...],
        parts: tuple[Statistics, ...] = (),
    ) -> Statistics:
        return Statistics(
            sum=self.sum,
            expected_volume=self.sum * voxel,
            volume_std=math.sqrt(self.variance) * voxel,
            volume_unit=volume_unit,
            mean=self.sum / self.voxels,
            min=self.min,
            max=self.max,
            histogram=Histogram(
                tuple(k / BINS for k in range(BINS + 1)), tuple(int(count) for count in self.counts)
            ),
            entropy_bits=self.entropy,
            voxels_above_half=self.above_half,
            components_above_half=self.components,
            connectivity=3**spatial_dims - 1,
            index=index,
            per_channel=parts,
        )


def _merged(totals: Sequence[_Total], components: int | None = None) -> _Total:
    return _Total(
        voxels=sum(t.voxels for t in totals),
        sum=math.fsum(t.sum for t in totals),
        variance=math.fsum(t.variance for t in totals),
        entropy=math.fsum(t.entropy for t in totals),
        min=min(t.min for t in totals),
        max=max(t.max for t in totals),
        counts=np.sum([t.counts for t in totals], axis=0),
        above_half=sum(t.above_half for t in totals),
        components=sum(t.components for t in totals) if components is None else components,
    )


def _total(array: npt.NDArray[Any]) -> _Total:
    """Return the totals of one map without mapped axes."""
    totals = [_block_total(_float64(array[part])) for part in _blocks(array.shape)]
    return _merged(totals, count_components(array, 0.5, 3**array.ndim - 1))


def _block_total(p: npt.NDArray[np.float64]) -> _Total:
    low, high = float(p.min()), float(p.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"probabilities lie in [0, 1]; this map has values from {low:g} to {high:g}.")
    bins = np.minimum((p * BINS).astype(np.uint8), BINS - 1)
    # Certain voxels, most of a typical map, add neither variance nor entropy.
    uncertain = p[(p > 0) & (p < 1)]
    other = 1 - uncertain
    logs = uncertain * np.log2(uncertain) + other * np.log2(other)
    return _Total(
        voxels=p.size,
        sum=float(p.sum()),
        variance=float((uncertain * other).sum()),
        entropy=-float(logs.sum()),
        min=low,
        max=high,
        counts=np.bincount(bins.ravel(), minlength=BINS),
        above_half=int(np.count_nonzero(p > 0.5)),
        components=0,
    )


def _float64(block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    # C order whatever the memory layout: the order of a sum must not depend on how the map was loaded.
    return np.ascontiguousarray(block, dtype=np.float64)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int | slice, ...]]:
    """Yield indices of blocks of at most BLOCK_VOXELS voxels, or of one row where that is longer."""
    if len(shape) > 2 and math.prod(shape[1:]) > BLOCK_VOXELS:
        yield from ((plane, *rest) for plane in range(shape[0]) for rest in _blocks(shape[1:]))
    else:
        yield from ((rows,) for rows in row_ranges(shape, BLOCK_VOXELS))
