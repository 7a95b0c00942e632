"""Many pairs in a few numbers: mean, median, and how sure the mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 9999


@dataclass(frozen=True)
class MetricSummary:
    """One metric over many pairs.

    Attributes:
        count: Pairs where it is defined: only these count below.
        undefined: Pairs where it is not.
        mean: None where no pair counts, and so are the others.
        median: Of the same pairs.
        low: Where the confidence interval of the mean begins; None with fewer than two pairs.
        high: Where it ends.
    """

    count: int
    undefined: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def summarize(values: Sequence[float | None], seed: int) -> MetricSummary:
    """Summarize a metric; the interval is the bias-corrected and accelerated bootstrap (BCa) of the mean.

    Args:
        values: One for each pair, None where the metric is not defined.
        seed: Of the bootstrap's draws.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    missing = len(values) - len(known)
    if len(known) == 0:
        return MetricSummary(0, missing, None, None, None, None)
    mean, median = float(known.mean()), float(np.median(known))
    low = high = None
    if len(known) > 1 and np.ptp(known) == 0:
        low = high = mean
    elif len(known) > 1:
        from scipy.stats import bootstrap

        interval = bootstrap(
            (known,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=seed
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return MetricSummary(len(known), missing, mean, median, low, high)


def description(seed: int) -> dict[str, Any]:
    """Return, for JSON, how the intervals were made."""
    return {
        "of": "mean",
        "confidence": CONFIDENCE,
        "method": "BCa bootstrap over pairs (scipy.stats.bootstrap)",
        "resamples": RESAMPLES,
        "seed": seed,
    }
