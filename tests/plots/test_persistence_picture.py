"""A persistence diagram shows its bars where they belong, and is whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_topology import broken_ring
from PIL import Image

from softmorph_cli.errors import FileError
from softmorph_cli.plots.persistence import Dimension, _draw, draw_persistence
from softmorph_cli.topology.persistence import bars

THRESHOLDS = [k / 100 for k in range(101)]


def dimensions() -> list[Dimension]:
    found = bars(broken_ring(noise=1.0))
    return [
        Dimension(name, diagram.birth, diagram.death, counts)
        for name, diagram, counts in zip(
            ("components", "holes"), found.diagrams, found.curves(THRESHOLDS), strict=True
        )
    ]


def test_each_bar_is_a_point_and_each_dimension_a_curve() -> None:
    drawn = dimensions()
    figure = _draw(drawn, THRESHOLDS, 0.4, "title", "subtitle")
    diagram, curves = figure.axes
    points = np.concatenate([np.asarray(part.get_offsets()) for part in diagram.collections])
    wanted = np.concatenate([np.stack([d.birth, d.death], axis=1) for d in drawn])
    assert len(points) == len(wanted) > 20
    np.testing.assert_allclose(sorted(points.tolist()), sorted(wanted.tolist()))
    steps = [line for line in curves.lines if len(line.get_xdata()) == len(THRESHOLDS)]
    assert [list(line.get_ydata()) for line in steps] == [d.counts.tolist() for d in drawn]
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["components", "holes"]


@pytest.mark.parametrize("scale", [1, 30, 3000])
def test_every_word_is_inside_and_no_tick_touches_another(scale: int) -> None:
    drawn = [Dimension(d.name, d.birth, d.death, d.counts * scale) for d in dimensions()]
    figure = _draw(drawn, THRESHOLDS, 0.5, "title", "subtitle")
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
def test_few_counts_have_a_tick_each_at_equal_distances(most: int) -> None:
    some = np.full(most, 0.9, np.float32)
    counts = np.where(np.array(THRESHOLDS) < 0.9, most, 0)
    _, curves = _draw([Dimension("components", some, 0 * some, counts)], THRESHOLDS, 0.5, "title", "").axes
    assert [tick.get_text() for tick in curves.get_yticklabels()] == [str(k) for k in range(most + 1)]
    places = curves.transData.transform([(0, k) for k in range(most + 1)])[:, 1]
    np.testing.assert_allclose(np.diff(places), places[1] - places[0])


def test_a_map_without_bars() -> None:
    empty = np.empty(0, np.float32)
    nothing = [Dimension("components", empty, empty, np.zeros(101, int))]
    assert len(_draw(nothing, THRESHOLDS, 0.5, "title", "").axes) == 2


def test_a_picture_is_written_whole_and_not_over_another(tmp_path: Path) -> None:
    path = tmp_path / "bars.png"
    draw_persistence(dimensions(), THRESHOLDS, 0.5, path, title="title")
    with Image.open(path) as image:
        assert image.size == (1200, 620)
        assert np.asarray(image.convert("L")).std() > 5
    before = path.read_bytes()
    with pytest.raises(FileError, match="force=True"):
        draw_persistence(dimensions(), THRESHOLDS, 0.5, path, title="another")
    assert path.read_bytes() == before
