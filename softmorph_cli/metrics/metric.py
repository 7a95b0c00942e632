"""What a metric is: its names in the JSON, its definition for people, where it comes from, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from softmorph_cli.metrics.pair import MetricSettings, Pair
from softmorph_cli.system.units import MILLIMETRES

# How the names of lengths end: in the unit of the prediction.
_UNITS: Final = (*MILLIMETRES, "voxels")


@dataclass(frozen=True)
class Reading:
    """What one metric found.

    Attributes:
        values: By JSON name; None where the metric is not defined for this pair. Never NaN or infinite.
        notes: Why a value is None, and what else a person should know, one sentence each.
    """

    values: Mapping[str, float | None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One metric, or several that are computed together.

    Attributes:
        names: Its keys under `metrics` in the JSON, in their order; `compute` gives each of them. Those of lengths end
            in "mm" here, and in the JSON in the unit of the prediction, see `spelled`.
        title: A few words, for tables.
        definition: What each name is, with its value where a mask is empty: full sentences.
        source: The paper or library.
        unit: Of its values: "1" (a ratio), "count", "mm", ...
        better: Which values are better: "higher", "lower" (0 is perfect) or "one" (a ratio that is 1 when perfect).
        cost: Measured CPU time of a drawn vessel map of 128^3, and memory where it counts; for people.
        compute: Measures a pair.
        asked_by: It is only computed where one of these settings is given; none for always.
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
        """Say whether these settings ask for it."""
        return not self.asked_by or any(getattr(settings, name) for name in self.asked_by)

    def spelled(self, name: str) -> tuple[str, ...]:
        """Return all that one of its names may be in the JSON: of a length one for each unit, that of mm first."""
        if self.unit != "mm":
            return (name,)
        return tuple(f"{name.removesuffix('_mm')}_{unit}" for unit in _UNITS)
