"""Statistics against answers worked out on paper, and against plain formulas on random maps."""

from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from softmorph_cli.errors import InputError
from softmorph_cli.metrics import statistics
from softmorph_cli.metrics.statistics import Statistics, change
from softmorph_cli.topology import components

FIELDS = {
    "sum",
    "expected_volume",
    "volume_std",
    "volume_std_independent",
    "volume_std_comonotone",
    "volume_quantiles",
    "volume_unit",
    "mean",
    "min",
    "max",
    "histogram",
    "entropy_bits",
    "voxels_above_half",
    "components_above_half",
    "connectivity",
}

probability_maps = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7),
    elements=st.integers(0, 16).map(lambda k: k / 16),
)


def test_a_map_worked_out_on_paper() -> None:
    p = np.array([[0.0, 0.5, 1.0], [0.25, 0.0, 0.75]], dtype=np.float32)
    found = Statistics.of(p, spacing=(2.0, 0.5), unit="mm", spatial_dims=2)
    assert found.sum == 2.5
    assert found.expected_volume == 2.5
    assert found.mean == 2.5 / 6
    # p(1 - p): 1/4 + 3/16 + 3/16; the voxel is 1 mm^2.
    assert found.volume_std == math.sqrt(0.625)
    # One bit for the 0.5, and H(1/4) = 2 - 3/4 log2(3) twice.
    assert found.entropy_bits == pytest.approx(1 + 2 * (2 - 0.75 * math.log2(3)), rel=1e-15)
    assert (found.min, found.max) == (0.0, 1.0)
    assert (found.voxels_above_half, found.components_above_half, found.connectivity) == (2, 1, 8)
    counts = dict(enumerate(found.histogram.counts))
    assert {k: n for k, n in counts.items() if n} == {0: 2, 8: 1, 16: 1, 24: 1, 31: 1}
    assert found.histogram.edges[8] == 0.25


@pytest.mark.parametrize(
    ("spacing", "unit", "volume", "volume_unit"),
    [
        ((2.0, 3.0, 4.0), "mm", 24.0, "mm^3"),
        ((2.0, 3.0, 4.0), "um", 24.0, "um^3"),
        ((2.0, 3.0, 4.0), "nm", 24.0, "nm^3"),
        ((2.0, 3.0, 4.0), "micrometer", 24.0, "um^3"),
        ((20.0, 30.0, 40.0), "angstrom", 24.0, "nm^3"),
        ((0.2, 0.3, 0.4), "cm", 24.0, "mm^3"),
        ((2.0, 3.0, 4.0), None, 1.0, "voxels"),
        ((2.0, 3.0, 4.0), "furlong", 1.0, "voxels"),
        (None, "mm", 1.0, "voxels"),
    ],
)
def test_volumes_are_in_the_unit_of_the_voxel_size(
    spacing: tuple[float, ...] | None, unit: str | None, volume: float, volume_unit: str
) -> None:
    found = Statistics.of(np.full((1, 1, 4), 0.5), spacing=spacing, unit=unit, spatial_dims=3)
    assert found.volume_unit == volume_unit
    assert found.expected_volume == pytest.approx(2 * volume, rel=1e-12)
    assert found.volume_std == pytest.approx(volume, rel=1e-12)


def test_the_json_has_the_fields_of_its_schema_and_nothing_but_plain_values() -> None:
    found = Statistics.of(np.full((3, 4), 0.5), spatial_dims=2).as_dict()
    assert set(found) == FIELDS
    assert set(found["histogram"]) == {"edges", "counts"}
    assert set(found["volume_quantiles"]) == {"q05", "q50", "q95"}
    assert len(found["histogram"]["edges"]) == len(found["histogram"]["counts"]) + 1
    assert json.loads(json.dumps(found)) == found


def test_components_touch_at_corners_but_half_is_not_above_half() -> None:
    drawing = ["#.#..#", ".#....", "......", "h#hh##"]
    p = np.array([[{"#": 0.9, "h": 0.5, ".": 0.0}[c] for c in row] for row in drawing])
    assert Statistics.of(p, spatial_dims=2).components_above_half == 4
    corners = np.zeros((4, 4, 4))
    corners[0, 0, 0] = corners[1, 1, 1] = corners[3, 3, 3] = 1
    found = Statistics.of(corners, spatial_dims=3)
    assert (found.components_above_half, found.connectivity) == (2, 26)


