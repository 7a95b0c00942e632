"""The list of all metrics, `METRICS`, in the order in which the JSON has them."""

from __future__ import annotations

from typing import Final

from softmorph_cli.metrics import (
    centreline,
    detection,
    error_map,
    line_distances,
    opt_j,
    overlap,
    street_mover,
    surfaces,
    topological,
)
from softmorph_cli.metrics.metric import Metric

METRICS: Final[tuple[Metric, ...]] = tuple(
    metric
    for module in (
        overlap,
        centreline,
        topological,
        street_mover,
        opt_j,
        surfaces,
        error_map,
        detection,
        line_distances,
    )
    for metric in module.METRICS
)
