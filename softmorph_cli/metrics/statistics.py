"""Statistics of a probability map: expected volume, histogram, entropy, components.

Values are summed in float64 over blocks of fixed size in a fixed order, so that the sums are equal on every machine and
for any number of threads. Memory for one block is needed in addition to the map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.io.documents import data_frame
from softmorph_cli.metrics import volume_columns
from softmorph_cli.metrics.comonotone import ComonotoneVariance
from softmorph_cli.system.printable import plural
from softmorph_cli.system.units import COUNTED, length
from softmorph_cli.topology import components

if TYPE_CHECKING:
    import pandas

# A power of two: the edges k / 32 are exact in every float type, so a value on an edge has the same bin in each.
BINS: Final = 32
# Small enough for intermediate arrays to stay in cache, and for the allocator to reuse their memory.
BLOCK_VOXELS: Final = 2**15
# The volume of {p > U} falls as U rises: its 5 % quantile is the volume above 0.95.
QUANTILE_THRESHOLDS: Final = (0.95, 0.5, 0.05)


@dataclass(frozen=True)
class Histogram:
    """Histogram of the probabilities.

    Attributes:
        edges: Bounds of the bins, one more than bins; a bin includes its lower bound, the last bin both bounds.
        counts: Number of voxels in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of the volume of {p > U}, where one threshold U, uniform on [0, 1], applies to all voxels.

    The quantile at a is the smallest volume v with P(volume <= v) >= a. As {p > U} shrinks when U rises, it is the
    volume of {p > 1 - a}, exactly, also with ties. p is compared in double precision: 0.95 as a float32 is not above
    0.95.

    Attributes:
        q05: The 5 % quantile: the volume above 0.95.
        q50: The median: the volume above 0.5.
        q95: The 95 % quantile: the volume above 0.05.
    """

    q05: float
    q50: float
    q95: float


@dataclass(frozen=True, repr=False)
class Statistics:
    """Statistics of one probability map p.

    The foreground is a random mask in which each voxel is set with probability p, which determines the expected volume.
    Its spread depends on the dependence between voxels. Independent voxels average out: a lower bound unless voxels
    are negatively correlated. Comonotone voxels share one threshold U, uniform on [0, 1], and the mask is {p > U}: an
    upper bound on the variance for these probabilities.

    Attributes:
        sum: Sum of p: the expected number of foreground voxels.
        expected_volume: `sum` times the volume of a voxel, in `volume_unit`.
        volume_std: The same as `volume_std_independent`.
        volume_std_independent: Standard deviation of the volume of independent voxels, sqrt(sum p(1 - p)) times the
            volume of a voxel.
        volume_std_comonotone: Standard deviation of the volume of comonotone voxels; never too small, and at most
            0.07 % too large (see `ComonotoneVariance`).
        volume_quantiles: 5, 50 and 95 % quantiles of the volume of comonotone voxels, exact.
        volume_unit: "mm^3", "um^3" or "nm^3", as in the file; in 2D "mm^2", ...; "voxels", in 2D "pixels", if the voxel
            size or its unit is unknown.
        mean: Mean of p over all voxels.
        min: Smallest p.
        max: Largest p.
        histogram: Voxels in 32 bins of equal width over [0, 1].
        entropy_bits: Entropy of the map in bits, the sum of -p log2 p - (1 - p) log2 (1 - p).
        voxels_above_half: Voxels with p > 0.5.
        components_above_half: Connected components of p > 0.5, counted in each channel and time.
        connectivity: Connectivity of the components: 8 in 2D, 26 in 3D.
        index: Index of a single channel or time along the mapped axes of the map; empty for a whole map.
        per_channel: Statistics of each channel and time, in C order; empty for a map without mapped axes.
    """

    sum: float
    expected_volume: float
    volume_std: float
    volume_std_independent: float
    volume_std_comonotone: float
    volume_quantiles: Quantiles
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

    def __repr__(self) -> str:
        """Return a short text with the expected volume, its standard deviations and the number of components."""
        parts = f", {len(self.per_channel)} channels" if self.per_channel else ""
        return (
            f"<Statistics: volume {self.expected_volume:.4g} {self.volume_unit}, std {self.volume_std_independent:.3g} "
            f"(independent) to {self.volume_std_comonotone:.3g} (comonotone), "
            f"{plural(self.components_above_half, 'component')} above 0.5{parts}>"
        )

    def as_row(self) -> dict[str, Any]:
        """Return one row of a table, as values by column name, without the statistics of single channels."""
        figures = {name: getattr(self, name) for name in volume_columns.FIGURES}
        return {"voxels": sum(self.histogram.counts), **volume_columns.of(self), **figures}

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row for each channel, or one row for a map without channels.

        The columns are those of the CSV.

        `index` is the index of a channel along the mapped axes, a number if there is one such axis.

        Raises:
            UsageError: If pandas is not installed.
        """
        rows = []
        for part in self.per_channel or (self,):
            place = {"index": part.index[0] if len(part.index) == 1 else part.index} if part.index else {}
            rows.append({**place, **part.as_row()})
        return data_frame(rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as a JSON object; `index` and `per_channel` are left out if they are empty."""

        def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {name: list(v) if isinstance(v, tuple) else v for name, v in items if v != ()}

        return asdict(self, dict_factory=plain)

    @classmethod
    def of(
        cls,
        array: npt.NDArray[Any],
        *,
        spacing: Sequence[float] | None = None,
        unit: str | None = None,
        spatial_dims: int,
    ) -> Statistics:
        """Return the statistics of a probability map, and of each of its channels.

        Args:
            array: Probabilities in [0, 1], shape (..., Y, X) or (..., Z, Y, X), with mapped axes (time, channel) in
                front. Any memory layout; read only.
            spacing: Size of a voxel along each spatial axis, in array order.
            unit: Unit of `spacing`: "mm", "um", "nm", ...; volumes are in its square (2D) or cube (3D).
            spatial_dims: Number of spatial axes: 2 or 3.

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
        scale, known = length(1.0, unit)
        voxel, volume_unit = 1.0, COUNTED[spatial_dims]
        if spacing is not None and known is not None:
            voxel, volume_unit = math.prod(size * scale for size in spacing), f"{known}^{spatial_dims}"

        mapped = array.shape[: array.ndim - spatial_dims]
        together, totals = ComonotoneVariance(), []
        for index in np.ndindex(mapped):
            comonotone = ComonotoneVariance()
            totals.append(_total(array[index], comonotone))
            together.merge(comonotone)
        parts = tuple(
            total.statistics(voxel, volume_unit, spatial_dims, index)
            for index, total in zip(np.ndindex(mapped), totals, strict=True)
        )
        if not mapped:
            return parts[0]
        whole = _merged(totals, together.variance, sum(total.components for total in totals))
        return whole.statistics(voxel, volume_unit, spatial_dims, (), parts)


def change(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> dict[str, float]:
    """Return how much two maps of the same shape differ.

    Returns:
        `sum_abs`, the sum of |after - before| over all voxels, and `max_abs`, the maximum.

    Raises:
        InputError: If the shapes differ.
    """
    if before.shape != after.shape:
        raise InputError(f"maps of shape {before.shape} and {after.shape} cannot be compared voxel by voxel.")
    sums, largest = [], 0.0
    for part in _blocks(before.shape):
        difference = np.abs(_float64(after[part]) - _float64(before[part]))
        sums.append(float(difference.sum()))
        largest = max(largest, float(difference.max()))
    return {"sum_abs": math.fsum(sums), "max_abs": largest}


@dataclass(frozen=True)
class _Total:
    """Sums over the voxels of a block, a map or several maps.

    The comonotone variance and the number of components cannot be added up over blocks, so they are 0 for a block.
    """

    voxels: int
    sum: float
    variance: float
    entropy: float
    min: float
    max: float
    counts: npt.NDArray[np.int64]
    # Number of voxels above each of QUANTILE_THRESHOLDS.
    above: npt.NDArray[np.int64]
    comonotone_variance: float = 0.0
    components: int = 0

    def statistics(
        self,
        voxel: float,
        volume_unit: str,
        spatial_dims: int,
        index: tuple[int, ...],
        parts: tuple[Statistics, ...] = (),
    ) -> Statistics:
        independent = math.sqrt(self.variance) * voxel
        return Statistics(
            sum=self.sum,
            expected_volume=self.sum * voxel,
            volume_std=independent,
            volume_std_independent=independent,
            # If both are equal, as for one uncertain voxel, rounding must not reverse their order.
            volume_std_comonotone=max(math.sqrt(self.comonotone_variance) * voxel, independent),
            volume_quantiles=Quantiles(*(int(count) * voxel for count in self.above)),
            volume_unit=volume_unit,
            mean=self.sum / self.voxels,
            min=self.min,
            max=self.max,
            histogram=Histogram(
                tuple(k / BINS for k in range(BINS + 1)), tuple(int(count) for count in self.counts)
            ),
            entropy_bits=self.entropy,
            voxels_above_half=int(self.above[QUANTILE_THRESHOLDS.index(0.5)]),
            components_above_half=self.components,
            connectivity=3**spatial_dims - 1,
            index=index,
            per_channel=parts,
        )


def _merged(totals: Sequence[_Total], comonotone_variance: float, components: int) -> _Total:
    return _Total(
        voxels=sum(t.voxels for t in totals),
        sum=math.fsum(t.sum for t in totals),
        variance=math.fsum(t.variance for t in totals),
        entropy=math.fsum(t.entropy for t in totals),
        min=min(t.min for t in totals),
        max=max(t.max for t in totals),
        counts=np.sum([t.counts for t in totals], axis=0),
        above=np.sum([t.above for t in totals], axis=0),
        comonotone_variance=comonotone_variance,
        components=components,
    )


def _total(array: npt.NDArray[Any], comonotone: ComonotoneVariance) -> _Total:
    """Return the sums over the voxels of a map without mapped axes, and add the voxels to `comonotone`."""
    totals = [_block_total(_float64(array[part]), comonotone) for part in _blocks(array.shape)]
    return _merged(totals, comonotone.variance, components.count_components(array, 0.5, 3**array.ndim - 1))


def _block_total(p: npt.NDArray[np.float64], comonotone: ComonotoneVariance) -> _Total:
    low, high = float(p.min()), float(p.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"probabilities lie in [0, 1]; this map has values from {low:g} to {high:g}.")
    bins = np.minimum((p * BINS).astype(np.uint8), BINS - 1)
    # Certain voxels, the majority in a typical map, have neither variance nor entropy.
    uncertain = p[(p > 0) & (p < 1)]
    other = 1 - uncertain
    comonotone.add(uncertain, other)
    logs = uncertain * np.log2(uncertain) + other * np.log2(other)
    return _Total(
        voxels=p.size,
        sum=float(p.sum()),
        variance=float((uncertain * other).sum()),
        entropy=-float(logs.sum()),
        min=low,
        max=high,
        counts=np.bincount(bins.ravel(), minlength=BINS),
        above=np.array([np.count_nonzero(p > threshold) for threshold in QUANTILE_THRESHOLDS]),
    )


def _float64(block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    # In C order, so that the order of a sum does not depend on the memory layout of the map.
    return np.ascontiguousarray(block, dtype=np.float64)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int | slice, ...]]:
    """Yield indices that select blocks of at most BLOCK_VOXELS voxels each, but of at least one row."""
    if len(shape) > 2 and math.prod(shape[1:]) > BLOCK_VOXELS:
        yield from ((plane, *rest) for plane in range(shape[0]) for rest in _blocks(shape[1:]))
    else:
        yield from ((rows,) for rows in components.row_ranges(shape, BLOCK_VOXELS))
