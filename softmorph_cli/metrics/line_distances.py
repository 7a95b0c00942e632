"""Metrics of the distance between two centrelines: precision and recall at a tolerance, and Hausdorff distances."""

from __future__ import annotations

from typing import Final

import numpy as np

from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.overlap import harmonic
from softmorph_cli.metrics.pair import Pair
from softmorph_cli.metrics.surfaces import PERCENT, empty_masks, unknown_size, within


def _near(pair: Pair) -> Reading:
    empty = empty_masks(pair)
    if empty:
        both = float(len(empty) == 2)
        return Reading(dict.fromkeys(_NEAR, both))
    precision, recall = (float((apart <= within(pair)).mean()) for apart in pair.line_distances)
    values = dict(zip(_NEAR, (precision, recall, harmonic(precision, recall)), strict=True))
    return Reading(values, unknown_size(pair))


def _hausdorff(pair: Pair) -> Reading:
    unit = pair.frame.suffix
    keys = [f"{name}_{unit}" for name in ("centreline_hd", "centreline_hd95")]
    empty = empty_masks(pair)
    if len(empty) == 1:
        why = f"the {empty[0]} is empty: distances between centrelines ({', '.join(keys)}) are not defined."
        return Reading(dict.fromkeys(keys), (why,))
    if empty:
        return Reading(dict.fromkeys(keys, 0.0))
    apart = pair.line_distances
    # The least distance within which that share lies, not one interpolated between two.
    shares = [
        max(float(np.quantile(one, q, method="inverted_cdf")) for one in apart) for q in (1, PERCENT / 100)
    ]
    return Reading(dict(zip(keys, shares, strict=True)), unknown_size(pair))


_NEAR: Final = ("centreline_precision", "centreline_recall", "centreline_f1")
_LINES: Final = (
    "The centrelines are the exact ones of both masks with their cavities filled (softmorph inspect); distances are "
    "between the centres of their voxels, with voxels as large as the file says."
)
_COST: Final = "1 ms beside smd"

METRICS: Final = (
    Metric(
        names=_NEAR,
        title="Centreline agreement at a tolerance",
        definition=(
            "centreline_precision is the share of the prediction's centreline voxels that are at most the tolerance "
            "(--distance-tolerance, as for nsd) from the reference's centreline, centreline_recall the share of the "
            "reference's that are as near to the prediction's; centreline_f1 is their harmonic mean. "
            f"{_LINES} In works on roads these are correctness and completeness. Both masks empty: 1; one of them: 0."
        ),
        source=(
            "Heipke et al., Evaluation of automatic road extraction, IAPRS 32, 1997; of neurons, as the share that is "
            "farther away, Peng et al., V3D, Nature Biotechnology 28, 2010"
        ),
        unit="1",
        better="higher",
        cost=_COST,
        compute=_near,
    ),
    Metric(
        names=("centreline_hd_mm", "centreline_hd95_mm"),
        title="Hausdorff distance of centrelines",
        definition=(
            "centreline_hd_mm is the largest distance from a voxel of either centreline to the other centreline; for "
            f"centreline_hd95_mm the farthest {100 - PERCENT:g} % of the voxels of each are left out: the least "
            f"distance within which {PERCENT:g} % lie, the larger of both directions. {_LINES} Both masks empty: 0; "
            "one of them: null. In the prediction's unit, as hd95_mm is."
        ),
        source="Huttenlocher et al., Comparing images using the Hausdorff distance, IEEE TPAMI 15, 1993",
        unit="mm",
        better="lower",
        cost=_COST,
        compute=_hausdorff,
    ),
)
