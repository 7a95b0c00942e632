from __future__ import annotations

import json
from math import floor
from typing import Any

import numpy as np
import pytest

from softmorph_cli.errors import UsageError
from softmorph_cli.kernels.level_sets import LevelSets, nested_levels, round_down

COUNTS = (8, 16, 32, 64)


@pytest.mark.parametrize("count", [1, 8, 10, 64, 192])
def test_thresholds_begin_at_half_a_level_and_hold_every_level(count: int) -> None:
    sets = LevelSets(count)
    assert sets.thresholds.tolist() == [1 / (2 * count), *(k / count for k in range(1, count))]
    assert sets.upper_bounds.tolist() == [*sets.thresholds[1:], 1.0]
    assert 0.5 in sets.thresholds or count % 2


@pytest.mark.parametrize(
    ("lowest", "begin"), [(0.0, [0, 1 / 8]), (0.01, [0.01, 1 / 8]), (1 / 8, [1 / 8, 1 / 4]), (0.9, [0.9])]
)
def test_the_lowest_threshold_takes_the_place_of_those_below(lowest: float, begin: list[float]) -> None:
    sets = LevelSets(8, lowest)
    assert sets.thresholds[:2].tolist() == begin
    assert sets.upper_bounds[-1] == 1
    assert len(sets.thresholds) == 8 - max(0, floor(lowest * 8))


def test_nearest_is_the_lower_of_two() -> None:
    assert LevelSets(8).nearest(0.4) == 0.375
    assert LevelSets(8).nearest(0.3125) == 0.25
    assert LevelSets(8).nearest(0.0) == 1 / 16
    assert LevelSets(8).nearest(0.99) == 7 / 8


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("maximum", [255, 65535])
def test_codes_are_those_of_the_definition_and_leave_none_out(count: int, maximum: int) -> None:
    sets = LevelSets(count)
    low, high = sets.codes(maximum)
    assert low.tolist() == [floor(t * maximum) + 1 for t in sets.thresholds]
    assert high.tolist() == [floor(t * maximum) for t in sets.upper_bounds]
    assert low[1:].tolist() == (high[:-1] + 1).tolist()
    assert high[-1] == maximum


@pytest.mark.parametrize("sets", [LevelSets(192), LevelSets(1024), LevelSets(4096), LevelSets(64, 0.0101)])
def test_codes_stay_in_their_bin_however_a_program_scales_them(sets: LevelSets) -> None:
    maximum = 65535
    for codes in sets.codes(maximum):
        slope = np.float32(1 / maximum)
        for read in (
            codes / maximum,
            codes.astype(np.float32) / np.float32(maximum),
            codes.astype(np.float32) * slope,
            codes * np.float64(slope),
        ):
            assert sets.bins(read).tolist() == list(range(len(sets.thresholds)))
            # As NumPy compares float32 with a Python number.
            assert all(read > t for read, t in zip(read, sets.thresholds.tolist(), strict=True))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("sets", [LevelSets(16), LevelSets(192), LevelSets(64, 0.0101)])
def test_floats_lie_in_their_bin_in_both_types(sets: LevelSets, dtype: str) -> None:
    low, high = sets.floats(dtype)
    assert low.dtype == high.dtype == dtype
    for bounds in (low, high):
        assert sets.bins(bounds).tolist() == list(range(len(sets.thresholds)))
    narrow = sets.thresholds.astype(dtype)
    assert (low > narrow).all()
    assert (np.nextafter(low, low.dtype.type(0)) <= np.maximum(sets.thresholds, narrow)).all()
    # No number between is left out.
    assert (np.nextafter(high[:-1], high.dtype.type(2)) >= np.minimum(low[1:], narrow[1:])).all()


@pytest.mark.parametrize(
    ("sets", "dtype", "says"),
    [
        (LevelSets(128), "uint8", "128 levels .* uint8; write output_type='uint16', .* levels=64"),
        (LevelSets(1 << 15), "uint16", "write output_type='float32', .* levels=16384"),
        (LevelSets(4096), "float16", "write output_type='float32', .* levels=2048"),
        (
            LevelSets(16, 0.0624),
            "uint8",
            "lowest 0\\.0624 and .* give lowest=0.0625, or write output_type='uint16'",
        ),
    ],
)
def test_types_that_cannot_tell_levels_apart_are_refused(sets: LevelSets, dtype: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        sets.bounds(dtype)


@pytest.mark.parametrize("arguments", [(0,), (-8,), (2.5,), (True,), ("exact",), (8, 1.0), (8, -0.1)])
def test_invalid_thresholds_are_refused(arguments: Any) -> None:
    with pytest.raises(UsageError, match=r"^(levels|lowest) is"):
        LevelSets(*arguments)


def test_rounding_down_is_never_above_and_never_further_than_the_next() -> None:
    values = np.random.default_rng(0).random(1000)
    for dtype in (np.float16, np.float32):
        down = round_down(values, dtype)
        assert (down <= values).all()
        assert (np.nextafter(down, dtype(2)) > values).all()
        assert np.array_equal(round_down(down, dtype), down)


NESTED = {"method": "nested", "levels": 16, "finish": True}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        (NESTED, LevelSets(16)),
        (NESTED | {"lowest": 0.02, "mask": "brain.nii.gz", "resample": "iso"}, LevelSets(16, 0.02)),
        (NESTED | {"levels": "exact"}, "exact"),
        ({"steps": [{"operation": "close"}, {"operation": "skeletonize", **NESTED}]}, LevelSets(16)),
        ({"steps": [{"operation": "skeletonize", **NESTED}, {"operation": "dilate"}]}, None),
        ({"steps": []}, None),
        (NESTED | {"method": "levels"}, None),
        (NESTED | {"renormalize": True}, None),
        (NESTED | {"argmax": True}, None),
        (NESTED | {"levels": "sixteen"}, None),
        (NESTED | {"lowest": "low"}, None),
        ("nested", None),
        (None, None),
    ],
)
def test_levels_are_found_only_where_nothing_came_after(parameters: Any, found: Any) -> None:
    made = {"command": "softmorph skeletonize", "version": "1", "parameters": parameters}
    assert nested_levels(json.loads(json.dumps(made))) == found
    assert nested_levels(made | {"read_with": {"resolution": 1}}) is None


def test_levels_of_nothing_are_none() -> None:
    assert nested_levels({}) is None
