"""Tables and JSON of priors."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.cli import report
from softmorph_cli.completion.options import HELD_OUT, METHODS
from softmorph_cli.errors import NotReachedError
from softmorph_cli.system.printable import cell

if TYPE_CHECKING:
    from softmorph_cli.completion.prior import Prior, Row

COLUMNS: Final = ("hidden", "method", "class", "dice", "low", "high", "subjects")
_OPPOSITE: Final = {"R": "L", "A": "P", "S": "I"}


def described(prior: Prior, path: Path) -> dict[str, Any]:
    """Return everything of a prior but its tensors as a JSON object, with the hash of its network."""
    from softmorph_cli.completion import prior_file

    document = prior_file.described(prior)
    del document["schema"], document["validation"]
    return {
        "path": str(path),
        **document,
        "orientation": orientation(prior),
        "network_sha256": prior.network_hash(),
        "validation": rows(prior.validation),
    }


def orientation(prior: Prior) -> str | None:
    """Return the direction in the world in which each axis of the array runs, such as "SAR"; None if it is unknown."""
    import numpy as np

    from softmorph_cli.volume import world_directions

    if prior.directions is None:
        return None
    found = world_directions(np.array(prior.directions).T)
    return "".join(letter if same else _OPPOSITE[letter] for letter, same in found)


def rows(table: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON objects."""
    return [dict(zip(COLUMNS, asdict(row).values(), strict=True)) for row in table]


def as_csv(table: Sequence[Row]) -> str:
    """Return a table as CSV, an empty cell for what is not defined."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table:
        values = asdict(row).values()
        writer.writerow([cell(one) if isinstance(one, str) else "" if one is None else one for one in values])
    return held.getvalue()


def show(title: str, table: Sequence[Row], *, err: bool) -> None:
    """Print the Dice of hidden slices: a line for each gap and class, a column for each method."""
    found = {(row.gap, row.label, row.method): row for row in table}
    lines = [
        [f"{hidden}, {label}", *(_figure(found[hidden, label, method]) for method in METHODS)]
        for hidden, label in dict.fromkeys((row.gap, row.label) for row in table)
    ]
    most = max((row.subjects for row in table), default=0)
    footer = (
        f"Dice of the hidden slices, mean of {most} map{'s' if most != 1 else ''} (95 % interval of the mean)"
    )
    report.table(title, ("", *METHODS), lines, err=err, footer=footer, figures=len(METHODS))


def check_worth(table: Sequence[Row], path: Path, maps: str, advice: str) -> None:
    """Raise an error if a prior is worse than the interpolation of logits in each gap of a table.

    Args:
        table: The rows of a validation.
        path: The file of the prior.
        maps: What the message calls the maps of the table.
        advice: The end of the message: why it may be so, and what to do.

    Raises:
        NotReachedError: If the prior is worse in each gap.
    """
    from softmorph_cli.completion.validation import ALL

    means = {(row.gap, row.method): row.dice for row in table if row.label == ALL and row.dice is not None}
    pairs = [(mine, means[hidden, "logit"]) for (hidden, method), mine in means.items() if method == "prior"]
    if pairs and all(mine < its for mine, its in pairs):
        mine, its = max(pairs)
        raise NotReachedError(
            f"{path} finds hidden slices of {maps} worse than interpolation does, whatever is hidden (Dice {mine:.3f} "
            f"at best, where logit has {its:.3f}): {advice}."
        )


def image_words(prior: Prior) -> str:
    """Return in words how well held-out images were segmented in the training; "" if none were."""
    found = prior.training.get(HELD_OUT)
    if not found:
        return ""
    dice = ", ".join(f"{name} {_range(one, '.3f')}" for name, one in found["dice"].items())
    count = found["subjects"]
    return (
        f"held-out images ({count}): {_range(found['explained'], '.0%')} of the variance is explained; Dice of the "
        f"segmentation: {dice} (mean, least to largest)"
    )


def explained_words(prior: Prior) -> str:
    """Return in brackets which shares of the variance of held-out images were explained; "" if none were."""
    found = prior.training.get(HELD_OUT)
    if not found:
        return ""
    each = found["explained"]
    return f" (held-out images: {each['low']:.0%} to {each['high']:.0%})"


def _range(each: Mapping[str, float], how: str) -> str:
    return f"{each['mean']:{how}} ({each['low']:{how}} to {each['high']:{how}})"


def _figure(row: Row) -> str:
    if row.dice is None:
        return "undefined"
    interval = "" if row.low is None or row.high is None else f" ({row.low:.3f} to {row.high:.3f})"
    return f"{row.dice:.3f}{interval}"
