"""Evaluation of two folders: files are matched by name, and metrics are summarized over the pairs of files."""

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
    """The files of a folder of predictions and a folder of references, matched by name.

    Attributes:
        pairs: For each pair the name without the suffix, the path of the prediction and the path of the reference,
            sorted by name.
        predictions: Paths of the predictions without a reference.
        references: Paths of the references without a prediction.
        ambiguous: Names without the suffix that several files of one folder share, each with an error message.
    """

    pairs: tuple[tuple[str, Path, Path], ...]
    predictions: tuple[Path, ...]
    references: tuple[Path, ...]
    ambiguous: tuple[tuple[str, str], ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Warnings about predictions without a reference and references without a prediction, one per folder."""
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
    """Match the files of two folders by their names without the suffix: case.npz matches case.nii.gz.

    Args:
        prediction: Folder of the predictions.
        reference: Folder of the references.
        predictions: Paths of the predictions, relative to their folder.
        references: Paths of the references, relative to their folder.

    Raises:
        FileError: If no name occurs in both folders.
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
    """Return the first three items of a list as text, followed by how many more items the list has."""
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
    """Summary of one metric over many pairs of a prediction and a reference.

    Attributes:
        count: Number of pairs for which the metric is defined; the statistics below are computed from these pairs.
        undefined: Number of pairs for which the metric is not defined.
        mean: Mean of the metric; None if `count` is 0.
        median: Median of the metric; None if `count` is 0.
        low: Lower bound of the confidence interval of the mean; None if `count` is below 2.
        high: Upper bound of the confidence interval of the mean; None if `count` is below 2.
    """

    count: int
    undefined: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as a JSON object, whose keys are the attributes."""
        return asdict(self)


def summarize(values: Sequence[float | None], seed: int) -> MetricSummary:
    """Return the mean, the median and a confidence interval of a metric over many pairs of images.

    The interval is that of the mean, by the bias-corrected and accelerated bootstrap (BCa).

    Args:
        values: Value of the metric for each pair; None for a pair for which the metric is not defined.
        seed: Seed of the random generator of the bootstrap.
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
    """Return a JSON object that describes how confidence intervals are computed."""
    return {
        "of": "mean",
        "confidence": CONFIDENCE,
        "method": "BCa bootstrap over pairs (scipy.stats.bootstrap)",
        "resamples": RESAMPLES,
        "seed": seed,
    }
