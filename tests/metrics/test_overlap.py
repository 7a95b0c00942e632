"""Counting voxels, against paper and MONAI."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_drawn import measured, pair

from softmorph_cli.metrics import overlap
from softmorph_cli.metrics.metric import Metric

COUNTS, SOFT = overlap.METRICS


def values(
    metric: Metric, predicted: np.ndarray, reference: np.ndarray, **settings: Any
) -> dict[str, float | None]:
    return dict(metric.compute(pair(predicted, reference, **settings)).values)


def test_counts_on_paper() -> None:
    predicted = np.array([[0.9, 0.9, 0.9], [0.6, 0.1, 0.0]])
    reference = np.array([[1, 1, 0], [0, 1, 0]])
    # |P| = 4, |G| = 3, |P and G| = 2, |P or G| = 5, of 6 voxels 3 agree.
    assert values(COUNTS, predicted, reference) == pytest.approx(
        {"dice": 4 / 7, "accuracy": 1 / 2, "iou": 2 / 5, "precision": 2 / 4, "recall": 2 / 3}
    )
    # Above 0.7 the fourth voxel is background.
    assert values(COUNTS, predicted, reference, threshold=0.7)["precision"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("predicted", "reference", "wanted"), [(0, 0, (1, 1)), (1, 0, (0, 0)), (0, 1, (0, 0)), (1, 1, (1, 1))]
)
def test_empty_and_full_masks(predicted: int, reference: int, wanted: tuple[int, int]) -> None:
    ones = np.ones((3, 4))
    got = values(COUNTS, ones * predicted, ones * reference)
    assert [got["dice"], got["accuracy"]] == list(wanted)
    assert [got[name] for name in ("iou", "precision", "recall")] == [wanted[0]] * 3
    assert values(SOFT, ones * predicted, ones * reference)["soft_dice"] == wanted[0]


@pytest.mark.parametrize("shape", [(31, 17), (9, 14, 11)])
def test_soft_dice_and_dice_are_those_of_monai(shape: tuple[int, ...]) -> None:
    import torch
    from monai.losses.dice import DiceLoss
    from monai.metrics.meandice import DiceMetric

    rng = np.random.default_rng(len(shape))
    predicted, reference = rng.random(shape).astype(np.float32), rng.random(shape).astype(np.float32)
    for truth in (reference, (reference > 0.6).astype(np.float32)):
        batch = [torch.from_numpy(array)[None, None].double() for array in (predicted, truth)]
        loss = DiceLoss(smooth_nr=0, smooth_dr=0)(*batch).item()
        got = measured(pair(predicted, truth)).values
        assert got["soft_dice"] == pytest.approx(1 - loss, abs=1e-12)
        dice: Any = DiceMetric()
        hard = dice(batch[0] > 0.5, batch[1] > 0.5).item()
        assert got["dice"] == pytest.approx(hard, abs=1e-6)


def test_a_sum_over_many_small_values_loses_nothing() -> None:
    small = np.full((1000, 1000), np.float32(1e-4))
    assert values(SOFT, small, small)["soft_dice"] == pytest.approx(float(np.float32(1e-4)), rel=1e-12)
