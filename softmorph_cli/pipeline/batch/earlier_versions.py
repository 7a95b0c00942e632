"""Folders that were made before: whether the parameters of then are those of now, and how to say them now.

A manifest of version 0.1.0 and before holds no method where none was chosen; the defaults were others then.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from softmorph_cli.errors import SoftmorphError, UsageError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.operations import OPERATIONS, Skeleton
from softmorph_cli.filters.settings import Settings
from softmorph_cli.filters.skeleton import resolve_preset
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.chain import as_text

_DEFAULTS: Final = {Skeleton.operation: "levels"}
_DEFAULT: Final = "multilinear"

Told = Mapping[str, Any]


def comparable(told: Told) -> dict[str, Any] | None:
    """Return what a result depends on of what a manifest tells of a batch, however it was chosen.

    Args:
        told: As `Recipe.told` is, or was in an earlier version; None is returned for anything else.
    """
    plain = json.loads(json.dumps(told, default=str))
    try:
        steps, chosen, settings = plain.pop("steps"), plain.pop("method"), plain.pop("settings")
        if "in_force" not in plain:
            plain["in_force"] = [_then(step, chosen, settings) for step in steps]
        own = [("operation", *OPERATIONS[step["operation"]].own_keys()) for step in steps]
        parameters = [
            {name: step[name] for name in names if name in step}
            for names, step in zip(own, steps, strict=True)
        ]
    except (LookupError, TypeError, ValueError, AttributeError, SoftmorphError):
        return None
    return {**plain, "steps": parameters}


def _then(step: Told, chosen: str | None, settings: Told) -> dict[str, Any]:
    """Return the settings of a step of a manifest that does not hold them."""
    chosen_one = OPERATIONS[step["operation"]]
    if not issubclass(chosen_one, SoftFilter) or step.get("hard"):
        return {}
    own, names = chosen_one.own_keys(), [*chosen_one.keys()]
    given = {
        name: step.get(name, settings[name])
        for name in names
        if name not in own and name in settings and name != "method"
    }
    method = step.get("method", chosen)
    if step.get("preset") is not None:
        method, _ = resolve_preset(step["preset"], method, None)
    default = _DEFAULTS.get(step["operation"], _DEFAULT)
    return Settings(**given, method=method).resolved(default).as_dict()


def advice(recipe: Recipe, told: Told) -> str | None:
    """Return how to continue a batch that had other default methods; None where that is not the difference.

    Args:
        recipe: What is done now.
        told: What the manifest tells of the batch.
    """
    wanted = comparable(told)
    if wanted is None or recipe.settings.method is not None or told["method"] is not None:
        return None
    then = [one.get("method") for one in wanted["in_force"]]
    now = [one.get("method") for one in recipe.told["in_force"]]
    if len(then) != len(now):
        return None
    changed = {
        number: method
        for number, method in enumerate(then)
        if method is not None and method != now[number] and "method" not in told["steps"][number]
    }
    filters = [
        replace(one, method=changed[number]) if number in changed and isinstance(one, SoftFilter) else one
        for number, one in enumerate(recipe.filters)
    ]
    if not changed or not _is(replace(recipe, filters=tuple(filters)), wanted):
        return None
    methods = dict.fromkeys(changed.values())
    if len(methods) == 1 and not _others(recipe, changed):
        (method,) = methods
        return f"was made with --method {method}, the default then: add --method {method}"
    named = ", ".join(f"method {method} for {filters[n].operation}" for n, method in changed.items())
    if recipe.pipeline is None:
        typed = [as_text(one, recipe.settings) for one in filters]
        return f"was made with {named}, the defaults then: write {shlex.join(typed)}"
    lines = ", ".join(
        f'method = "{method}" to {recipe.pipeline}, step {n + 1}' for n, method in changed.items()
    )
    return f"was made with {named}, the defaults then: add {lines}"


def _others(recipe: Recipe, changed: Mapping[int, str]) -> bool:
    """Return whether a method for all steps would change a step that had the default of now."""
    return any(
        isinstance(one, SoftFilter) and one.method is None and number not in changed
        for number, one in enumerate(recipe.filters)
    )


def _is(recipe: Recipe, wanted: Told) -> bool:
    try:
        return comparable(recipe.told) == wanted
    except UsageError:  # a method that one of the steps does not take
        return False
