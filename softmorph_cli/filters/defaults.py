"""Which method makes a filter soft where none is chosen, in every command and public function.

The defaults take voxels as rising and falling together (comonotone): a threshold of the result is the binary filter
on that threshold of the map. The `torch.nn.Module`s keep the defaults of the papers whose names they carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from softmorph_cli.errors import RuleError

if TYPE_CHECKING:
    from softmorph_cli.rules.rule import Rule

INCREASING: Final = "minmax"
THINNING: Final = "levels"
ANY_RULE: Final = "levels"

METHOD_OF: Final[Mapping[str, str]] = {
    "erosion": INCREASING,
    "dilation": INCREASING,
    "opening": INCREASING,
    "closing": INCREASING,
    "gradient": INCREASING,
    "tophat": INCREASING,
    "blackhat": INCREASING,
    "skeletonize": THINNING,
}


@cache
def method_of_rule(rule: Rule) -> str:
    """Return the method of a rule applied by itself.

    An increasing rule commutes with thresholds. A deleting rule of which any subset of a sub-iteration's voxels may
    stay is a thinning. The expectation over level sets is right for every rule.
    """
    from softmorph_cli.compiler import is_increasing
    from softmorph_cli.rules.rule import Action

    if is_increasing(rule):
        return INCREASING
    return THINNING if rule.action is Action.DELETE and _nests(rule) else ANY_RULE


def _nests(rule: Rule) -> bool:
    with suppress(ModuleNotFoundError, RuleError):
        return bool(import_module("softmorph_cli.compiler.nesting").check(rule).holds)
    return False
