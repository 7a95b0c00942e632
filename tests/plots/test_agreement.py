"""Pictures of where two masks disagree: each pixel has the colour of what lies along its line of sight."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from helpers_pictures import AFFINE, read_png, rgb
from test_graph_preview import Watched

from softmorph_cli.plots import preview as module
from softmorph_cli.plots.agreement import BOTH, EXTRA, MISSED, Compared, preview_agreement
from softmorph_cli.plots.options import ViewOptions
from softmorph_cli.plots.theme import THEMES
from softmorph_cli.skeleton.curve import centreline_voxels, graph_of
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.volume import Volume

Name = Literal["dark", "light"]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    monkeypatch.setattr(Watched, "images", [])
    monkeypatch.setattr(Watched, "words", [])
    monkeypatch.setattr(module, "Canvas", Watched)
    return Watched


def bars(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks of a bar, of which each has a branch of its own."""
    predicted, truth = np.zeros((2, *shape), bool)
    predicted[..., 12:19, 3:-3] = truth[..., 12:19, 3:-3] = True
    predicted[..., 2:12, 10:15] = truth[..., 19:29, 30:35] = True
    if len(shape) == 3:
        predicted[:3] = predicted[-3:] = truth[:3] = truth[-3:] = False
    return predicted, truth


def drawn(predicted: np.ndarray, truth: np.ndarray, theme: Name = "dark", **place: Any) -> np.ndarray:
    volume = Volume(predicted.astype(np.float32), "ZYX"[-predicted.ndim :], **place)
    frame = Frame.of(volume)
    mine, its = (
        Compared(
            mask,
            graph_of(centreline_voxels(volume.with_array(mask.astype(np.float32)), 0.5), frame, mask.shape),
        )
        for mask in (predicted, truth)
    )
    return read_png(
        preview_agreement(
            mine, its, volume, title="t", subtitle="s", look=ViewOptions(light=theme == "light")
        ).png()
    )


def colors(picture: np.ndarray, place: tuple[int, int, int, int], shape: tuple[int, int]) -> np.ndarray:
    """Return the colour at a corner of each voxel of a view, beside the lines through the middles."""
    x, y, width, height = place
    rows, columns = (np.arange(n) * size // n for n, size in zip(shape, (height, width), strict=True))
    return picture[y + rows[:, None] + 1, x + columns[None] + 1]


def expected(predicted: np.ndarray, truth: np.ndarray, theme: Name) -> np.ndarray:
    """Return the colours of pixels, given the numbers of voxels along each line of sight."""
    table = THEMES[theme].agreement
    found = np.tile(rgb(THEMES[theme].background), (*predicted.shape[1:], 1))
    for at in np.ndindex(predicted.shape[1:]):
        p, g = predicted[(slice(None), *at)], truth[(slice(None), *at)]
        counts = {MISSED: int((g & ~p).sum()), EXTRA: int((p & ~g).sum()), BOTH: int((p & g).sum())}
        if sum(counts.values()):
            found[at] = rgb(table[max(counts, key=lambda kind: counts[kind])])
    return found


@pytest.mark.parametrize("theme", THEMES)
def test_pixels_of_an_image(theme: Name, watched: type[Watched]) -> None:
    predicted, truth = bars((32, 44))
    picture = drawn(predicted, truth, theme)
    wanted = expected(predicted[None], truth[None], theme)
    got = colors(picture, watched.images[0], (32, 44))
    # Lines are drawn over the middles of some voxels.
    assert (got == wanted).all(axis=-1).mean() > 0.97
    # 10 rows of 5 voxels are only predicted, and as many only true; 7 rows of 38 are both.
    assert {"true positive 266", "false positive 50", "false negative 50"} <= set(watched.words)


@pytest.mark.parametrize("affine", [None, AFFINE])
def test_most_voxels_along_a_line_of_sight_count(affine: np.ndarray | None, watched: type[Watched]) -> None:
    predicted, truth = bars((12, 32, 44))
    # A shell around the bar, which a front view must not show all over it.
    predicted[2:10, 11:20, 2:-2] = True
    place: dict[str, Any] = (
        {} if affine is None else {"affine": affine, "spacing": (2.0, 0.5, 0.5), "unit": "mm"}
    )
    picture = drawn(predicted, truth, **place)
    for axis, box in enumerate(watched.images):
        wanted = expected(np.moveaxis(predicted, axis, 0), np.moveaxis(truth, axis, 0), "dark")
        candidates = [wanted, wanted[::-1], wanted[:, ::-1], wanted[::-1, ::-1]][: 1 if affine is None else 4]
        got = colors(picture, box, wanted.shape[:2])
        assert max((got == one).all(axis=-1).mean() for one in candidates) > 0.95
    assert [word[:18] for word in watched.words if word.startswith("projection")] == [
        "projection along z", "projection along y", "projection along x"
    ]  # fmt: skip


@pytest.mark.parametrize("theme", THEMES)
def test_centrelines_are_drawn_as_what_they_are(theme: Name, watched: type[Watched]) -> None:
    picture = drawn(*bars((32, 44)), theme)
    x, y, width, height = watched.images[0]
    # The bar's axis, and the axes of the two branches.
    for (row, column), kind in (((15, 22), BOTH), ((6, 12), EXTRA), ((24, 32), MISSED)):
        at = int(y + (row + 0.5) * height / 32), int(x + (column + 0.5) * width / 44)
        wanted = rgb(THEMES[theme].agreement_lines[kind])
        around = picture[at[0] - 3 : at[0] + 4, at[1] - 3 : at[1] + 4].reshape(-1, 3).astype(int)
        assert (np.abs(around - wanted).max(axis=1) <= 12).any(), kind


def test_empty_masks_and_a_single_voxel(tmp_path: Path, watched: type[Watched]) -> None:
    blank = np.zeros((5, 9, 9), bool)
    dot = blank.copy()
    dot[2, 4, 4] = True
    for one, other in ((blank, blank), (blank, dot), (dot, dot)):
        assert drawn(one, other).size
