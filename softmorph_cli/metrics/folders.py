"""Evaluation of two folders: files are matched by name, and metrics are summarized over the pairs of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.bootstrap import CONFIDENCE, RESAMPLES, mean_and_interval
from softmorph_cli.errors import FileError
from softmorph_cli.io.formats import stem_of
from softmorph_cli.metrics.case_names import SAME_NAMES, CaseNames, proposal
from softmorph_cli.system.printable import typed

_SHOWN: Final = 3


@dataclass(frozen=True)
class Matched:
    """The files of a folder of predictions and a folder of references, matched by name.

    Attributes:
        pairs: For each pair the name of the case, the path of the prediction and the path of the reference, sorted by
            name.
        predictions: Paths of the predictions without a reference.
        references: Paths of the references without a prediction.
        ambiguous: Names of cases that several files of one folder share, each with an error message.
        aside: Paths of the files whose names are not those of a case.
    """

    pairs: tuple[tuple[str, Path, Path], ...]
    predictions: tuple[Path, ...]
    references: tuple[Path, ...]
    ambiguous: tuple[tuple[str, str], ...]
    aside: tuple[Path, ...] = ()

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

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on the files whose names are not those of a case; empty if there are none."""
        if not self.aside:
            return ()
        return (f"left aside, as their names are not those of a case: {listed(self.aside)}.",)

    def check_complete(self) -> None:
        """Check that every file has a partner.

        Raises:
            FileError: If a prediction has no reference, or a reference no prediction.
        """
        if self.unmatched:
            missing = "; ".join(text.removesuffix(".") for text in self.unmatched)
            raise FileError(f"{missing}: leave out --strict to compare the other pairs.")


def match(
    prediction: Path,
    reference: Path,
    predictions: Sequence[str],
    references: Sequence[str],
    rule: CaseNames = SAME_NAMES,
) -> Matched:
    """Match the files of two folders by the names of their cases: case.npz matches case.nii.gz.

    Args:
        prediction: Folder of the predictions.
        reference: Folder of the references.
        predictions: Paths of the predictions, relative to their folder.
        references: Paths of the references, relative to their folder.
        rule: The rule that finds the name of a case in the name of a file.

    Raises:
        FileError: If no name occurs in both folders.
    """
    (mine, not_mine), (its, not_its) = (
        rule.sorted_out(prediction, predictions),
        rule.sorted_out(reference, references),
    )
    both = sorted(mine.keys() & its.keys())
    if not both:
        raise FileError(
            f"no name is in both folders: {prediction} holds {listed(predictions)}; {reference} holds "
            f"{listed(references)}. {_advice(predictions, references, rule)}"
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
        (*not_mine, *not_its),
    )


def _advice(predictions: Sequence[str], references: Sequence[str], tried: CaseNames) -> str:
    """Return what to do about two folders without a case in common."""
    stems = [[stem_of(name) for name in one] for one in (predictions, references)]
    rule = proposal(*stems) if tried == SAME_NAMES else None
    otherwise = "give a prediction the name of its reference, up to the format."
    if rule is None:
        return otherwise.capitalize()
    option = ("--suffix", rule.suffix) if rule.suffix else ("--pattern", rule.pattern or "")
    return f"Add {typed(*option)}, or {otherwise}"


def listed(items: Sequence[object]) -> str:
    """Return the first three items of a list as text, followed by how many more items the list has."""
    more = len(items) - _SHOWN
    return ", ".join(map(str, items[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


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
    mean, low, high = mean_and_interval(known.tolist(), seed)
    return MetricSummary(len(known), missing, mean, float(np.median(known)), low, high)


def description(seed: int) -> dict[str, Any]:
    """Return a JSON object that describes how confidence intervals are computed."""
    return {
        "of": "mean",
        "confidence": CONFIDENCE,
        "method": "BCa bootstrap over pairs (scipy.stats.bootstrap)",
        "resamples": RESAMPLES,
        "seed": seed,
    }
