"""The picture of a completed map: which slices it shows, what it frames, and that it turns them as previews do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from softmorph_cli.plots import completion_preview
from softmorph_cli.plots.completion_preview import (
    chosen_slices,
    draw_completion,
    draw_segmentation,
    gaps_left_out,
)
from softmorph_cli.plots.prior_sheet import Row, draw_sheet
from softmorph_cli.plots.theme import DARK
from softmorph_cli.volume import Volume


def flags(count: int, *which: int) -> np.ndarray:
    return np.isin(np.arange(count), which)


def test_slices_around_the_invented_ones_are_chosen() -> None:
    even = np.ones(40)
    assert chosen_slices(flags(12, 3, 4, 8), even) == [2, 3, 4, 5, 7, 8, 9]
    assert chosen_slices(flags(12, 0, 11), even) == [0, 1, 10, 11]
    # A run longer than the picture: both slices beside it, and others between.
    long = chosen_slices(flags(40, *range(5, 35)), even)
    assert (long[0], long[-1], len(long)) == (4, 35, 9)
    assert set(np.diff(long)) <= {3, 4}
    # Of many runs those that hold most: of every second slice, those in the middle.
    many = chosen_slices(flags(40, *range(1, 40, 2)), np.exp(-((np.arange(40) - 21.0) ** 2)))
    assert 21 in many
    assert len(many) == 9
    assert many == list(range(many[0], many[0] + 9))
    # 20 gaps, and those of which a slice is shown.
    assert gaps_left_out(flags(40, *range(1, 40, 2)), many) == 20 - sum(k % 2 for k in many)
    assert gaps_left_out(flags(12, 3, 4, 8), [2, 3, 4, 5, 7, 8, 9]) == 0
    # Nothing invented: slices of the whole.
    assert chosen_slices(flags(4), even[:4]) == [0, 1, 2, 3]
    assert len(chosen_slices(flags(40), even)) == 9


def sheet(
    monkeypatch: pytest.MonkeyPatch,
    before: Volume,
    after: Volume,
    invented: np.ndarray,
    axis: str,
    channels: int | None,
    **more: Any,
) -> tuple[list[Row], list[str], list[str]]:
    """Draw a completion into a file, and return what was drawn."""
    kept: list[Any] = []

    def seen(rows: list[Row], columns: list[str], classes: list[str], **rest: Any) -> Any:
        kept[:] = rows, list(columns), list(classes)
        return draw_sheet(rows, columns, classes, **rest)

    monkeypatch.setattr(completion_preview, "draw_sheet", seen)
    draw_completion(before, after, invented, axis, channels, Path("seen.png"), force=True, **more)
    assert Path("seen.png").read_bytes()[:4] == b"\x89PNG"
    return kept[0], kept[1], kept[2]


def test_rows_of_slices_hide_frame_and_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    invented = np.broadcast_to(flags(5, 2)[:, None, None], array.shape)
    volume = Volume(array, "ZYX", (3.0, 1.0, 1.0), "mm")
    before = volume.with_array(array * ~invented)
    rows, columns, classes = sheet(monkeypatch, before, volume, invented, "z", None, mean=before)
    assert [row.name for row in rows] == ["observed", "filled", "the prior's mean"]
    across = int(array.sum(axis=(0, 2)).argmax())
    assert columns == [f"y = {across}", "z = 1", "z = 2", "z = 3"]
    assert classes == ["probability"]
    observed, filled, mean = (row.pictures for row in rows)
    np.testing.assert_array_equal(filled[0].shares[0], array[:, across])
    assert filled[0].sizes == (3.0, 1.0)
    np.testing.assert_array_equal(filled[2].shares[0], array[2])
    assert filled[2].invented is not None
    assert filled[2].invented.all()
    assert filled[1].invented is not None
    assert not filled[1].invented.any()
    assert observed[0].hidden is not None
    np.testing.assert_array_equal(observed[0].hidden[:, 0], flags(5, 2))
    assert mean[2].hidden is mean[2].invented is None
    # In the world, up is S and A, and right is R, as in other previews.
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, -1], [0, 1, 0], [3, 0, 0]]
    turned, _, _ = sheet(monkeypatch, before, replace(volume, affine=affine), invented, "z", None)
    np.testing.assert_array_equal(turned[1].pictures[0].shares[0], array[::-1, across, ::-1])
    np.testing.assert_array_equal(turned[1].pictures[2].shares[0], array[2, ::-1, ::-1])


def test_along_other_axes_and_without_empty_margins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.zeros((40, 6, 50), np.float32)
    array[20:24, :, 30:34] = 1
    invented = np.broadcast_to(flags(6, 3)[None, :, None], array.shape)
    volume = Volume(array, "ZYX")
    rows, columns, _ = sheet(monkeypatch, volume, volume, invented, "y", None)
    assert columns == ["z = 20", "y = 2", "y = 3", "y = 4"]
    # Four voxels with a margin of two.
    assert rows[0].pictures[2].shares.shape == (1, 8, 8)
    assert rows[0].pictures[0].shares.shape == (1, 6, 8)


def test_classes_without_the_background_in_2d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    front = np.random.default_rng(0).random((2, 8, 9)).astype(np.float32) / 2
    array = np.concatenate([1 - front.sum(axis=0, keepdims=True), front])
    invented = np.broadcast_to(flags(8, 3)[:, None], (8, 9))
    volume = Volume(array, "CYX")
    rows, columns, classes = sheet(monkeypatch, volume, volume, invented, "y", 0)
    assert (columns, classes) == (["observed", "filled"], ["class 1", "class 2"])
    np.testing.assert_array_equal(rows[0].pictures[1].shares, front)
    named = replace(volume, array=array[::-1], channels=("a", "b", "Background"))
    assert sheet(monkeypatch, named, named, invented, "y", 0)[2] == ["a", "b"]
    _, _, classes = sheet(monkeypatch, volume, volume, invented, "y", 0, classes={2: "vein"})
    assert classes == ["vein"]


def test_what_is_said_below_the_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes along any axis are all drawn and none is named as the one shown; gaps that are not shown are counted."""
    monkeypatch.chdir(tmp_path)
    kept: list[str] = []

    def seen(rows: list[Row], columns: list[str], classes: list[str], **rest: Any) -> Any:
        kept[:] = rest["facts"]
        return draw_sheet(rows, columns, classes, **rest)

    monkeypatch.setattr(completion_preview, "draw_sheet", seen)
    gone = flags(40, *range(1, 40, 2))
    invented = np.broadcast_to(gone[:, None, None], (40, 6, 7))
    array = np.full((3, 40, 6, 7), np.float32(1 / 3))
    for axes in ("TZYX", "CZYX"):
        volume = Volume(array, axes)
        draw_completion(volume, volume, invented, "z", 0, Path("a.png"), force=True)
        assert not any("showing" in fact for fact in kept)
        assert any(fact.endswith(" more gaps not shown") for fact in kept)
    times = Volume(np.stack([array, array]), "TCZYX")
    draw_completion(times, times, invented, "z", 1, Path("a.png"), force=True)
    assert "showing time 0 of 2" in kept


def test_an_image_is_grey_above_its_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 8, 9), (8, 9)):
        image = Volume(rng.random(shape).astype(np.float32), "ZYX"[-len(shape) :], (2.0,) * len(shape), "mm")
        found = np.zeros((2, *shape), np.float32)
        found[1] = 1
        path = tmp_path / f"{len(shape)}.png"
        draw_segmentation(image, found, ("a", "b"), path, title="t")
        with Image.open(path) as picture:
            drawn = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        # The second class alone is seen, beside its sign in the legend that of the first.
        counts = [(drawn == list(bytes.fromhex(color[1:]))).all(axis=1).sum() for color in DARK.classes[:2]]
        assert counts[0] < 200 < 10_000 < counts[1]
