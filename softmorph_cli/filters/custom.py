"""Any Boolean rule as a soft filter: a bundled one by name, or a user's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from softmorph_cli.compiler import nesting
from softmorph_cli.errors import RuleError, UsageError
from softmorph_cli.filters import defaults
from softmorph_cli.filters.arrays import as_array, for_each, spatial_dimensions
from softmorph_cli.filters.method import Family, find
from softmorph_cli.filters.morphology import check_method
from softmorph_cli.filters.run import Job, Phase, run
from softmorph_cli.filters.settings import Result, Settings, warn_if_capped
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.rules import catalog, rulefile
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.simple_points import SUFFIX, with_simple


def load_rule(rule: str | Path | Rule, dimensions: int | None = None) -> Rule:
    """Return a rule by its name or file.

    Args:
        rule: A rule, the name of a bundled one, or the path of a TOML file (anything that ends in ".toml" or
            holds a slash). With "+simple" at its end, the rule at simple points alone, subfield by subfield.
        dimensions: 2 or 3, to choose between the forms of a bundled rule.

    Raises:
        RuleError: If there is no such rule, it is malformed, or it is to be confined and does not delete.
        FileError: If the file cannot be read.
    """
    if isinstance(rule, Rule):
        return rule
    path, name = rulefile.named_file(rule), str(rule).removesuffix(SUFFIX)
    found = catalog.bundled(name, dimensions) if path is None else rulefile.load(path)
    return found if name == str(rule) else with_simple(found)


def forms(rule: str | Path | Rule) -> list[Rule]:
    """Return a rule in every number of dimensions it has: a bundled one may be named without them.

    Raises:
        RuleError: If there is no such rule or it is malformed.
        FileError: If its file cannot be read.
    """
    if isinstance(rule, Rule):
        return [rule]
    name = str(rule).removesuffix(SUFFIX)
    suffix = str(rule).removeprefix(name)
    return [load_rule(form + suffix) for form in catalog.forms(name)] or [load_rule(rule)]


def default_method(rule: str | Path | Rule) -> str:
    """Return the method of a rule where none is chosen; it does not depend on the map's dimensions.

    Raises:
        RuleError: If there is no such rule or it is malformed.
        FileError: If its file cannot be read.
    """
    found = {defaults.method_of_rule(form) for form in forms(rule)}
    return found.pop() if len(found) == 1 else defaults.ANY_RULE


def resolved(settings: Settings, rule: str | Path | Rule) -> Settings:
    """Return the settings with the name of their method, or of the rule's where they have none.

    A rule is applied as it is: only skeletonize finishes what a thinning leaves.

    Raises:
        SoftmorphError: As `default_method`.
        UsageError: If the method is nested and no form of the rule keeps topology level by level.
    """
    if settings.method is None:
        settings = settings.resolved(default_method(rule))
    else:
        check_nesting(settings, rule, *forms(rule))
    return replace(settings, finish=False) if find(settings.method).family is Family.NESTED else settings


def check_nesting(settings: Settings, rule: str | Path | Rule, *forms: Rule) -> None:
    """Refuse method nested for a rule of which no form keeps topology level by level.

    Raises:
        UsageError: With the counter-example and what to type instead.
    """
    if settings.method is None or find(settings.method).family is not Family.NESTED:
        return
    found = [nesting.check(form) for form in forms]
    if not any(one.holds for one in found):
        name = rule.name if isinstance(rule, Rule) else str(rule)
        raise UsageError(found[0].describe(name))


def apply(
    rule: str | Path | Rule,
    image: Any,
    settings: Settings,
    *,
    iterations: int | None = None,
    spatial_dims: int | None = None,
) -> Result:
    """Run a rule and say how it went.

    Args:
        rule: See `load_rule`.
        image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
        settings: How to run.
        iterations: How many; None for the rule's own number, which may be "until nothing changes".
        spatial_dims: 2 or 3 where there are leading axes.

    Raises:
        RuleError: If the rule does not exist, is malformed, too large, or for other dimensions.
        UsageError: If the method does not exist here.
    """
    settings = resolved(settings, rule)
    check_method(settings.method, thinning=True)
    if iterations is not None and iterations < 1:
        raise UsageError(f"iterations {iterations}: at least 1 is needed.")
    image = as_array(image)
    dimensions = spatial_dimensions(image, spatial_dims)
    found = load_rule(rule, dimensions)
    if found.dimensions != dimensions:
        raise RuleError(f"rule {found.name!r} is {found.dimensions}D, but the image is {dimensions}D.")
    check_nesting(settings, rule, found)
    phases = (Phase(found, found.iterations if iterations is None else iterations),)

    def one(backend: Backend, values: Any, index: int, count: int) -> Result:
        return run(Job(found.name, phases, settings, backend, index, count), values)

    result = for_each(image, spatial_dims, settings, one, until_stable=phases[0].iterations is None)
    return warn_if_capped(result, settings)
