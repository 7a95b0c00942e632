"""Which method makes a filter soft where none is chosen, in every command and public function.

The defaults take voxels as rising and falling together (comonotone): a threshold of the result is the binary filter
on that threshold of the map. The `torch.nn.Module`s keep the defaults of the papers whose names they carry.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final

from softmorph_cli.errors import RuleError

if TYPE_CHECKING:
    from softmorph_cli.rules.rule import Rule

INCREASING: Final = "minmax"
THINNING: Final = "nested"
ANY_RULE: Final = "levels"


@cache
def method_of_rule(rule: Rule) -> str:
    """Return the method of a rule applied by itself.

    An increasing rule commutes with thresholds. A deleting rule is a thinning if any subset of what one
    sub-iteration deletes can be deleted without changing topology. The expectation over level sets is right for
    every rule.
    """
    from softmorph_cli.compiler import is_increasing, nesting

    if is_increasing(rule):
        return INCREASING
    # A rule too large for a diagram cannot be checked.
    with suppress(RuleError):
        if nesting.check(rule).holds:
            return THINNING
    return ANY_RULE
