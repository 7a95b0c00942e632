"""Means and their intervals."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from softmorph_cli import bootstrap
from softmorph_cli.bootstrap import mean_and_interval
from softmorph_cli.metrics.folders import summarize


def test_an_interval_holds_the_mean_and_narrows_with_more_values() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 200)
    mean, low, high = mean_and_interval(values.tolist(), 0)
    assert mean == pytest.approx(values.mean())
    # The interval of the mean of a normal distribution.
    half = 1.96 * values.std(ddof=1) / 200**0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)
    assert mean_and_interval([], 0) == (None, None, None)
    assert mean_and_interval([0.5], 0) == (0.5, None, None)
    assert mean_and_interval([0.5, 0.5], 0) == (0.5, 0.5, 0.5)
    found = summarize([None, *values.tolist()], 0)
    assert (found.mean, found.low, found.high, found.undefined) == (mean, low, high, 1)


@pytest.mark.parametrize("value", [0.9, 1e-12, 3e7])
def test_values_that_differ_in_the_last_bit_are_equal(value: float) -> None:
    values = [value, float(np.nextafter(value, 1e9)), value]
    mean, low, high = mean_and_interval(values, 0)
    assert mean == low == high == pytest.approx(value, rel=1e-12)
    found = summarize(values, 0)
    assert found.low == found.high == found.mean


def test_a_bound_that_is_not_defined_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interval:
        low, high = float("nan"), 0.7

    class Found:
        confidence_interval = Interval

    monkeypatch.setattr("scipy.stats.bootstrap", lambda *_, **__: Found)
    assert mean_and_interval([0.5, 0.75], 0) == (0.625, None, 0.7)


def test_the_examples_of_docstrings_run() -> None:
    tried = doctest.testmod(bootstrap)
    assert (tried.failed, tried.attempted) == (0, 1)
