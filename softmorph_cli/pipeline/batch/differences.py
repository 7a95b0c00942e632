"""In which parameters two batches differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.batch.earlier_versions import comparable
from softmorph_cli.system.parameters import declared, named

_NOT_GIVEN: Final = "not given"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between the parameters of two batches, each with its value before and now.

    Args:
        before: Parameters from a manifest or a summary.
        now: `Recipe.parameters` of the present batch.

    >>> step = {"operation": "erode", "iterations": 2}
    >>> usual = {"method": None, "settings": {}, "in_force": [{"method": "minmax"}], "reading": {}}
    >>> differences({**usual, "steps": [step]}, {**usual, "steps": [{**step, "iterations": 3}]})
    ['iterations of erode was 2 and is 3']
    """
    then, present = comparable(before), comparable(now)
    if then is None or present is None:
        return []
    ran, run = ([step["operation"] for step in one.pop("steps")] for one in ({**then}, {**present}))
    if ran != run:
        return [f"the steps were {' '.join(ran)} and are {' '.join(run)}"]
    found = []
    for key in ("steps", "in_force"):
        for operation, *both in zip(run, then.pop(key), present.pop(key), strict=True):
            found += [
                f"{name.replace('_', '-')} of {operation} was {a} and is {b}"
                for name, a, b in _changed(*both)
            ]
    options = declared(ReadOptions)
    reading = _changed(then.pop("reading", {}), present.pop("reading", {}))
    found += [
        f"{options[name].typed if name in options else named(name)} was {a} and is {b}"
        for name, a, b in reading
    ]
    for name, a, b in _changed(then, present):
        found.append(f"{'softmorph' if name == 'version' else named(name)} was {a} and is {b}")
    return found


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old != new:
            a, b = _value(old), _value(new)
            # Of a file that changed, the name may be the same.
            yield name, a, b if a != b else f"{b}, changed since"


def _value(value: Any) -> str:
    """Return a value in words: of a file, whose entry is its name, size and time, the name."""
    if value is None:
        return _NOT_GIVEN
    return str(value[0] if isinstance(value, list) and value and isinstance(value[0], str) else value)
