"""Evaluation of two folders: files matched by name, and metrics summarized over the pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.formats import suffix_of

_SHOWN: Final = 3
CONFIDENCE: Final = 0.95
RESAMPLES: Final = 9999


@dataclass(frozen=True)
class Matched:
    """Files of two folders, matched by name.

    Attributes:
        pairs: Name without the format, prediction and reference, sorted by name.
        predictions: Predictions without a reference.
        references: References without a prediction.
        ambiguous: Names that several files of a folder have, each with an error message.
    """

    pairs: tuple[tuple[str, Path, Path], ...]
    predictions: tuple[Path, ...]
    references: tuple[Path, ...]
    ambiguous: tuple[tuple[str, str], ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Warnings about files without a partner, one sentence for each folder."""
        warnings = []
        for kind, lacks, alone in (
            ("prediction", "reference", self.predictions),
            ("reference", "prediction", self.references),
        ):
            if alone:
                has = f"1 {kind} has" if len(alone) == 1 else f"{len(alone):,} {kind}s have"
                warnings.append(f"{has} no {lacks} of that name: {listed(alone)}.")
        return tuple(warnings)


def match(
    prediction: Path, reference: Path, predictions: Sequence[str], references: Sequence[str]
) -> Matched:
    """Match the files of two folders by their names without the format: case.npz matches case.nii.gz.

    Args:
        prediction: One folder.
        reference: The other.
        predictions: Paths relative to the first.
        references: Paths relative to the second.

    Raises:
        FileError: If no name is in both.
    """
    mine, its = _by_stem(prediction, predictions), _by_stem(reference, references)
    both = sorted(mine.keys() & its.keys())
    if not both:
        raise FileError(
            f"no name is in both folders: {prediction} holds {_names(mine)}; {reference} holds {_names(its)}. Give a "
            "prediction the name of its reference, up to the format."
        )
    pairs, ambiguous = [], []
    for stem in both:
        several = next((paths for paths in (mine[stem], its[stem]) if len(paths) > 1), None)
        if several:
            names = " and ".join(path.name for path in several)
            message = (
                f"{several[0].parent} holds {names}, of which only one can be compared: move the rest away."
            )
            ambiguous.append((stem, message))
        else:
            pairs.append((stem, mine[stem][0], its[stem][0]))
    return Matched(
        tuple(pairs),
        tuple(path for stem in sorted(mine.keys() - its.keys()) for path in mine[stem]),
        tuple(path for stem in sorted(its.keys() - mine.keys()) for path in its[stem]),
        tuple(ambiguous),
    )


def listed(items: Sequence[object]) -> str:
    """Return the first items of a list in words, and the number of the others."""
    more = len(items) - _SHOWN
    return ", ".join(map(str, items[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _by_stem(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for name in names:
        found[name[: len(name) - len(suffix_of(Path(name)))]].append(folder / name)
    return dict(found)


def _names(found: dict[str, list[Path]]) -> str:
    return listed([path.name for stem in sorted(found) for path in found[stem]])


@dataclass(frozen=True)
class MetricSummary:
    """Summary of one metric over many pairs.

    Attributes:
        count: Number of pairs for which it is defined; the values below are of these.
        undefined: Number of the other pairs.
        mean: None if `count` is 0.
        median: None if `count` is 0.
        low: Lower end of the confidence interval of the mean; None for fewer than two pairs.
        high: Upper end.
    """

    count: int
    undefined: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return its JSON."""
        return asdict(self)


def summarize(values: Sequence[float | None], seed: int) -> MetricSummary:
    """Summarize a metric; the interval is the bias-corrected and accelerated bootstrap (BCa) of the mean.

    Args:
        values: Of each pair, None if the metric is not defined.
        seed: Of the bootstrap.
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
    """Return the JSON on how intervals are computed."""
    return {
        "of": "mean",
        "confidence": CONFIDENCE,
        "method": "BCa bootstrap over pairs (scipy.stats.bootstrap)",
        "resamples": RESAMPLES,
        "seed": seed,
    }
