"""The volume under one common threshold: its standard deviation and quantiles against counting by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softmorph_cli.metrics import statistics, volume_columns
from softmorph_cli.metrics.comonotone import ComonotoneVariance
from softmorph_cli.metrics.statistics import Quantiles, Statistics

# What the docstring of ComonotoneVariance states: at most so much too large, and never too small.
BOUND = 1 + 1 / 1500
ROUNDING = 1e-12

any_maps = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6),
    elements=st.floats(2**-40, 1, width=32) | st.just(0.0),
)
coarse_maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6),
    elements=st.integers(0, 1024).map(lambda k: k / 1024),
)


def volumes(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each volume that {p > U} may have, in voxels, and its probability."""
    cuts = np.unique([0.0, 1.0, *p.ravel().astype(np.float64)])
    # Between two neighbouring values the mask is the same whatever U is.
    counts = np.array([np.count_nonzero(p > u) for u in (cuts[1:] + cuts[:-1]) / 2])
    return counts, np.diff(cuts)


def exact_std(p: np.ndarray) -> float:
    """Return the standard deviation of the volume, about the mean so that nothing cancels."""
    counts, chances = volumes(p)
    mean = math.fsum(counts * chances)
    return math.sqrt(math.fsum(chances * (counts - mean) ** 2))


@given(any_maps)
def test_the_standard_deviation_is_that_of_the_enumerated_thresholds(p: np.ndarray) -> None:
    found = Statistics.of(p, spatial_dims=p.ndim)
    exact = exact_std(p)
    assert exact * (1 - 1e-9) <= found.volume_std_comonotone <= exact * BOUND + ROUNDING


@given(coarse_maps, st.integers(1, 40))
def test_it_is_exact_where_each_bin_has_one_value(p: np.ndarray, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "BLOCK_VOXELS", block)
        found = Statistics.of(p, spatial_dims=p.ndim)
    assert found.volume_std_comonotone == pytest.approx(exact_std(p), rel=1e-9, abs=1e-9)


def test_eight_bits_are_exact_too() -> None:
    p = (np.arange(256, dtype=np.float32) / 255).reshape(16, 16)
    found = Statistics.of(p, spatial_dims=2).volume_std_comonotone
    assert found == pytest.approx(exact_std(p), rel=1e-12)


@pytest.mark.parametrize("low", [2**-60, 2**-20, 0.25, 0.5 - 2**-10])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_worst_case_within_one_bin_is_near_the_bound(low: float, mirrored: bool) -> None:
    # Half of the voxels at either end of a bin: an octave has 256 of them.
    width = 2.0 ** (math.floor(math.log2(low)) - 8)
    values = np.repeat([low, np.nextafter(low + width, 0)], 500)
    held = ComonotoneVariance()
    if mirrored:
        held.add(1 - values, values)
    else:
        held.add(values, 1 - values)
    # All of the lower half, or all voxels, or none; p and 1 - p have the same spread.
    a, b = values[0], values[-1]
    mean = 1000 * a + 500 * (b - a)
    exact = a * (1000 - mean) ** 2 + (b - a) * (500 - mean) ** 2 + (1 - b) * mean**2
    too_large = math.sqrt(held.variance / exact)
    assert 1 - ROUNDING <= too_large <= BOUND
    if (
        low == 0.25
    ):  # of the first parts of octaves, which are the widest for their values, the nearest to 1/2
        assert too_large > 1 + 1 / 1600


@given(any_maps)
def test_independent_voxels_vary_less(p: np.ndarray) -> None:
    found = Statistics.of(p, spatial_dims=p.ndim)
    assert found.volume_std == found.volume_std_independent <= found.volume_std_comonotone


@given(any_maps)
def test_quantiles_are_the_smallest_volumes_that_are_likely_enough(p: np.ndarray) -> None:
    found = Statistics.of(p, spatial_dims=p.ndim).volume_quantiles
    q = p.astype(np.float64)
    assert found == Quantiles(*(float(np.count_nonzero(q > t)) for t in (0.95, 0.5, 0.05)))
    counts, chances = volumes(p)
    order = np.argsort(counts)
    reached = np.cumsum(chances[order])
    for level, quantile in zip((0.05, 0.5, 0.95), dataclasses.astuple(found), strict=True):
        # The sums of probabilities are rounded: a sum that close to the level may be on either side of it.
        least = counts[order][np.searchsorted(reached, level - 1e-12)]
        most = counts[order][min(int(np.searchsorted(reached, level + 1e-12)), len(counts) - 1)]
        assert least <= quantile <= most


def test_values_on_a_threshold_are_not_above_it() -> None:
    p = np.array([[0.05, 0.5, 0.95, 1.0]])
    assert Statistics.of(p, spatial_dims=2).volume_quantiles == Quantiles(1.0, 2.0, 3.0)


