"""The mean of measured values and its confidence interval, by the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

import numpy as np

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 9999
# Values that differ by a smaller share are equal: of values that differ in their last bit no interval is defined.
_EQUAL: Final = 1e-9


def mean_and_interval(values: Sequence[float], seed: int) -> tuple[float | None, float | None, float | None]:
    """Return the mean of values, and the lower and upper bound of its 95 % confidence interval.

    The interval is that of the bias-corrected and accelerated bootstrap (BCa).

    Args:
        values: The values.
        seed: The seed of the random generator of the bootstrap.

    Returns:
        Mean, lower and upper bound; None for the mean of no value, and for bounds that are not defined, as those of a
        single value.

    >>> mean_and_interval([0.5, 0.5], 0)
    (0.5, 0.5, 0.5)
    """
    if len(values) == 0:
        return None, None, None
    known = np.asarray(values, np.float64)
    mean = float(known.mean())
    if len(known) == 1:
        return mean, None, None
    if np.allclose(known, known[0], rtol=_EQUAL, atol=0):
        return mean, mean, mean
    from scipy.stats import bootstrap

    interval = bootstrap(
        (known,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=seed
    ).confidence_interval
    low, high = (float(bound) if isfinite(bound) else None for bound in (interval.low, interval.high))
    return mean, low, high
