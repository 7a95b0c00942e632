"""Default methods of rules, and the check of method `nested`."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from softmorph_cli.compiler import nesting
from softmorph_cli.compiler.compile import is_increasing
from softmorph_cli.errors import RuleError, UsageError
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.settings import ANY_RULE, INCREASING, THINNING
from softmorph_cli.rules import catalog
from softmorph_cli.rules.rule import Rule


def default_method(rule: str | Path | Rule) -> str:
    """Return the default method of a rule, which does not depend on the map's dimensions.

    Raises:
        RuleError: If no rule has this name, or the rule is malformed.
        FileError: If the file of the rule cannot be read.
    """
    found = {method_of_rule(form) for form in catalog.load_forms(rule)}
    return found.pop() if len(found) == 1 else ANY_RULE


@cache
def method_of_rule(rule: Rule) -> str:
    """Return the default method of one form of a rule (the 2D or the 3D one).

    An increasing rule commutes with thresholds. A deleting rule is a thinning if any subset of the voxels
    that one sub-iteration deletes can be deleted without a change of topology. The mean over level sets is correct for
    every rule.
    """
    if is_increasing(rule):
        return INCREASING
    # A rule whose diagram is too large cannot be checked.
    with suppress(RuleError):
        if nesting.check(rule).holds:
            return THINNING
    return ANY_RULE


def check_nesting(method: str | None, rule: str | Path | Rule, *forms: Rule) -> None:
    """Refuse method `nested` for a rule none of whose `forms` preserves the topology of each level set.

    Raises:
        UsageError: If the method is refused; the message shows a counter-example and a remedy.
    """
    if method is None or find(method).scheme is not Scheme.NESTED:
        return
    found = [nesting.check(form) for form in forms]
    if not any(one.holds for one in found):
        raise UsageError(found[0].describe(rule.name if isinstance(rule, Rule) else str(rule)))
