"""Metrics of overlap, such as Dice and precision, which count voxels or sum probabilities."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.pair import Pair


def share(part: float, whole: float, otherwise: float) -> float:
    """Return part / whole, or the value `otherwise` if the whole is 0."""
    return part / whole if whole else otherwise


def harmonic(first: float, second: float) -> float:
    """Return the harmonic mean of two non-negative numbers; 0 if either number is 0."""
    return share(2 * first * second, first + second, 0.0)


def _counts(pair: Pair) -> Reading:
    masks = pair.predicted, pair.truth, pair.predicted & pair.truth
    predicted, truth, both = (int(np.count_nonzero(mask)) for mask in masks)
    either = predicted + truth - both
    # The value of a ratio of 0 to 0: 1 if both masks are empty.
    empty = float(either == 0)
    return Reading(
        {
            "dice": share(2 * both, predicted + truth, 1.0),
            "accuracy": 1 - (either - both) / pair.truth.size,
            "iou": share(both, either, 1.0),
            "precision": share(both, predicted, empty),
            "recall": share(both, truth, empty),
        }
    )


def _soft(pair: Pair) -> Reading:
    planes = list(zip(pair.prediction.array, pair.reference.array, strict=True))
    both = math.fsum(float(np.multiply(p, g, dtype=np.float64).sum()) for p, g in planes)
    sums = math.fsum(float(p.sum(dtype=np.float64) + g.sum(dtype=np.float64)) for p, g in planes)
    return Reading({"soft_dice": share(2 * both, sums, 1.0)})


METRICS: Final = (
    Metric(
        names=("dice", "accuracy", "iou", "precision", "recall"),
        title="Overlap",
        definition=(
            "P is where the prediction is above the threshold, G where the reference is above 0.5; |.| counts voxels. "
            "dice = 2 |P and G| / (|P| + |G|); iou = |P and G| / |P or G|; precision = |P and G| / |P|; recall = "
            "|P and G| / |G|; accuracy is the share of all voxels in both or in neither, so it grows with the empty "
            "space around. Both masks empty: 1; one of them: 0, but for accuracy."
        ),
        source="Dice 1945; Jaccard 1912",
        unit="1",
        better="higher",
        cost="10 ms",
        compute=_counts,
    ),
    Metric(
        names=("soft_dice",),
        title="Soft Dice",
        definition=(
            "soft_dice = 2 sum(p g) / (sum p + sum g), over all voxels, of the probabilities p and the reference's "
            "values g as they are: no threshold. A soft reference that equals the prediction gives less than 1. Both 0 "
            "everywhere: 1."
        ),
        source="Milletari et al., V-Net, 2016, with sums in place of sums of squares, as in MONAI",
        unit="1",
        better="higher",
        cost="10 ms",
        compute=_soft,
    ),
)
