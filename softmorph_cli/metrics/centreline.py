"""The metrics clDice and soft clDice, which measure how much of each map's centreline lies inside the other map."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.overlap import harmonic, share
from softmorph_cli.metrics.pair import Pair

Array = npt.NDArray[Any]


def cldice(prediction: Array, reference: Array, skeleton: Array, reference_skeleton: Array) -> float:
    """Return clDice, the harmonic mean of topological precision and sensitivity, of two masks or two soft maps.

    All four arrays have values in [0, 1] and the same shape. The result is 1 if both skeletons are 0 everywhere, and 0
    if only one of the skeletons is.
    """
    drawn, truly = (float(image.sum(dtype=np.float64)) for image in (skeleton, reference_skeleton))
    if drawn == 0 or truly == 0:
        return float(drawn == truly)
    precision = share(_inside(skeleton, reference), drawn, 0.0)
    sensitivity = share(_inside(reference_skeleton, prediction), truly, 0.0)
    return harmonic(precision, sensitivity)


def _inside(skeleton: Array, image: Array) -> float:
    """Return the sum of the products of a skeleton and an image, computed only where the sparse skeleton is not 0."""
    at = np.flatnonzero(skeleton)
    return float(np.multiply(skeleton.ravel()[at], image.ravel()[at], dtype=np.float64).sum())


def _hard(pair: Pair) -> Reading:
    skeletons = pair.skeletons
    return Reading({"cldice": cldice(pair.predicted, pair.truth, skeletons.prediction, skeletons.reference)})


def _soft(pair: Pair) -> Reading:
    skeletons = pair.soft_skeletons
    value = cldice(pair.prediction.array, pair.reference.array, skeletons.prediction, skeletons.reference)
    return Reading({"soft_cldice": value})


METRICS: Final = (
    Metric(
        names=("cldice",),
        title="clDice",
        definition=(
            "With S(P) and S(G) the exact centrelines of the two masks (softmorph skeletonize --hard), cldice is the "
            "harmonic mean of |S(P) and G| / |S(P)|, topological precision, and |S(G) and P| / |S(G)|, topological "
            "sensitivity. Both centrelines empty: 1; one of them: 0. Other thinning algorithms give other centrelines "
            "and slightly other values."
        ),
        source="Shit et al., clDice, CVPR 2021",
        unit="1",
        better="higher",
        cost="0.1 s",
        compute=_hard,
    ),
    Metric(
        names=("soft_cldice",),
        title="Soft clDice",
        definition=(
            "clDice without thresholds: the soft skeletons of p and g by the chosen method stand for S(P) and S(G), p "
            "and g for the masks, sums of products for counts; nothing is added to numerators or denominators. A "
            "perfect but unsure prediction gives less than 1. Both skeletons 0 everywhere: 1; one of them: 0."
        ),
        source="Shit et al., clDice, CVPR 2021; the skeleton is softmorph's",
        unit="1",
        better="higher",
        cost="0.3 s with levels",
        compute=_soft,
    ),
)
