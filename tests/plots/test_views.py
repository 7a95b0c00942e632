"""Views, images and layouts of a preview, of maps small enough to know the right result."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softmorph_cli.plots.layout import arrange
from softmorph_cli.plots.projection import Held, fullest_planes, is_dense, profiles
from softmorph_cli.plots.projection import images as images_of
from softmorph_cli.plots.views import (
    Box,
    View,
    choose_views,
    first_index,
    first_index_words,
    resize,
    round_length,
    whole,
    window,
)
from softmorph_cli.volume import Volume, world_directions

Array = npt.NDArray[Any]
sixteenths = st.integers(0, 16).map(lambda k: k / 16)
images = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=sixteenths)


def ball() -> Array:
    distance = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0)
    p: Array = np.clip((12 - distance) / 4 + 0.5, 0, 1).astype(np.float32)
    return p


def diagonal() -> Array:
    p = np.zeros((40, 40, 40), dtype=np.float32)
    p[np.arange(40), np.arange(40), np.arange(40)] = 1
    return p


def dense(p: Array) -> bool:
    return is_dense(Held(p), whole(p.shape), float(p.max()) / 2)


def image(view: View, p: Array) -> Array:
    rows, columns = view.shown
    (drawn,) = images_of(Held(p), whole(p.shape), [view], [(p.shape[rows], p.shape[columns])])
    return drawn


@pytest.mark.parametrize(
    ("longest", "length"),
    [
        (1, 1),
        (1.99, 1),
        (2, 2),
        (4.9, 2),
        (5, 5),
        (9.99, 5),
        (10, 10),
        (0.3 / 0.1 * 10, 20),
        (0.07, 0.05),
        (1e-5, 1e-5),
    ],
)
def test_round_lengths(longest: float, length: float) -> None:
    assert round_length(longest) == length


@given(st.floats(1e-6, 1e6))
def test_a_round_length_is_the_longest_that_fits(longest: float) -> None:
    length = round_length(longest)
    assert longest * 0.4 * (1 - 1e-6) <= length <= longest * (1 + 1e-6)
    assert f"{length:e}"[0] in "125"
    assert float(f"{length:.0e}") == length


def test_shrinking_takes_maxima_and_growing_repeats() -> None:
    image = np.array([[1, 0, 0, 0], [0, 0, 0, 3]])
    assert resize(image, 1, 2).tolist() == [[1, 3]]
    assert resize(image, 4, 4).tolist() == [[1, 0, 0, 0]] * 2 + [[0, 0, 0, 3]] * 2
    assert resize(image, 1, 8).tolist() == [[1, 1, 0, 0, 0, 0, 3, 3]]
    assert resize(image, 2, 4).tolist() == image.tolist()


@given(images, st.integers(1, 60), st.integers(1, 60))
def test_no_voxel_is_lost_at_any_size(image: Array, height: int, width: int) -> None:
    resized = resize(image, height, width)
    assert resized.shape == (height, width)
    assert set(np.unique(resized)) <= set(np.unique(image))
    assert resized.max() == image.max()


@given(st.integers(1, 500))
def test_a_line_one_voxel_wide_stays_one_line(size: int) -> None:
    image = np.zeros((500, 500), dtype=np.float32)
    np.fill_diagonal(image, 0.5)
    resized = resize(image, size, size)
    assert np.array_equal(resized, 0.5 * np.eye(size, dtype=np.float32))


def test_lobes_are_dense_and_lines_are_sparse() -> None:
    assert dense(ball())
    assert dense(0.1 * ball())
    assert dense(np.ones((3, 4, 5)))
    assert not dense(diagonal())
    assert not dense(np.zeros((3, 4, 5)))


def test_a_sparse_map_is_shown_as_projections() -> None:
    p = diagonal()
    views = choose_views(p.shape, (0.8, 0.5, 0.25))
    assert [view.caption for view in views] == [f"maximum along {axis}" for axis in "zyx"]
    assert [view.extent for view in views] == [(20, 10), (32, 10), (32, 20)]
    for view in views:
        assert np.array_equal(image(view, p), np.eye(40))


def test_a_dense_map_is_shown_as_slices_through_its_fullest_planes() -> None:
    p = np.zeros((30, 40, 50), dtype=np.float32)
    p[3:12, 10:21, 30:33] = 0.9
    planes = fullest_planes(Held(p), whole(p.shape), 1.0)
    views = choose_views(p.shape, (1.0, 1.0, 1.0), start=(100, 0, 0), planes=planes)
    # All planes of a block are equally full: its middle is shown, counted from the whole map's begin.
    assert [view.caption for view in views] == ["slice at z = 107", "slice at y = 15", "slice at x = 31"]
    assert np.array_equal(image(views[2], p), p[:, :, 31])


def test_a_single_slice_has_no_side_views() -> None:
    assert [v.axis for v in choose_views((1, 4, 5), (1.0, 1.0, 1.0))] == [0]
    assert [v.axis for v in choose_views((4, 5, 1), (1.0, 1.0, 1.0))] == [2]
    assert len(choose_views((1, 1, 5), (1.0, 1.0, 1.0))) == 3


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, -1)])
def test_superior_anterior_and_right_are_up_and_right_whatever_the_affine(
    signs: tuple[int, int, int],
) -> None:
    p = np.zeros((30, 40, 50), dtype=np.float32)
    # One voxel at the most superior, anterior and right corner.
    corner = tuple(n - 1 if sign > 0 else 0 for n, sign in zip(p.shape, signs, strict=True))
    p[corner] = 1
    affine = np.zeros((4, 4))
    for axis, sign in enumerate(signs):  # array axis z runs along world z, slightly turned
        affine[2 - axis, axis] = sign * 0.9
        affine[(3 - axis) % 3, axis] = 0.2
    affine[3, 3] = 1
    above, front, side = choose_views(p.shape, (1.0, 1.0, 1.0), affine=affine)
    for view in (above, front, side):
        assert image(view, p)[0, -1] == 1
    assert above.caption.endswith("right R, up A")
    assert front.caption.endswith("right R, up S")
    assert side.caption.endswith("right A, up S")


def test_a_steeply_oblique_scan_still_has_three_directions() -> None:
    # z and y of the array are both nearer to S than to anything else, y only just.
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [-0.6, 0.68, 0], [0.8, 0.74, 0]])
    assert world_directions(affine[:3, :3]) == [("S", True), ("A", True), ("R", True)]
    affine[:3, 0] *= -7  # neither sign nor voxel size changes which axis is which
    assert world_directions(affine[:3, :3]) == [("S", False), ("A", True), ("R", True)]


def test_without_an_affine_the_first_row_is_on_top() -> None:
    p = np.zeros((6, 7), dtype=np.float32)
    p[0, 0] = 1
    (view,) = choose_views(p.shape, (1.0, 1.0))
    assert (view.caption, np.array_equal(image(view, p), p)) == ("", True)


def test_the_window_is_the_bounding_box_of_both_maps_with_a_margin() -> None:
    first, second = np.zeros((100, 100)), np.zeros((100, 100))
    first[50, 30], second[60, 32] = 1, 0.5

    def found(*maps: Array, above: float) -> Box:
        return window([profiles(Held(p)) for p in maps], above)

    assert found(first, second, above=0.01) == (slice(45, 66), slice(25, 38))
    second[0, 0] = second[99, 99] = 0.02
    assert found(first, second, above=0.01) == (slice(0, 100), slice(0, 100))
    assert found(first, second, above=0.02) == (slice(45, 66), slice(25, 38))
    assert found(np.zeros((5, 6)), above=0.01) == (slice(0, 5), slice(0, 6))
    second[2, 98] = 1
    assert found(second, above=0.5) == (slice(0, 8), slice(93, 100))


def test_the_first_channel_is_shown_and_named() -> None:
    p = np.zeros((3, 2, 4, 5), dtype=np.float32)
    p[0, 0] = 1
    volume = Volume(p, "TCYX", channels=("artery", "vein"))
    assert np.array_equal(first_index(volume), np.ones((4, 5)))
    assert first_index_words(volume) == "showing time 0 of 3, channel 0 (artery) of 2"
    assert first_index_words(Volume(p[:1, :1], "TCYX")) == ""
    assert first_index_words(Volume(p[0], "QYX")) == "showing axis Q 0 of 2"


extents = st.lists(st.tuples(st.floats(1, 3000), st.floats(1, 3000)), min_size=1, max_size=3)


@given(extents, st.integers(1, 2), st.integers(60, 250))
def test_cells_are_on_the_canvas_disjoint_and_in_proportion(
    extents: list[tuple[float, float]], maps: int, caption_width: int
) -> None:
    layout = arrange(extents, maps, voxel=1.0, caption=28, caption_width=caption_width)
    cells = [cell for row in layout.cells for cell in row]
    assert len(cells) == maps * len(extents)
    for cell, (height, width) in zip(cells, list(extents) * maps, strict=True):
        assert cell.x >= 0 <= cell.y
        assert cell.x + max(cell.width, caption_width) <= layout.width
        assert cell.y + 28 + cell.height <= layout.height
        assert cell.height == max(3, round(height * layout.scale))
        assert cell.width == max(3, round(width * layout.scale))
    for k, one in enumerate(cells):
        for other in cells[:k]:
            apart_x = max(
                one.x - other.x - max(other.width, caption_width),
                other.x - one.x - max(one.width, caption_width),
            )
            apart_y = max(one.y - other.y - other.height - 28, other.y - one.y - one.height - 28)
            assert max(apart_x, apart_y) >= 20


def test_maps_are_beside_each_other_unless_one_below_the_other_is_larger() -> None:
    def beside(height: float, width: float) -> bool:
        first, second = arrange([(height, width)], 2, voxel=1.0, caption=28, caption_width=60).cells
        return first[0].y == second[0].y

    assert beside(500.0, 500.0)
    assert beside(900.0, 300.0)
    assert not beside(100.0, 3000.0)
