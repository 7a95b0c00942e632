"""Folders that were made before: whether the parameters of then are those of now, and how to say them now.

A manifest of version 0.1.0 and before holds no method where none was chosen; the defaults were others then.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from softmorph_cli.batch.recipe import Recipe
from softmorph_cli.errors import SoftmorphError, UsageError
from softmorph_cli.filters.functions import resolve_preset
from softmorph_cli.filters.settings import Settings
from softmorph_cli.steps.operations import OPERATIONS, SETTINGS
from softmorph_cli.steps.text import parse

_DEFAULTS: Final = {"skeletonize": "levels"}
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
        parameters = [{name: value for name, value in step.items() if name not in SETTINGS} for step in steps]
    except (LookupError, TypeError, ValueError, AttributeError, SoftmorphError):
        return None
    return {**plain, "steps": parameters}


def _then(step: Told, chosen: str | None, settings: Told) -> dict[str, Any]:
    """Return the settings of a step of a manifest that does not hold them."""
    if not OPERATIONS[step["operation"]].methods or step.get("hard"):
        return {}
    given = {
        name: step.get(name, settings[name]) for name in SETTINGS if name in settings and name != "method"
    }
    method, _ = resolve_preset(step.get("preset"), step.get("method", chosen), None)
    default = _DEFAULTS.get(step["operation"], _DEFAULT)
    return Settings(**given, method=method).resolved(default).as_dict()


def advice(recipe: Recipe, told: Told) -> str | None:
    """Return how to continue a batch that had other default methods; None where that is not the difference.

    Args:
        recipe: What is done now.
        told: What the manifest tells of the batch.
    """
    wanted = comparable(told)
    if wanted is None or recipe.method is not None or told["method"] is not None:
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
    specs = [
        replace(spec, given={**spec.given, "method": changed[number]}) if number in changed else spec
        for number, spec in enumerate(recipe.specs)
    ]
    if not changed or not _is(replace(recipe, specs=tuple(specs)), wanted):
        return None
    methods = dict.fromkeys(changed.values())
    if len(methods) == 1:
        (only,) = methods
        if _is(replace(recipe, method=only), wanted):
            return f"was made with --method {only}, the default then: add --method {only}"
    named = ", ".join(f"method {method} for {recipe.specs[n].operation}" for n, method in changed.items())
    typed = [_typed(spec.text, changed.get(number)) for number, spec in enumerate(recipe.specs)]
    if all(typed):
        return f"was made with {named}, the defaults then: write {shlex.join(typed)}"
    lines = ", ".join(f'method = "{method}" to {recipe.specs[n].text}' for n, method in changed.items())
    return f"was made with {named}, the defaults then: add {lines}"


def _typed(text: str, method: str | None) -> str:
    """Return a step as it is typed, with its method; nothing for one that a file holds."""
    try:
        parse(text)
    except UsageError:
        return ""
    if method is None:
        return text
    name, _, rest = text.partition(":")
    return f"{name}:{rest}{',' if rest else ''}method={method}"


def _is(recipe: Recipe, wanted: Told) -> bool:
    try:
        return comparable(recipe.told) == wanted
    except UsageError:  # a method that one of the steps does not take
        return False
