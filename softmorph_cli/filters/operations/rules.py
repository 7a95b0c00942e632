"""The filter of any Boolean rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from softmorph_cli.errors import RuleError, UsageError
from softmorph_cli.filters.filter import Sequences, SoftFilter
from softmorph_cli.filters.method import Scheme, check_method, find
from softmorph_cli.rules.rule import Rule
from softmorph_cli.system.parameters import Parameter, at_least


def _names() -> Iterable[str]:
    from softmorph_cli.rules import catalog

    return catalog.choices()


@dataclass(frozen=True, kw_only=True)
class ApplyRule(SoftFilter):
    """Any Boolean rule as a soft filter: a bundled one by name, a TOML file, or a `Rule`.

    The default method is "minmax" for an increasing rule, "nested" for a thinning whose level sets can be kept nested,
    "levels" for any other.
    """

    rule: Annotated[
        str | Path | Rule,
        Parameter(
            "A bundled rule (see softmorph rules) or a TOML file.", "RULE", argument=True, words=_names
        ),
    ]
    iterations: Annotated[
        int | None,
        Parameter(
            "Number of iterations. (default: that of the rule)",
            "N",
            ("--iterations", "-n"),
            check=at_least(1),
            first=True,
        ),
    ] = None

    operation: ClassVar = "apply"
    help: ClassVar = """Run any Boolean rule as a soft filter: a bundled one by name, or your own file.

    If more foreground never gives less (majority), every threshold of OUT is exactly the binary rule on that threshold
    of IN. A thinning whose level sets can be kept nested has method nested. Of any other rule OUT is the mean over 64
    level sets.
    """
    examples: ClassVar = (
        "softmorph apply majority vessels.nii.gz smooth.nii.gz",
        "softmorph apply my_rule.toml map.tif out.tif --iterations 3",
    )

    def __post_init__(self) -> None:
        """Check the parameters; an unknown name or a malformed file is reported before a map is read.

        Raises:
            SoftmorphError: If there is no such rule, or the method does not apply to it.
        """
        super().__post_init__()
        from softmorph_cli.filters import rule_methods
        from softmorph_cli.rules import catalog

        forms = catalog.load_forms(self.rule)
        if self.method is not None:
            check_method(self.method, thinning=True)
            rule_methods.check_nesting(self.method, self.rule, *forms)

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        if "rule" not in given:
            raise UsageError("apply needs a rule: a name (see softmorph rules) or a TOML file.")

    def resolved(self, default: str = "") -> ApplyRule:
        """Return the filter with its method, by default that of the rule.

        Only skeletonize finishes lines: a rule is applied as it is.

        Raises:
            SoftmorphError: If there is no such rule, or it is malformed.
        """
        from softmorph_cli.filters import rule_methods

        method = rule_methods.default_method(self.rule) if self.method is None else self.method
        finish = self.finish and find(method).scheme is not Scheme.NESTED
        return replace(self, method=method, finish=finish)

    @property
    def until_stable(self) -> bool:
        """Whether it runs until nothing changes."""
        return self.iterations is None

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phase of the rule.

        Raises:
            RuleError: If the rule does not exist, is malformed, or is for other dimensions.
        """
        from softmorph_cli.filters import rule_methods
        from softmorph_cli.filters.run import Phase
        from softmorph_cli.rules import catalog

        rule = catalog.load_rule(self.rule, len(shape))
        if rule.dimensions != len(shape):
            raise RuleError(f"rule {rule.name!r} is {rule.dimensions}D, but the image is {len(shape)}D.")
        rule_methods.check_nesting(self.method, self.rule, rule)
        return ((Phase(rule, rule.iterations if self.iterations is None else self.iterations),),)
