"""All metrics in the order of the JSON, and how a pair is measured with them."""

from __future__ import annotations

from typing import Final

from softmorph_cli.evaluation.metric import Metric, Reading
from softmorph_cli.evaluation.pair import Pair

# Each module of metrics brings its own `METRICS`.
METRICS: Final[tuple[Metric, ...]] = ()


def evaluate(pair: Pair) -> Reading:
    """Return every metric of a pair, the expensive ones where its settings ask for them."""
    wanted = [metric for metric in METRICS if pair.settings.expensive or not metric.expensive]
    readings = [metric.compute(pair) for metric in wanted]
    values = {name: value for reading in readings for name, value in reading.values.items()}
    return Reading(values, tuple(dict.fromkeys(note for reading in readings for note in reading.notes)))
