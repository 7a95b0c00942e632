"""The class `Metric`: names, definition and source of a metric, and the function that computes its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from softmorph_cli.metrics.pair import MetricSettings, Pair
from softmorph_cli.system.units import COUNTED, MILLIMETRES

# Suffixes of the names of lengths: the unit of the prediction.
_UNITS: Final = (*MILLIMETRES, COUNTED[3], COUNTED[2])


@dataclass(frozen=True)
class Reading:
    """Values of one metric for one pair of a prediction and a reference.

    Attributes:
        values: Values by JSON name; None if a value is not defined for this pair. Values are never NaN or infinite.
        notes: Reasons why a value is None, and other remarks, one sentence each.
    """

    values: Mapping[str, float | None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One metric, or several metrics that are computed together.

    Attributes:
        names: Keys of the metric's values in the JSON, in order. The name of a length ends in "mm" here, and in the
            JSON in the unit of the prediction.
        title: Name of the metric in a few words, for tables.
        definition: Definition of each value in whole sentences, with its value for empty masks.
        source: The paper that defines the metric, or the library that computes it.
        unit: Unit of the values: "1" (a ratio), "count", "mm", ...
        better: Which values are better: "higher", "lower" (0 is perfect) or "one" (a ratio that is 1 when perfect).
        cost: Measured CPU time for a synthetic vessel map of 128^3 voxels, and memory if it is large; a text.
        compute: Function that computes the values for a pair of a prediction and a reference.
        asked_by: Names of settings, at least one of which must be given for the metric to be computed; empty for a
            metric that is always computed.
        solid: Those of `names` that exist for volumes only, as the number of cavities does.
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
    solid: tuple[str, ...] = ()

    def wanted(self, settings: MetricSettings) -> bool:
        """Return whether the metric is computed with the given settings."""
        return not self.asked_by or any(getattr(settings, name) for name in self.asked_by)

    def spelled(self, name: str) -> tuple[str, ...]:
        """Return the spellings of a name in the JSON; a length has one spelling for each unit, mm first."""
        if self.unit != "mm":
            return (name,)
        return tuple(f"{name.removesuffix('_mm')}_{unit}" for unit in _UNITS)

    @property
    def spellings(self) -> tuple[str, ...]:
        """All spellings that the names of the metric can have in the JSON."""
        return tuple(one for name in self.names for one in self.spelled(name))
