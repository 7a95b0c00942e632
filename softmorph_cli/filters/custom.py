"""Any Boolean rule as a soft filter: a bundled one by name, or a user's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from softmorph_cli.compiler import nesting
from softmorph_cli.errors import RuleError, UsageError
from softmorph_cli.filters import defaults
from softmorph_cli.filters.arrays import as_array, for_each, spatial_dimensions
from softmorph_cli.filters.filter import Report, Sequences
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.morphology import check_method
from softmorph_cli.filters.operations import ApplyRule
from softmorph_cli.filters.run import FilterJob, Phase, run
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


def resolved(chosen: ApplyRule) -> ApplyRule:
    """Return the filter with the name of its method, or of the rule's where it has none.

    A rule is applied as it is: only skeletonize finishes what a thinning leaves.

    Raises:
        SoftmorphError: As `default_method`.
    """
    if chosen.method is None:
        chosen = replace(chosen, method=default_method(chosen.rule))
    nested = find(chosen.method).scheme is Scheme.NESTED
    return replace(chosen, finish=False) if nested and chosen.finish else chosen


def check(chosen: ApplyRule) -> None:
    """Refuse a rule that does not exist or is malformed, and a method that is not for it.

    Raises:
        SoftmorphError: If it is one of these.
    """
    found = forms(chosen.rule)
    if chosen.method is not None:
        check_method(chosen.method, thinning=True)
        check_nesting(chosen, chosen.rule, *found)


def check_nesting(settings: Settings, rule: str | Path | Rule, *forms: Rule) -> None:
    """Refuse method nested for a rule of which no form keeps topology level by level.

    Raises:
        UsageError: With the counter-example and what to type instead.
    """
    if settings.method is None or find(settings.method).scheme is not Scheme.NESTED:
        return
    found = [nesting.check(form) for form in forms]
    if not any(one.holds for one in found):
        name = rule.name if isinstance(rule, Rule) else str(rule)
        raise UsageError(found[0].describe(name))


def apply(chosen: ApplyRule, image: Any, progress: Report | None = None) -> Result:
    """Run a rule and say how it went.

    Args:
        chosen: The filter.
        image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
        progress: Called after every sub-iteration.

    Raises:
        RuleError: If the rule does not exist, is malformed, too large, or for other dimensions.
    """
    chosen = chosen.resolved()
    image = as_array(image)
    dimensions = spatial_dimensions(image, chosen.spatial_dims)
    ((phase,),) = sequences = phases(chosen, tuple(image.shape[-dimensions:]))

    def one(backend: Backend, values: Any, index: int, count: int) -> Result:
        return run(
            FilterJob(phase.rule.name, sequences[0], chosen, backend, index, count, progress=progress), values
        )

    result = for_each(image, chosen.spatial_dims, chosen, one, until_stable=phase.iterations is None)
    return warn_if_capped(result, chosen)


def phases(chosen: ApplyRule, shape: tuple[int, ...]) -> Sequences:
    """Return the one phase of a rule.

    Raises:
        RuleError: If the rule does not exist, is malformed, or is for other dimensions.
    """
    dimensions = len(shape)
    rule = load_rule(chosen.rule, dimensions)
    if rule.dimensions != dimensions:
        raise RuleError(f"rule {rule.name!r} is {rule.dimensions}D, but the image is {dimensions}D.")
    check_nesting(chosen, chosen.rule, rule)
    return ((Phase(rule, rule.iterations if chosen.iterations is None else chosen.iterations),),)
