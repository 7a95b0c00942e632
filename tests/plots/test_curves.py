"""Curves: labels do not overlap, times are formatted, the file is written whole or not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from softmorph_cli.errors import FileError
from softmorph_cli.plots.charts.curves import TimeCurve, draw_curves, duration, spread

CURVES = tuple(
    TimeCurve(f"work {k}, of some method", family, ((1e5, 0.001 * 1.01**k), (1e6, 0.01 * 1.01**k)))
    for k, family in enumerate(["one", "one", "two", "three", "", ""])
)
SIZES = ((1e5, "46³"), (1e6, "100³"))


@given(st.lists(st.floats(0, 300), min_size=1, max_size=12))
def test_positions_rise_with_gaps_and_stay_without_conflicts(wanted: list[float]) -> None:
    wanted = sorted(wanted)
    places = spread(wanted, 20, 0, 300)
    assert all(b - a >= 20 - 1e-6 for a, b in itertools.pairwise(places))
    assert min(places) >= 0
    assert max(places) <= 300 + 1e-6
    alone = all(b - a >= 20 for a, b in itertools.pairwise(wanted))
    if alone:
        assert places == pytest.approx(wanted, abs=1e-6)


def test_neighbours_in_conflict_share_the_shift() -> None:
    assert spread([100, 100], 20, 0, 300) == [90, 110]
    assert spread([295, 300], 20, 0, 300) == [280, 300]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0000052, "5.2 µs"), (0.00321, "3.21 ms"), (0.9999, "1 s"), (1.5, "1.5 s"), (1234, "1,234 s")],
)
def test_durations_are_formatted(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1]])
def test_labels_are_inside_and_do_not_overlap(sizes: tuple[tuple[float, str], ...]) -> None:
    curves = [TimeCurve(c.name, c.family, c.points[: len(sizes)]) for c in CURVES]
    figure: Any = draw_curves(curves, sizes, title="title", subtitle="subtitle").figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    names = {curve.name for curve in curves}
    boxes = [t.get_window_extent(renderer) for t in figure.axes[0].texts if t.get_text() in names]
    assert len(boxes) == len(curves)
    for k, box in enumerate(boxes):
        assert box.x1 < figure.bbox.width
        assert not any(box.overlaps(other) for other in boxes[:k])


def test_a_picture_is_written_and_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    draw_curves(CURVES, SIZES, title="title").save(path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 5
    before = path.read_bytes()
    with pytest.raises(FileError, match="force=True"):
        draw_curves(CURVES, SIZES, title="another").save(path)
    assert path.read_bytes() == before
    draw_curves(CURVES[:1], SIZES, title="another").save(path, force=True)
    assert path.read_bytes() != before
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]
