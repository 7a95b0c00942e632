"""All metrics, in the order of the JSON."""

from __future__ import annotations

from typing import Final

from softmorph_cli.evaluation import (
    centreline,
    junctions,
    located,
    matching,
    overlap,
    street,
    surfaces,
    topological,
)
from softmorph_cli.evaluation.metric import Metric

METRICS: Final[tuple[Metric, ...]] = tuple(
    metric
    for module in (overlap, centreline, topological, matching, street, junctions, surfaces, located)
    for metric in module.METRICS
)
