"""clDice: the formula on any skeletons, on paper, and how far it is from scikit-image's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_drawn import drawn, pair
from helpers_maps import vessels
from skimage import morphology

from softmorph_cli.metrics import centreline
from softmorph_cli.metrics.centreline import cldice
from softmorph_cli.metrics.metric import Metric

skeletonize: Any = morphology.skeletonize
HARD, SOFT = centreline.METRICS


def value(metric: Metric, predicted: np.ndarray, reference: np.ndarray, **settings: Any) -> float:
    (one,) = metric.compute(pair(predicted, reference, **settings)).values.values()
    assert one is not None
    return one


def maps(shape: tuple[int, ...], count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of masks that have some vessels in common."""
    return [
        (
            np.roll(vessels(shape, seed), 2, axis=0) > 0.5,
            np.maximum(vessels(shape, seed), vessels(shape, 99)) > 0.4,
        )
        for seed in range(count)
    ]


@pytest.mark.parametrize("shape", [(60, 64), (24, 26, 28)])
def test_the_formula_on_skeletons_of_scikit_image(shape: tuple[int, ...]) -> None:
    for predicted, truth in maps(shape, 5):
        thin, thin_truth = skeletonize(predicted), skeletonize(truth)
        precision, sensitivity = truth[thin].mean(), predicted[thin_truth].mean()
        wanted = 2 * precision * sensitivity / (precision + sensitivity)
        assert cldice(predicted, truth, thin, thin_truth) == pytest.approx(wanted, rel=1e-12)


# Measured: at most 0.018 and 0.042, in the mean 0.008 and 0.028. In smaller 3D maps scikit-image leaves sheets
# of voxels where vessels touch the border, and the values lie up to 0.17 apart.
@pytest.mark.parametrize(("shape", "apart"), [((60, 64), 0.03), ((64, 64, 64), 0.05)])
def test_thinning_by_scikit_image_gives_similar_values(shape: tuple[int, ...], apart: float) -> None:
    theirs = [cldice(p, g, skeletonize(p), skeletonize(g)) for p, g in maps(shape, 3)]
    ours = [value(HARD, p, g) for p, g in maps(shape, 3)]
    far = np.abs(np.subtract(ours, theirs))
    assert 0 < far.max() < apart


def test_half_of_a_line_on_paper() -> None:
    truth = np.zeros((9, 42))
    truth[4, 1:41] = 1
    half = truth.copy()
    half[4, 21:] = 0
    # All of the prediction's line is right, half of the reference's is found: 2 * 1 * 0.5 / 1.5.
    assert value(HARD, half, truth) == pytest.approx(2 / 3)
    assert value(HARD, truth, half) == pytest.approx(2 / 3)
    assert value(HARD, truth, np.roll(truth, 2, axis=0)) == 0


@pytest.mark.parametrize("metric", [HARD, SOFT])
def test_empty_skeletons(metric: Metric) -> None:
    blank, line = np.zeros((9, 12)), np.zeros((9, 12))
    line[4] = 1
    assert value(metric, blank, blank) == 1
    assert value(metric, line, blank) == value(metric, blank, line) == 0


def test_a_thicker_vessel_has_the_same_cldice() -> None:
    truth = drawn(2) > 0.5
    assert value(HARD, drawn(2, grown=1.5), truth) == 1


@pytest.mark.parametrize("shape", [(60, 64), (24, 26, 28)])
def test_soft_cldice_of_masks_by_levels_is_cldice(shape: tuple[int, ...]) -> None:
    for predicted, truth in maps(shape, 3):
        assert value(SOFT, predicted, truth) == pytest.approx(value(HARD, predicted, truth), rel=1e-12)


def test_soft_cldice_equals_the_loss_of_monai() -> None:
    import torch
    from monai.losses.cldice import SoftclDiceLoss

    # Its erosion takes the outside of the image for foreground: with a margin this makes no difference.
    predicted, truth = (np.pad(vessels((60, 64), seed), 12) for seed in (1, 2))
    batch = [torch.from_numpy(array)[None, None].repeat(1, 2, 1, 1) for array in (truth, predicted)]
    loss = SoftclDiceLoss(iter_=10, smooth=1e-12, smooth_nr=0, smooth_dr=0)(*batch).item()
    # Two channels, because older ones drop the first.
    assert value(SOFT, predicted, truth, method="cldice") == pytest.approx(1 - loss, abs=1e-5)


def test_an_uncertain_prediction_scores_less_than_a_certain_one() -> None:
    truth = drawn(2) > 0.5
    sure = value(SOFT, truth, truth)
    assert sure == 1
    assert value(SOFT, truth * 0.6, truth) == pytest.approx(0.75, abs=0.01)  # precision 1, sensitivity 0.6
