"""Pictures of a graph: lines and marks lie where the skeleton does, in every view and in both themes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from helpers_pictures import AFFINE, FAINT, alone, fork, graph_of, helix, read_png, rgb

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.plots import preview as module
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.graph_preview import preview_graph
from softmorph_cli.plots.options import ViewOptions
from softmorph_cli.plots.theme import DARK, LIGHT, THEMES
from softmorph_cli.plots.views import round_length
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.volume import Volume

Name = Literal["dark", "light"]


class Watched(Canvas):
    """A canvas that records the places of images and the texts."""

    images: list[tuple[int, int, int, int]] = []  # noqa: RUF012
    words: list[str] = []  # noqa: RUF012

    def image(self, x: int, y: int, values: Any, colors: Any = None, *, size: Any = None) -> None:
        assert values.min() >= 0
        assert values.ndim == 3 or values.max() <= 1
        assert min(x, y) >= 0
        assert x + values.shape[1] <= self.width
        assert y + values.shape[0] <= self.height
        self.images.append((x, y, values.shape[1], values.shape[0]))
        super().image(x, y, values, colors, size=size)

    def text(self, x: float, baseline: float, text: str, **style: Any) -> float:
        end = super().text(x, baseline, text, **style)
        assert end <= self.width
        assert style["size"] <= baseline <= self.height - 5
        self.words.append(text)
        return end


def graph_png(volume: Volume, graph: SkeletonGraph, **texts: Any) -> bytes:
    return preview_graph(volume, graph, **texts).png()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    monkeypatch.setattr(Watched, "images", [])
    monkeypatch.setattr(Watched, "words", [])
    monkeypatch.setattr(module, "Canvas", Watched)
    return Watched


def near(picture: np.ndarray, x: float, y: float, color: str) -> bool:
    return bool((np.abs(picture[int(y), int(x)] - rgb(color)) <= 1).all())


@pytest.mark.parametrize("theme", THEMES)
def test_marks_lie_on_the_nodes(theme: Name, watched: type[Watched]) -> None:
    volume, graph = fork()
    picture = read_png(graph_png(volume, graph, title="t", look=ViewOptions(light=theme == "light")))
    x, y, width, height = watched.images[0]
    assert (width, height) == (60 * (width // 60), 40 * (width // 60))
    kinds = [node.kind for node in graph.nodes]
    assert sorted(kinds) == ["end point"] * 3 + ["junction"]
    for node in graph.nodes:
        row, column = node.voxels[0]
        place = x + (column + 0.5) * width / 60, y + (row + 0.5) * height / 40
        assert near(picture, *place, THEMES[theme].marks[node.kind].color)
        other = "junction" if node.kind == "end point" else "end point"
        assert not near(picture, *place, THEMES[theme].marks[other].color)


def test_marks_lie_on_the_nodes_in_all_three_views_of_a_reoriented_volume(watched: type[Watched]) -> None:
    volume, graph = helix(spacing=(2.0, 0.5, 0.5), unit="mm", affine=AFFINE)
    picture = read_png(graph_png(volume, graph))
    captions = [words for words in watched.words if "along" in words]
    # Columns of x are turned over, so are the rows of y and z: right and up are the world's.
    assert captions == [
        "maximum along z \u00b7 right R, up A",
        "maximum along y \u00b7 right R, up S",
        "maximum along x \u00b7 right A, up S",
    ]
    ends = np.array([node.voxels[0] for node in graph.end_points])
    assert sorted(ends.tolist()) == [[2, 10, 16], [17, 4, 10]]
    turned = np.array(volume.array.shape) - 1 - ends
    for number, (down, across) in enumerate(((1, 2), (0, 2), (0, 1))):
        x, y, width, height = watched.images[number]
        shape = volume.array.shape
        # The only axis whose index already runs to the right is y, seen from the side.
        columns = ends if number == 2 else turned
        for row, column in zip(turned[:, down], columns[:, across], strict=True):
            place = x + (column + 0.5) * width / shape[across], y + (row + 0.5) * height / shape[down]
            assert near(picture, *place, DARK.marks["end point"].color)


def test_lines_run_through_the_middle_of_their_voxels(watched: type[Watched]) -> None:
    p = np.full((21, 31), FAINT, np.float32)
    p[7, 3:28] = 1
    volume = Volume(p, "YX")
    picture = read_png(graph_png(volume, graph_of(volume, np.argwhere(p == 1))))
    x, y, width, height = watched.images[0]
    voxel = width // 31
    assert (width, height) == (31 * voxel, 21 * voxel)
    color = tuple(DARK.curve_colors(np.array(1.0)))
    here = (np.abs(picture[y : y + height, x : x + width] - color) <= 1).all(axis=-1)
    rows, columns = np.nonzero(here)
    assert rows.mean() + 0.5 == pytest.approx(7.5 * voxel, abs=1)
    assert np.ptp(rows) <= 4
    # From the middle of the first voxel to the middle of the last; the marks hide both ends.
    assert columns.min() == pytest.approx(3.5 * voxel, abs=10)
    assert columns.max() == pytest.approx(27.5 * voxel, abs=10)


def test_lines_are_coloured_by_the_soft_value(watched: type[Watched]) -> None:
    volume, graph = fork()
    picture = read_png(graph_png(volume, graph))
    x, y, width, height = watched.images[0]
    left, right = (
        picture[y : y + height, x : x + width // 3],
        picture[y : y + height, x + 2 * width // 3 : x + width],
    )
    sure, unsure = DARK.curve_colors(np.array([1.0, 0.6]))

    def count(part: np.ndarray, color: np.ndarray) -> int:
        return int((np.abs(part - color) <= 1).all(axis=-1).sum())

    assert count(left, sure) > 100
    assert count(right, unsure) > 100
    assert count(left, unsure) == count(right, sure) == 0


@pytest.mark.parametrize("theme", THEMES)
def test_the_scale_bar_has_its_stated_length(theme: Name, watched: type[Watched]) -> None:
    volume, graph = fork(spacing=(0.7, 0.7), unit="um")
    picture = read_png(graph_png(volume, graph, look=ViewOptions(light=theme == "light")))
    width = watched.images[0][2]
    length = round_length(180 * 60 * 0.7 / width)
    assert f"{length:g} \u00b5m" in watched.words
    below = picture[-module.FOOTER - module.MARGIN :, : picture.shape[1] // 2]
    bar = (below == rgb(THEMES[theme].bar)).all(axis=-1).sum(axis=1)
    assert np.count_nonzero(bar == round(length * width / (60 * 0.7))) == 5


def test_the_legend_counts_the_marks(watched: type[Watched]) -> None:
    graph_png(*fork())
    assert {"3 end points", "1 junction"} <= set(watched.words)
    watched.words.clear()
    graph_png(*alone())
    assert {"0 end points", "0 junctions", "1 single voxel"} <= set(watched.words)


def test_themes_differ_and_marks_are_distinct_by_shape_and_colour() -> None:
    assert DARK.background != LIGHT.background
    for theme in THEMES.values():
        assert len({mark.shape for mark in theme.marks.values()}) == len(theme.marks)
        assert len({mark.color for mark in theme.marks.values()}) == len(theme.marks)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_marks_contrast_with_the_backdrop(theme: Name) -> None:
    chosen = THEMES[theme]
    behind = [luminance(color) for color in chosen.backdrop_colors(np.linspace(0, 1, 9))]
    for color in [rgb(mark.color) for mark in chosen.marks.values()]:
        assert min(contrast(luminance(color), grey) for grey in behind) > 2
    # Curves have soft values above the threshold, mostly a half.
    for color in chosen.curve_colors(np.linspace(0.5, 1, 9)):
        assert min(contrast(luminance(color), grey) for grey in behind) > 2


def luminance(color: Any) -> float:
    shares = np.asarray(color) / 255
    linear = np.where(shares <= 0.03928, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def many(n: int) -> tuple[Volume, Any]:
    p = np.zeros((n, n), np.float32)
    p[::4, ::4] = 1
    volume = Volume(p, "YX")
    return volume, graph_of(volume, np.argwhere(p > 0))


def ring() -> tuple[Volume, Any]:
    p = np.zeros((9, 9), np.float32)
    p[2, 3:6] = p[6, 3:6] = p[3:6, 2] = p[3:6, 6] = 1
    volume = Volume(p, "YX")
    return volume, graph_of(volume, np.argwhere(p > 0))


def line(shape: tuple[int, ...]) -> tuple[Volume, Any]:
    p = np.full(shape, 0.1, np.float32)
    p[(shape[0] // 2,) * (p.ndim - 1)] = 0.8
    volume = Volume(p, "ZYX"[-p.ndim :], (0.5, 2.0, 0.5)[-p.ndim :], "mm")
    return volume, graph_of(volume, np.argwhere(p > 0.5))


CASES: dict[str, Any] = {
    "fork": fork,
    "helix": helix,
    "one voxel": alone,
    "nothing": lambda: alone(filled=False),
    "ring": ring,
    "3 x 3": lambda: line((3, 3)),
    "long": lambda: line((30, 1000)),
    "anisotropic": lambda: line((5, 40, 50)),
    "crowded": lambda: many(120),
}


@pytest.mark.parametrize("name", CASES)
def test_graphs_of_every_kind_fit_on_the_canvas(name: str, watched: type[Watched]) -> None:
    volume, graph = CASES[name]()
    data = graph_png(volume, graph, title="softmorph " + 20 * name, subtitle=name)
    height, width = read_png(data).shape[:2]
    assert len(watched.images) == (1 if volume.spatial_dims == 2 else 3) + 1  # and the colour bar
    assert width < 2000
    assert height < 1300


def test_cropping_keeps_the_skeleton(watched: type[Watched]) -> None:
    p = np.zeros((200, 200), np.float32)
    p[90:110, 90:110] = 1
    p[150, 150] = 1e-4  # black in the picture, yet part of the skeleton
    volume = Volume(p, "YX")
    graph = graph_of(volume, np.array([[100, 100], [150, 150]]))
    picture = read_png(graph_png(volume, graph))
    white = (picture == rgb(DARK.marks["voxel"].color)).all(axis=-1)
    x, y, width, height = watched.images[0]
    rows, columns = np.nonzero(white[y : y + height, x : x + width])
    # The bright square and 10 voxels of margin would be 40 voxels: with the faint one, 50 below, there are 71.
    voxel = height // 71
    assert (height, width) == (71 * voxel, 71 * voxel)
    assert np.ptp(rows) == pytest.approx(50 * voxel, abs=10)
    assert np.ptp(columns) == pytest.approx(50 * voxel, abs=10)


def test_a_dense_map_is_shown_as_its_mean(watched: type[Watched]) -> None:
    p = np.full((20, 20, 20), 0.9, np.float32)
    volume = Volume(p, "ZYX")
    graph_png(volume, graph_of(volume, np.array([[10, 10, k] for k in range(4, 16)])))
    assert [words for words in watched.words if "along" in words] == [f"mean along {axis}" for axis in "zyx"]


def test_a_png_stores_its_texts_and_is_kept_without_force(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "graph.png"
    volume, graph = fork()
    preview_graph(volume, graph, title="softmorph $x_", subtitle="s\udcff").save(path)
    with Image.open(path) as image:
        assert (image.info["Title"], image.info["Description"]) == ("softmorph $x_", "s?")
    assert path.read_bytes() == graph_png(volume, graph, title="softmorph $x_", subtitle="s\udcff")
    with pytest.raises(FileError, match="force=True"):
        preview_graph(volume, graph).save(path)
    preview_graph(volume, graph, look=ViewOptions(light=True)).save(path, force=True)
    assert tuple(read_png(path.read_bytes())[0, 0]) == rgb(LIGHT.background)
    assert list(tmp_path.iterdir()) == [path]


def test_a_graph_of_another_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(9, 9\).*\(40, 60\)"):
        preview_graph(alone(2)[0], fork()[1])


def test_the_map_and_the_graph_are_not_modified() -> None:
    volume, graph = helix()
    kept, points = volume.array.copy(), [branch.points.copy() for branch in graph.branches]
    volume.array.setflags(write=False)
    graph_png(volume, graph)
    assert np.array_equal(volume.array, kept)
    assert all(np.array_equal(a, b.points) for a, b in zip(points, graph.branches, strict=True))
