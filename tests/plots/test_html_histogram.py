"""Histograms and tables of the inspection page: all values counted, all marks inside the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from softmorph_cli.plots.html.histogram import HEIGHT, WIDTH, histogram, round_up
from softmorph_cli.plots.html.tables import figures


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0],
        [1.0] * 50,
        [0.7, 0.7000000000000001],
        np.linspace(0.5, 1, 1001),
        np.arange(1, 400) * 0.1,
        np.random.default_rng(0).lognormal(0, 1.5, 20_000),
        [1e-6, 2e-6, 5e-6],
        [1.0] * 20 + [3e5],
        -np.arange(5.0),
    ],
    ids=["one", "zero", "equal", "rounding", "certainty", "tenths", "skewed", "nm", "outlier", "negative"],
)
def test_a_histogram_holds_all_values_inside_its_frame(values: npt.NDArray[Any] | list[float]) -> None:
    drawn = histogram(np.asarray(values), name="Radius", unit="mm", counted="voxels", note="Counted.")
    assert sum(drawn.counts) == len(values)
    assert list(drawn.counts) == np.histogram(values, drawn.edges)[0].tolist()
    assert 1 <= len(drawn.counts) <= 80
    assert len(drawn.bars) == sum(count > 0 for count in drawn.counts)
    for bar in drawn.bars:
        assert drawn.left - 0.01 <= bar.x
        assert bar.x + bar.width <= WIDTH
        assert bar.y >= 0
        assert bar.height >= 1
        assert bar.y + bar.height <= HEIGHT
    assert 2 <= len(drawn.up) <= 6
    assert len(drawn.across) <= 12
    assert all(drawn.left - 0.01 <= tick.place <= WIDTH for tick in drawn.across)
    words = [tick.words for tick in drawn.across]
    assert len(set(words)) == len(words) >= 1


def test_a_long_tail_has_a_logarithmic_axis_and_a_note() -> None:
    tail = histogram(
        np.random.default_rng(0).lognormal(0, 1.5, 5000), name="Length", unit="mm", counted="x", note="N."
    )
    assert tail.note.endswith("The axis is logarithmic.")
    ratios = np.divide(tail.edges[2:-1], tail.edges[1:-2])
    assert np.allclose(ratios, ratios[0])
    flat = histogram(np.linspace(1, 2, 50), name="Length", unit="mm", counted="x", note="N.")
    assert "logarithmic" not in flat.note
    assert np.allclose(np.diff(flat.edges), flat.edges[1] - flat.edges[0])


def test_round_steps() -> None:
    assert [round_up(v) for v in (1, 1.01, 2, 3, 0.3, 0.7, 5.1, 1e-4)] == [1, 2, 2, 5, 0.5, 1, 10, 1e-4]


def test_figures_of_a_column_share_their_decimals() -> None:
    assert figures([1234.5678, 12.3456, None, 1.0]) == ["1,234.57", "12.35", "\u2013", "1.00"]
    assert figures([-0.0001, 2.0], 2) == ["0.00", "2.00"]
    assert figures([None]) == ["\u2013"]
    assert figures([0.0, 0.0]) == ["0", "0"]