def test_two_voxels_worked_out_on_paper() -> None:
    # {p > U} has 2 voxels with probability 1/4, 1 with 1/2, none with 1/4: variance 1/2; independent 2 x 3/16.
    found = Statistics.of(np.array([[0.25, 0.75]]), spacing=(2.0, 2.0), unit="mm", spatial_dims=2)
    assert found.volume_std_comonotone == pytest.approx(4 * math.sqrt(1 / 2), rel=1e-15)
    assert found.volume_std_independent == pytest.approx(4 * math.sqrt(3 / 8), rel=1e-15)
    assert found.volume_quantiles == Quantiles(0.0, 4.0, 8.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mask_is_certain(dtype: type) -> None:
    mask: np.ndarray = (np.random.default_rng(0).random((6, 7, 8)) > 0.4).astype(dtype)
    found = Statistics.of(mask, spatial_dims=3)
    assert (found.volume_std_independent, found.volume_std_comonotone) == (0.0, 0.0)
    assert found.volume_quantiles == Quantiles(*[float(mask.sum())] * 3)


def test_certain_voxels_cause_no_loss_of_precision() -> None:
    # As the mean of squares less the square of the mean nothing but rounding would be left.
    p = np.ones((3000, 1000), np.float32)
    p[0, :3] = (2**-30, 2**-30, 2**-30)
    variance = 9 * 2**-30 * (1 - 2**-30)
    assert Statistics.of(p, spatial_dims=2).volume_std_comonotone == pytest.approx(
        math.sqrt(variance), rel=1e-12
    )


def test_voxels_below_all_bins_are_within_the_stated_bound() -> None:
    p = np.array([[2.0**-70, 2.0**-64, 1e-300, 5e-324]])
    found = Statistics.of(p, spatial_dims=2).volume_std_comonotone
    exact = math.sqrt(7 * 2.0**-70 + (2.0**-64 - 2.0**-70))
    assert exact * 0.999 <= found <= exact + p.size * 2**-32


def test_one_threshold_decides_for_all_channels() -> None:
    p = np.random.default_rng(1).integers(0, 257, (2, 3, 4, 5)) / 256
    found = Statistics.of(p, spatial_dims=2)
    for part in found.per_channel:
        assert part.volume_std_comonotone == pytest.approx(exact_std(p[part.index]), rel=1e-12)
    assert found.volume_std_comonotone == pytest.approx(exact_std(p), rel=1e-12)
    for name in ("q05", "q50", "q95"):
        parts = (getattr(part.volume_quantiles, name) for part in found.per_channel)
        assert getattr(found.volume_quantiles, name) == sum(parts)


def test_the_sample_tree() -> None:
    file: Any = nibabel.load(Path(__file__).parents[2] / "sample_data" / "vessel_tree.nii.gz")
    p = np.asarray(file.dataobj, np.float64).T
    spacing = tuple(float(size) for size in file.header.get_zooms()[::-1])
    found = Statistics.of(p, spacing=spacing, unit="mm", spatial_dims=3)
    voxel = math.prod(spacing)
    told = (found.expected_volume, *dataclasses.astuple(found.volume_quantiles))
    assert told == pytest.approx([p.sum() * voxel, *((p > t).sum() * voxel for t in (0.95, 0.5, 0.05))])
    assert [round(volume) for volume in told] == [2797, 419, 2250, 7007]
    falling = np.sort(p, axis=None)[::-1]
    squares = ((2 * np.arange(p.size) + 1) * falling).sum()
    assert found.volume_std_comonotone == pytest.approx(math.sqrt(squares - p.sum() ** 2) * voxel, rel=1e-9)


@pytest.mark.parametrize("unit", ["mm", None])
@pytest.mark.parametrize("dims", [2, 3])
def test_columns_are_the_same_in_voxels_and_in_millimetres(unit: str | None, dims: int) -> None:
    p = np.random.default_rng(2).random((6,) * dims)
    found = Statistics.of(p, spacing=(0.3,) * dims, unit=unit, spatial_dims=dims)
    columns = volume_columns.of(found)
    kind = {2: "area_mm2", 3: "volume_mm3"}[dims]
    assert {name for name in columns if name.startswith("q05")} == {"q05_voxels"} | (
        {f"q05_{kind}"} if unit else set()
    )
    assert set(columns) - set(volume_columns.SPREAD) == {
        f"{figure}_{name}"
        for figure in ("expected", "std")
        for name in (["voxels", kind] if unit else ["voxels"])
    }
    assert columns["q50_voxels"] == found.voxels_above_half
    assert columns["std_comonotone_voxels"] == pytest.approx(exact_std(p), rel=1e-3)
    if unit:
        for figure in ("expected", "std", "std_independent", "std_comonotone", "q05", "q50", "q95"):
            assert columns[f"{figure}_{kind}"] == pytest.approx(columns[f"{figure}_voxels"] * 0.3**dims)


@pytest.mark.parametrize("described", [Statistics, Quantiles])
def test_every_field_is_described(described: type) -> None:
    for field in dataclasses.fields(described):
        assert f"\n        {field.name}: " in str(described.__doc__)
