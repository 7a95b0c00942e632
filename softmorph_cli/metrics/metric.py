"""Metrics: names, definition, source, and the function that computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from softmorph_cli.metrics.pair import MetricSettings, Pair
from softmorph_cli.system.units import MILLIMETRES

# Suffixes of the names of lengths: the unit of the prediction.
_UNITS: Final = (*MILLIMETRES, "voxels")


@dataclass(frozen=True)
class Reading:
    """Values of one metric.

    Attributes:
        values: By JSON name; None if a value is not defined for this pair. Never NaN or infinite.
        notes: Why a value is None, and other remarks, one sentence each.
    """

    values: Mapping[str, float | None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One metric, or several that are computed together.

    Attributes:
        names: Keys of its values in the JSON, in order. Lengths end in "mm" here, in the JSON in the unit of the
            prediction, see `spelled`.
        title: A few words, for tables.
        definition: Full sentences on each name, with its value for empty masks.
        source: The paper or library.
        unit: Of its values: "1" (a ratio), "count", "mm", ...
        better: Which values are better: "higher", "lower" (0 is perfect) or "one" (a ratio that is 1 when perfect).
        cost: Measured CPU time for a drawn vessel map of 128^3, and memory if it is large; a text.
        compute: Computes the values of a pair.
        asked_by: Settings of which one must be given for it to be computed; empty for always.
    """

    names: tuple[str, ...]
    title: str
    definition: str
    source: str
    unit: str
    better: Literal["higher", "lower", "one"]
    cost: str
    compute: Callable[[Pair], Reading] = field(compare=False)
    asked_by: tuple[str, ...] = ()

    def wanted(self, settings: MetricSettings) -> bool:
        """Return whether it is computed with these settings."""
        return not self.asked_by or any(getattr(settings, name) for name in self.asked_by)

    def spelled(self, name: str) -> tuple[str, ...]:
        """Return the spellings of a name in the JSON: of a length one for each unit, mm first."""
        if self.unit != "mm":
            return (name,)
        return tuple(f"{name.removesuffix('_mm')}_{unit}" for unit in _UNITS)

    @property
    def spellings(self) -> tuple[str, ...]:
        """All spellings of all names."""
        return tuple(one for name in self.names for one in self.spelled(name))
