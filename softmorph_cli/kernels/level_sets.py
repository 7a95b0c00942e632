"""The level sets that a nested skeleton is exact at, and the numbers that keep them apart in a file.

With L levels a voxel of the skeleton is 0 or lies in one of L bins (t_k, t_(k+1)], t_0 = 1/(2L) and t_k = k/L:
which bin it lies in says which of the sets {s > t_k} hold it. Rounding to another type may move a value inside
its bin and never out of it.
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

# How many level sets are exact, or "exact": every one of them.
Levels: TypeAlias = int | Literal["exact"]

# A program that scales integers in float32 rounds the scale and the product: by two halves of 2^-23.
_ROUNDING: Final = 2.0**-23
# Fewer codes to a bin, and integers would hold hardly more than the bins' numbers.
_CODES_PER_BIN: Final = 4


@dataclass(frozen=True)
class LevelSets:
    """The thresholds of a nested skeleton.

    Attributes:
        count: L, the number of levels of the whole range, at least 1.
        lowest: The lowest threshold in place of 1/(2L), in [0, 1); multiples of 1/L up to it are left out.
    """

    count: int
    lowest: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no thresholds.

        Raises:
            UsageError: If they do not.
        """
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise UsageError(f"{named('levels')} is a positive whole number or exact, not {self.count!r}.")
        if self.lowest is not None and not 0 <= self.lowest < 1:
            raise UsageError(
                f"{named('lowest')} is a probability of at least 0 and below 1, not {self.lowest!r}."
            )

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """t_0, t_1, ..., ascending; {s > t_k} is exact for each."""
        first = 1 / (2 * self.count) if self.lowest is None else self.lowest
        grid = np.arange(1, self.count) / self.count
        return np.concatenate(([first], grid[grid > first]))

    @property
    def upper_bounds(self) -> NDArray[np.float64]:
        """The upper end of each bin, which belongs to it: the next threshold, and 1 for the last."""
        return np.append(self.thresholds[1:], 1.0)

    def nearest(self, threshold: float) -> float:
        """Return the t_k that is nearest to a threshold, the lower of two."""
        return float(self.thresholds[np.abs(self.thresholds - threshold).argmin()])

    def bins(self, values: ArrayLike) -> NDArray[np.intp]:
        """Return k for a value in (t_k, t_(k+1)], -1 for one up to t_0."""
        # In float64 whatever the values are in: 0.3 in float32 is above 0.3.
        return np.searchsorted(self.thresholds, np.asarray(values, np.float64), side="left") - 1

    def rounded_up(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return each value as the upper end of its bin, and 0 up to t_0: every level set of it is exact."""
        ends = round_down(np.append(self.upper_bounds, 0), values.dtype)
        rounded: NDArray[Any] = ends[self.bins(values)]
        return rounded

    def codes(self, maximum: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last integer for each bin, where 1 is stored as `maximum`.

        From floor(t_k M) + 1 to floor(t_(k+1) M), up to M in the last bin, without codes so close to a threshold
        that scaling in float32 could move them across it.

        Raises:
            UsageError: If there are too few integers for so many levels.
        """
        low = np.floor(self.thresholds * (1 + _ROUNDING) * maximum).astype(np.int64) + 1
        high = np.floor(self.upper_bounds * (1 - _ROUNDING) * maximum).astype(np.int64)
        high[-1] = maximum
        name = {255: "uint8", 65535: "uint16"}.get(maximum, f"integers up to {maximum}")
        fits = self.count * _CODES_PER_BIN <= maximum + 1
        self._check(low <= high, fits, name, "uint16" if maximum < 65535 else "float32", (maximum + 1) // 4)
        return low, high

    def floats(self, dtype: DTypeLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the least and the greatest number of a float type in each bin.

        Raises:
            UsageError: If a bin holds no number of that type.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        # Above both t_k and t_k rounded to the type: other programs compare with either.
        low = np.nextafter(self.thresholds.astype(kind), kind.type(2))
        high = round_down(self.upper_bounds, kind)
        # Between 1/2 and 1 numbers are this far apart.
        most = round(1 / float(np.finfo(kind).epsneg))
        self._check(low <= high, True, str(kind), "float32", most)
        return low, high

    def bounds(self, dtype: DTypeLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the least and the greatest stored number of each bin: `floats`, or `codes` of a whole integer type.

        Raises:
            UsageError: If a bin holds no number of that type.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        return self.floats(kind) if kind.kind == "f" else self.codes(int(np.iinfo(kind).max))

    def _check(self, held: NDArray[np.bool_], fits: bool, name: str, wider: str, most: int) -> None:
        """Refuse a type in which a bin has no number.

        Raises:
            UsageError: If one has not, or the levels do not fit.
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
    """Return a number of levels as it is typed: a whole number, or exact.

    Raises:
        UsageError: If it is neither.
    """
    if value == "exact":
        return "exact"
    with suppress(ValueError):
        if not isinstance(value, bool):
            return int(value)
    raise UsageError(f"{named('levels')} {value}: use 8, 16, 32, a multiple of 64, or exact (method nested).")


def round_down(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Return numbers of at least 0 as a narrower float type that is nowhere greater: rounded towards 0."""
    wide = np.asarray(values, np.float64)
    narrow = wide.astype(dtype)
    return np.where(narrow.astype(np.float64) > wide, np.nextafter(narrow, narrow.dtype.type(0)), narrow)


def nested_levels(provenance: Mapping[str, Any]) -> LevelSets | Literal["exact"] | None:
    """Return the level sets that a map is exact at, by what its file says of how it was made.

    Args:
        provenance: Of a file, or what is about to be written into one: a command with its parameters, or those of
            its steps.

    Returns:
        None unless the values are those that method `nested` gave: nothing came after it.
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
    """Return whether a file says that its level sets are curves one voxel wide; see `nested_levels`."""
    return nested_levels(provenance) is not None and _last_step(provenance).get("finish") is True


def _last_step(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of what gave a map its values; empty where that is not known."""
    made = provenance.get("parameters")
    # Read as logits, or a coarser resolution, which is made of means: they are other values.
    if not isinstance(made, Mapping) or provenance.get("read_with"):
        return {}
    if made.get("renormalize") or made.get("argmax"):
        return {}
    steps = made.get("steps", [made])
    last = steps[-1] if isinstance(steps, list) and steps else None
    return last if isinstance(last, Mapping) else {}


def at_level(threshold: float, levels: LevelSets | Literal["exact"] | None) -> tuple[float, tuple[str, ...]]:
    """Return the threshold at which a map is cut, and what a person should know about it.

    Args:
        threshold: The one that is asked for.
        levels: Those that the map is exact at; None for a map of any other kind.
    """
    if not isinstance(levels, LevelSets) or (used := levels.nearest(threshold)) == threshold:
        return threshold, ()
    return used, (
        f"threshold {threshold:g} -> {used:g}, the nearest of the {levels.count} levels of this nested skeleton.",
    )
