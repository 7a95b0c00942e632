"""The sheet of completed maps: hidden slices are grey, invented ones framed, classes have their colours."""

from __future__ import annotations

import numpy as np

from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.prior_sheet import FRAME, PANEL, Example, Picture, _pixels, _size, draw_sheet
from softmorph_cli.plots.theme import DARK

EDGE = FRAME + 1


def pixels(picture: Picture, panel: int) -> np.ndarray:
    return _pixels(picture, _size(picture, panel), Canvas(9, 9))


def rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))


def example(dims: int) -> Example:
    """A map of two classes, half and half along the last axis, in slices along the first; one of two is hidden."""
    shape = (4, 3, 6) if dims == 3 else (4, 6)
    whole = np.zeros((3, *shape))
    whole[1, ..., :3] = whole[2, ..., 3:] = 1
    sizes = (3.0, 1.0, 1.0) if dims == 3 else (3.0, 1.0)
    return Example("case", (whole, whole, whole), np.array([True, False, True, False]), sizes)


def test_pictures_have_true_proportions_and_colours() -> None:
    left, right = map(rgb, DARK.classes[:2])
    for dims in (2, 3):
        made = [pixels(picture, PANEL) for picture in example(dims).row.pictures]
        # 4 slices of 3 by 6 voxels of 1, within a frame.
        assert {one.shape for one in made} == {(PANEL + 2 * EDGE, PANEL // 2 + 2 * EDGE, 3)}
        observed, filled, whole = (one[EDGE:-EDGE, EDGE:-EDGE] for one in made)
        assert tuple(whole[0, 0]) == left
        assert tuple(whole[-1, -1]) == right
        np.testing.assert_array_equal(filled, whole)
        assert tuple(observed[0, 0]) == left
        # Hidden slices have one colour, that of neither class.
        (grey,) = {tuple(color) for color in observed[PANEL // 3].tolist()}
        assert grey not in (left, right)
        # The frame tells which slices are invented: beside them, and below the last.
        light, dark = rgb(DARK.text), rgb(DARK.background)
        rows = [
            tuple(made[1][EDGE + at, 0])
            for at in (PANEL // 8, 3 * PANEL // 8, 5 * PANEL // 8, 7 * PANEL // 8)
        ]
        assert rows == [dark, light, dark, light]
        assert [tuple(made[1][at, EDGE]) for at in (0, -1)] == [dark, light]
        assert {tuple(color) for color in made[2][:, 0].tolist()} == {dark}
    mixed = pixels(Picture(np.full((2, 4, 6), 1 / 3), (1, 1)), PANEL)[EDGE, EDGE]
    assert np.abs(mixed - np.rint((np.array(left) + right) / 3)).max() <= 1


def test_slices_are_turned_as_the_world_is() -> None:
    first = np.zeros((2, 4, 3, 6))
    first[1, 0, :, 0] = 1
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -1], [0, 1, 0], [3, 0, 0]]
    observed = np.array([True, True, True, False])
    one = Example("case", (first, first), observed, (3.0, 1.0, 1.0), affine)
    # Slices rise in the world, and columns run to the left.
    seen, filled = one.row.pictures
    assert np.argwhere(filled.shares[0]).tolist() == [[3, 5]]
    assert seen.hidden is not None
    assert seen.hidden[:, 0].tolist() == [True, False, False, False]


def test_lines_thinner_than_a_pixel_stay() -> None:
    thin = np.zeros((1, 500, 400))
    thin[0, :, 123] = 1
    drawn = pixels(Picture(thin, (1, 1)), 100)[EDGE:-EDGE, EDGE:-EDGE]
    assert (drawn == rgb(DARK.classes[0])).all(axis=-1).any(axis=1).all()


def test_the_sheet_is_a_picture_with_a_legend_that_wraps() -> None:
    rows = [example(2).row, example(3).row]
    columns = ("observed", "filled", "whole")
    canvas = draw_sheet(rows, columns, ("a", "b"), title="t", facts=("s",))
    assert canvas.png()[:4] == b"\x89PNG"
    many = draw_sheet(rows, columns, ["a name of some length"] * 9, title="t", facts=("s", "", "u"))
    assert many.width == canvas.width
    assert many.height > canvas.height + 40
