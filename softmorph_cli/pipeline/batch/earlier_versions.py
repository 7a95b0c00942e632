"""Functions that compare parameters in manifests of earlier versions, and advise which options reproduce these now.

A manifest of version 0.1.0 or earlier contains no method if the user chose none; the default methods were different.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from softmorph_cli.errors import SoftmorphError, UsageError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import Settings
from softmorph_cli.filters.skeleton import resolve_preset
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.chain import as_text
from softmorph_cli.pipeline.steps.registry import STEPS, changing

# Default methods of version 0.1.0.
_DEFAULTS: Final = {Skeleton.operation: "levels"}
_DEFAULT: Final = "multilinear"

Parameters = Mapping[str, Any]


def comparable(parameters: Parameters) -> dict[str, Any] | None:
    """Return `Recipe.parameters` of any version in a normal form, which is equal for parameters with equal results.

    If `parameters` are not those of a recipe, None is returned.
    """
    plain = json.loads(json.dumps(parameters, default=str))
    # A step that measures changes no result.
    plain.pop("measured", None)
    try:
        steps, chosen, settings = plain.pop("steps"), plain.pop("method"), plain.pop("settings")
        if "in_force" not in plain:
            plain["in_force"] = [_earlier_settings(step, chosen, settings) for step in steps]
        own = [("operation", *STEPS[step["operation"]].own_keys()) for step in steps]
        own_values = [
            {name: step[name] for name in names if name in step}
            for names, step in zip(own, steps, strict=True)
        ]
    except (LookupError, TypeError, ValueError, AttributeError, SoftmorphError):
        return None
    return {**plain, "steps": own_values}


def _earlier_settings(step: Parameters, chosen: str | None, settings: Parameters) -> dict[str, Any]:
    """Return the settings in force of a step, for a manifest of an earlier version that does not contain them.

    Args:
        step: The entry of the step in the manifest.
        chosen: The method for all steps; None if the user chose none.
        settings: The settings for all steps.
    """
    operation = STEPS[step["operation"]]
    if not issubclass(operation, SoftFilter) or step.get("hard"):
        return {}
    own, names = operation.own_keys(), [*operation.keys()]
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


def advice(recipe: Recipe, parameters: Parameters) -> str | None:
    """Return advice on how to continue an earlier batch, if this differs from the recipe only in default methods.

    Args:
        recipe: The recipe of the present batch.
        parameters: The parameters of the earlier batch, from its manifest.
    """
    wanted = comparable(parameters)
    if wanted is None or recipe.settings.method is not None or parameters["method"] is not None:
        return None
    then = [one.get("method") for one in wanted["in_force"]]
    now = [one.get("method") for one in recipe.parameters["in_force"]]
    if len(then) != len(now):
        return None
    changed = {
        number: method
        for number, method in enumerate(then)
        if method is not None and method != now[number] and "method" not in parameters["steps"][number]
    }
    filters = [
        replace(one, method=changed[number]) if number in changed and isinstance(one, SoftFilter) else one
        for number, one in enumerate(changing(recipe.filters))
    ]
    if not changed or not _reproduces(replace(recipe, filters=tuple(filters)), wanted):
        return None
    methods = dict.fromkeys(changed.values())
    if len(methods) == 1 and not _others_affected(recipe, changed):
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


def _others_affected(recipe: Recipe, changed: Mapping[int, str]) -> bool:
    """Return whether the option --method, for all steps, would also change a step that is not in `changed`."""
    return any(
        isinstance(one, SoftFilter) and one.method is None and number not in changed
        for number, one in enumerate(changing(recipe.filters))
    )


def _reproduces(recipe: Recipe, wanted: Parameters) -> bool:
    try:
        return comparable(recipe.parameters) == wanted
    except UsageError:  # a method that one of the steps does not take
        return False
