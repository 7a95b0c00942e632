"""The picture of persistence: each bar is a point, each dimension a curve, and the file is written whole or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_topology import broken_ring
from PIL import Image

from softmorph_cli.errors import FileError
from softmorph_cli.plots.charts.persistence import STEPS, draw_persistence
from softmorph_cli.topology.persistence import Bars, Diagram, bars

NAMES = ("components", "holes")


def drawn(repeats: int = 1) -> Bars:
    """Return the bars of a drawn map, each of them several times."""
    found = bars(broken_ring(noise=1.0))
    diagrams = (one[np.tile(np.arange(len(one)), repeats)] for one in found.diagrams)
    return Bars(tuple(diagrams), found.connectivity)


def components(count: int) -> Bars:
    """Return so many bars from 0.9 to 0."""
    birth, at = np.full(count, 0.9, np.float32), np.zeros((count, 2), np.int64)
    return Bars((Diagram(birth, 0 * birth, at, at),), 8)


def test_each_bar_is_a_point_and_each_dimension_a_curve() -> None:
    found = drawn()
    figure: Any = draw_persistence(found, NAMES, 0.4, title="title", subtitle="subtitle").figure
    diagram, curves = figure.axes
    points = np.concatenate([np.asarray(part.get_offsets()) for part in diagram.collections])
    wanted = np.concatenate([np.stack([d.birth, d.death], axis=1) for d in found.diagrams])
    assert len(points) == len(wanted) > 20
    np.testing.assert_allclose(sorted(points.tolist()), sorted(wanted.tolist()))
    thresholds = np.linspace(0, 1, STEPS + 1)
    steps = [line for line in curves.lines if len(line.get_xdata()) == len(thresholds)]
    assert [list(line.get_ydata()) for line in steps] == [
        [int(((d.birth > t) & (d.death <= t)).sum()) for t in thresholds] for d in found.diagrams
    ]
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["components", "holes"]


@pytest.mark.parametrize("repeats", [1, 30, 3000])
def test_all_text_is_inside_and_ticks_do_not_overlap(repeats: int) -> None:
    figure: Any = draw_persistence(drawn(repeats), NAMES, 0.5, title="title", subtitle="subtitle").figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    labels = [label for label in figure.axes[1].get_yticklabels() if label.get_text()]
    boxes = [label.get_window_extent(renderer) for label in labels]
    assert len(boxes) >= 3
    for k, box in enumerate(boxes):
        assert box.x0 > 0
        assert not any(box.overlaps(other) for other in boxes[:k])
    legend = figure.axes[1].get_legend().get_window_extent(renderer)
    assert legend.x1 <= figure.bbox.width
    assert legend.y0 >= figure.axes[1].get_window_extent().y1 - 1


@pytest.mark.parametrize("most", [1, 3, 10])
def test_few_bars_have_a_tick_for_each_number_at_equal_distances(most: int) -> None:
    figure: Any = draw_persistence(components(most), NAMES[:1], 0.5, title="title").figure
    _, curves = figure.axes
    assert [tick.get_text() for tick in curves.get_yticklabels()] == [str(k) for k in range(most + 1)]
    places = curves.transData.transform([(0, k) for k in range(most + 1)])[:, 1]
    np.testing.assert_allclose(np.diff(places), places[1] - places[0])


def test_a_map_without_bars() -> None:
    assert len(draw_persistence(components(0), NAMES[:1], 0.5, title="title", subtitle="").figure.axes) == 2


def test_a_picture_is_written_and_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "bars.png"
    draw_persistence(drawn(), NAMES, 0.5, title="title").save(path)
    with Image.open(path) as image:
        assert image.size == (1200, 620)
        assert np.asarray(image.convert("L")).std() > 5
    before = path.read_bytes()
    with pytest.raises(FileError, match="force=True"):
        draw_persistence(drawn(), NAMES, 0.5, title="another").save(path)
    assert path.read_bytes() == before
