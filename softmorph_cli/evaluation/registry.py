"""All metrics in the order of the JSON, and how a pair is measured with them."""

from __future__ import annotations

from typing import Final

from softmorph_cli.evaluation import centreline, junctions, located, overlap, street, surfaces, topological
from softmorph_cli.evaluation.metric import Metric, Reading
from softmorph_cli.evaluation.pair import Pair

METRICS: Final[tuple[Metric, ...]] = tuple(
    metric
    for module in (overlap, centreline, topological, street, junctions, surfaces, located)
    for metric in module.METRICS
)


def evaluate(pair: Pair) -> Reading:
    """Return every metric of a pair that its settings ask for."""
    readings = [metric.compute(pair) for metric in METRICS if metric.wanted(pair.settings)]
    values = {name: value for reading in readings for name, value in reading.values.items()}
    return Reading(values, tuple(dict.fromkeys(note for reading in readings for note in reading.notes)))
