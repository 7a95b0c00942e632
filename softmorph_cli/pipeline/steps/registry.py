"""All steps by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Filter
from softmorph_cli.filters.operations import OPERATIONS
from softmorph_cli.pipeline.steps.inspecting import Inspect
from softmorph_cli.pipeline.steps.measuring import Measuring
from softmorph_cli.pipeline.steps.repairing import Repair
from softmorph_cli.pipeline.steps.simplifying import Simplify
from softmorph_cli.pipeline.steps.statistics import Stats
from softmorph_cli.system.printable import meant

STEPS: Final[Mapping[str, type[Filter]]] = {
    **OPERATIONS,
    **{one.operation: one for one in (Repair, Simplify, Inspect, Stats)},
}


def find(name: str) -> type[Filter]:
    """Return a step by its name.

    Raises:
        UsageError: If there is none; the message lists them.
    """
    if name not in STEPS:
        raise UsageError(f"there is no operation {name!r}{meant(name, STEPS)}; use {', '.join(STEPS)}.")
    return STEPS[name]


def changing(steps: Sequence[Filter]) -> list[Filter]:
    """Return the steps that change the map, without those that measure it."""
    return [step for step in steps if not isinstance(step, Measuring)]
