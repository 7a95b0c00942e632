"""Defines the level sets at which a nested skeleton is exact, and the range of stored numbers for each level.

With L levels, the value of a voxel of the skeleton is 0 or in one of L bins (t_k, t_(k+1)], where t_0 = 1/(2L) and
t_k = k/L. The bin determines the level sets {s > t_k} that contain the voxel. Rounding to another type has to leave
each value within the same bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softmorph_cli.errors import UsageError
from softmorph_cli.system.parameters import named

# The number of exact level sets, or "exact" if all are.
Levels: TypeAlias = int | Literal["exact"]

# A program that scales integers in float32 rounds the scale and the product, each by half of 2^-23.
_ROUNDING: Final = 2.0**-23
# The minimal number of integers per bin: with fewer, little more than the bin would be stored.
_CODES_PER_BIN: Final = 4


@dataclass(frozen=True)
class LevelSets:
    """The thresholds t_k of a nested skeleton, which define the level sets {s > t_k}.

    Attributes:
        count: L, the number of levels of the whole range [0, 1], at least 1.
        lowest: The lowest threshold t_0, in [0, 1), in place of 1/(2L); multiples of 1/L up to `lowest` are omitted.
    """

    count: int
    lowest: float | None = None

    def __post_init__(self) -> None:
        """Check the number of levels and the lowest threshold.

        Raises:
            UsageError: If one of the two is out of range.
        """
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise UsageError(f"{named('levels')} is a positive whole number or exact, not {self.count!r}.")
        if self.lowest is not None and not 0 <= self.lowest < 1:
            raise UsageError(
                f"{named('lowest')} is a probability of at least 0 and below 1, not {self.lowest!r}."
            )

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """The thresholds t_0, t_1, ... in ascending order; the level set {s > t_k} is exact for each of them."""
        first = 1 / (2 * self.count) if self.lowest is None else self.lowest
        grid = np.arange(1, self.count) / self.count
        return np.concatenate(([first], grid[grid > first]))

    @property
    def upper_bounds(self) -> NDArray[np.float64]:
        """The inclusive upper end of each bin: the next threshold, or 1 for the last bin."""
        return np.append(self.thresholds[1:], 1.0)

    def nearest(self, threshold: float) -> float:
        """Return the threshold t_k nearest to a number, the lower one if two are equally near."""
        return float(self.thresholds[np.abs(self.thresholds - threshold).argmin()])

    def bins(self, values: ArrayLike) -> NDArray[np.intp]:
        """Return for each value the index k of the bin (t_k, t_(k+1)] that contains it; -1 for values up to t_0."""
        # In float64: 0.3 in float32 is above 0.3.
        return np.searchsorted(self.thresholds, np.asarray(values, np.float64), side="left") - 1

    def rounded_up(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return each value rounded up to the end of its bin, 0 for values up to t_0; the level sets do not change."""
        ends = round_down(np.append(self.upper_bounds, 0), values.dtype)
        rounded: NDArray[Any] = ends[self.bins(values)]
        return rounded

    def codes(self, maximum: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last integer code of each bin, if the probability 1 is stored as `maximum`.

        A bin's codes are those from floor(t_k M) + 1 to floor(t_(k+1) M), where M is `maximum`, and up to M in the
        last bin. Codes so close to a threshold that scaling in float32 could move them across it are left out.

        Raises:
            UsageError: If there are too few integers for the levels.
        """
        low = np.floor(self.thresholds * (1 + _ROUNDING) * maximum).astype(np.int64) + 1
        high = np.floor(self.upper_bounds * (1 - _ROUNDING) * maximum).astype(np.int64)
        high[-1] = maximum
        name = {255: "uint8", 65535: "uint16"}.get(maximum, f"integers up to {maximum}")
        fits = self.count * _CODES_PER_BIN <= maximum + 1
        self._check(low <= high, fits, name, "uint16" if maximum < 65535 else "float32", (maximum + 1) // 4)
        return low, high

    def floats(self, dtype: DTypeLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the least and the greatest floating-point number of the type `dtype` in each bin.

        Raises:
            UsageError: If a bin contains no number of the type.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        # Above t_k and above t_k rounded to the type: other programs compare with either.
        low = np.nextafter(self.thresholds.astype(kind), kind.type(2))
        high = round_down(self.upper_bounds, kind)
        # The reciprocal distance of numbers between 1/2 and 1.
        most = round(1 / float(np.finfo(kind).epsneg))
        self._check(low <= high, True, str(kind), "float32", most)
        return low, high

    def bounds(self, dtype: DTypeLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the least and the greatest stored number of each bin, for a floating-point or an integer type.

        Raises:
            UsageError: If a bin contains no number of the type.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        return self.floats(kind) if kind.kind == "f" else self.codes(int(np.iinfo(kind).max))

    def _check(self, held: NDArray[np.bool_], fits: bool, name: str, wider: str, most: int) -> None:
        """Raise an error unless every bin contains a number of a type.

        Args:
            held: For each bin, whether it contains a number of the type.
            fits: Whether the type has enough numbers for the levels.
            name: The name of the type.
            wider: The name of a type with more numbers, for the message.
            most: The number of levels that the type can hold.

        Raises:
            UsageError: If a bin is empty, or the levels do not fit.
        """
        if fits and held.all():
            return
        if fits and self.count <= most and self.lowest is not None and held[1:].all():
            bound = float(self.upper_bounds[0])
            raise UsageError(
                f"no {name} number lies between {named('lowest')} {self.lowest:g} and the next level, {bound:g}; "
                f"give {named('lowest', float(f'{bound:g}'))}, or write {named('output_type', wider)}."
            )
        raise UsageError(
            f"{self.count} levels do not fit into {name}; write {named('output_type', wider)}, or take fewer levels: "
            f"{named('levels', 1 << (most.bit_length() - 1))}."
        )


def parse_levels(value: str | int) -> Levels:
    """Return the number of levels as an int, or the word "exact", from the text of an option.

    Raises:
        UsageError: If the text is neither an integer nor "exact".
    """
    if value == "exact":
        return "exact"
    with suppress(ValueError):
        if not isinstance(value, bool):
            return int(value)
    raise UsageError(f"{named('levels')} {value}: use 8, 16, 32, a multiple of 64, or exact (method nested).")


def round_down(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Return non-negative numbers rounded towards 0 to a narrower float type."""
    wide = np.asarray(values, np.float64)
    narrow = wide.astype(dtype)
    return np.where(narrow.astype(np.float64) > wide, np.nextafter(narrow, narrow.dtype.type(0)), narrow)


def nested_levels(provenance: Mapping[str, Any]) -> LevelSets | Literal["exact"] | None:
    """Return the level sets at which a map is exact, according to the map's provenance.

    Args:
        provenance: The provenance of a file, or to be written into a file: a command with its parameters, or with the
            parameters of its steps.

    Returns:
        The level sets, or "exact" if all level sets are exact; None unless the last step used the method `nested`.
    """
    last = _last_step(provenance)
    if last.get("method") != "nested":
        return None
    levels, lowest = last.get("levels"), last.get("lowest")
    if levels == "exact":
        return "exact"
    try:
        return LevelSets(levels, lowest)  # type: ignore[arg-type]
    except (UsageError, TypeError):
        return None


def nested_finished(provenance: Mapping[str, Any]) -> bool:
    """Return whether the level sets of a map are curves one voxel wide, according to the map's provenance."""
    return nested_levels(provenance) is not None and _last_step(provenance).get("finish") is True


def _last_step(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the step that produced a map; an empty mapping if the step is unknown."""
    made = provenance.get("parameters")
    # Options of reading, such as logits or a coarser resolution, change the values.
    if not isinstance(made, Mapping) or provenance.get("read_with"):
        return {}
    if made.get("renormalize") or made.get("argmax"):
        return {}
    steps = made.get("steps", [made])
    last = steps[-1] if isinstance(steps, list) and steps else None
    return last if isinstance(last, Mapping) else {}


def at_level(threshold: float, levels: LevelSets | Literal["exact"] | None) -> tuple[float, tuple[str, ...]]:
    """Return the threshold to be applied to a map that is exact at the levels `levels`, and notes for the user."""
    if not isinstance(levels, LevelSets) or (used := levels.nearest(threshold)) == threshold:
        return threshold, ()
    return used, (
        f"threshold {threshold:g} -> {used:g}, the nearest of the {levels.count} levels of this nested skeleton.",
    )
