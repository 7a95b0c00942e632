"""The sheet of completed maps: hidden slices are grey, classes have their colours."""

from __future__ import annotations

import numpy as np

from softmorph_cli.plots.prior_sheet import COLORS, PANEL, Example, _pixels, draw_sheet


def example(dims: int) -> Example:
    """A map of two classes, half and half along the last axis, in slices along the first; one of two is hidden."""
    shape = (4, 3, 6) if dims == 3 else (4, 6)
    whole = np.zeros((3, *shape))
    whole[1, ..., :3] = whole[2, ..., 3:] = 1
    sizes = (3.0, 1.0, 1.0) if dims == 3 else (3.0, 1.0)
    return Example("case", (whole, whole), np.array([True, False, True, False]), sizes)


def test_pictures_have_true_proportions_and_colours() -> None:
    for dims in (2, 3):
        one = example(dims)
        observed, whole = (_pixels(one.panels[k], one, k == 0) for k in range(2))
        # 4 slices of 3 by 6 voxels of 1.
        assert whole.shape == (PANEL, PANEL // 2, 3)
        left, right = (tuple(bytes.fromhex(color[1:])) for color in COLORS[:2])
        assert tuple(whole[0, 0]) == left
        assert tuple(whole[-1, -1]) == right
        assert tuple(observed[0, 0]) == left
        assert len(set(observed[PANEL // 3].ravel().tolist())) == 1
    mixed = _pixels(np.full((3, 4, 6), 1 / 3), example(2), False)
    expected = np.rint((np.array(left) + right) / 3)
    assert np.abs(mixed[0, 0] - expected).max() <= 1


def test_the_sheet_is_a_picture() -> None:
    canvas = draw_sheet([example(2), example(3)], ("observed", "whole"), ("a", "b"), title="t", subtitle="s")
    assert canvas.png()[:4] == b"\x89PNG"