def test_channels_are_summarized_one_by_one_and_together() -> None:
    p = np.zeros((2, 3, 4, 5), dtype=np.float32)
    p[1, 2, 1:3, 1:3] = 1
    p[0, 1, 0, 0] = 0.75
    found = Statistics.of(p, spatial_dims=2)
    assert [part.index for part in found.per_channel] == [(t, c) for t in range(2) for c in range(3)]
    assert [part.sum for part in found.per_channel] == [0, 0.75, 0, 0, 0, 4]
    assert (found.sum, found.components_above_half, found.index) == (4.75, 2, ())
    assert found.mean == 4.75 / 120
    as_dict = found.as_dict()
    assert set(as_dict) == FIELDS | {"per_channel"}
    assert set(as_dict["per_channel"][5]) == FIELDS | {"index"}
    assert as_dict["per_channel"][5]["index"] == [1, 2]
    # The same array as a volume: its planes are no channels then, and touch each other.
    assert Statistics.of(p[1], spatial_dims=3).per_channel == ()


@given(probability_maps, st.integers(1, 9))
def test_blocks_of_any_size_give_what_the_plain_formulas_give(p: np.ndarray, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "BLOCK_VOXELS", block)
        patch.setattr(components, "LABEL_VOXELS", block)
        found = Statistics.of(p, spatial_dims=p.ndim)
    q = p.astype(np.float64)
    assert found.sum == q.sum()  # sixteenths: exact in any order
    assert found.volume_std == math.sqrt((q * (1 - q)).sum())
    assert (found.min, found.max) == (q.min(), q.max())
    assert list(found.histogram.counts) == np.histogram(q, bins=found.histogram.edges)[0].tolist()
    assert found.voxels_above_half == (q > 0.5).sum()
    assert found.components_above_half == ndimage.label(q > 0.5, np.ones((3,) * p.ndim))[1]
    inner = q[(q > 0) & (q < 1)]
    entropy = -(inner * np.log2(inner) + (1 - inner) * np.log2(1 - inner)).sum()
    assert found.entropy_bits == pytest.approx(entropy, abs=1e-9)


@given(probability_maps)
def test_a_map_turned_upside_down_in_probability(p: np.ndarray) -> None:
    found, opposite = (Statistics.of(q, spatial_dims=p.ndim) for q in (p, 1 - p))
    assert found.sum + opposite.sum == p.size
    assert found.volume_std == opposite.volume_std
    assert found.volume_std_comonotone == pytest.approx(opposite.volume_std_comonotone, rel=1e-12)
    assert found.entropy_bits == pytest.approx(opposite.entropy_bits, abs=1e-9)


def test_memory_layout_does_not_change_a_bit() -> None:
    for seed in range(8):  # two orders of summing may agree by chance
        p = np.random.default_rng(seed).random((70, 50, 170 + seed)) ** 9
        expected = Statistics.of(p, spatial_dims=3)
        assert Statistics.of(np.asfortranarray(p), spatial_dims=3) == expected
        assert Statistics.of(np.repeat(p, 2, axis=1)[:, ::2], spatial_dims=3) == expected


def test_the_input_is_not_modified() -> None:
    p = np.full((4, 5), 0.3)
    p.setflags(write=False)
    Statistics.of(p, spatial_dims=2)
    assert np.all(p == 0.3)


@settings(max_examples=20)
@given(probability_maps)
def test_change_of_a_map(p: np.ndarray) -> None:
    assert change(p, p) == {"sum_abs": 0.0, "max_abs": 0.0}
    other = p[::-1]
    found = change(p, other)
    assert found == {"sum_abs": float(np.abs(p - other).sum()), "max_abs": float(np.abs(p - other).max())}


def test_change_of_one_voxel_in_another_block() -> None:
    p = np.zeros((4, 3, 500, 600), dtype=np.float32)
    q = p.copy()
    q[3, 2, 499, 599], q[0, 0, 0, 0] = 0.75, 0.5
    assert change(p, q) == {"sum_abs": 1.25, "max_abs": 0.75}
    with pytest.raises(InputError, match=r"\(2, 3\).*\(3, 2\)"):
        change(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize("bad", [-0.25, 1.5, math.nan, math.inf])
def test_values_that_are_no_probabilities_are_refused(bad: float) -> None:
    p = np.zeros((3, 4))
    p[1, 1] = bad
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        Statistics.of(p, spatial_dims=2)


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        Statistics.of(np.zeros((0, 3)), spatial_dims=2)
    with pytest.raises(InputError, match="2 or 3 spatial axes"):
        Statistics.of(np.zeros((3, 3)), spatial_dims=3)
    with pytest.raises(InputError, match="2 numbers"):
        Statistics.of(np.zeros((3, 3)), spacing=(1.0, 1.0, 1.0), unit="mm", spatial_dims=2)


def test_memory_beside_the_map_is_a_fraction_of_it() -> None:
    p = np.random.default_rng(0).random((200, 256, 256), dtype=np.float32)
    Statistics.of(p[:8], spatial_dims=3)  # imports do not count
    tracemalloc.start()
    try:
        Statistics.of(p, spatial_dims=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < p.nbytes / 2


def test_statistics_are_frozen() -> None:
    found = Statistics.of(np.zeros((2, 2)), spatial_dims=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.sum = 1.0  # type: ignore[misc]
