"""Any Boolean rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Report, Sequences, SoftFilter
from softmorph_cli.filters.settings import Result
from softmorph_cli.rules.rule import Rule
from softmorph_cli.system.parameters import Parameter, at_least

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class ApplyRule(SoftFilter):
    """Any Boolean rule as a soft filter: a bundled one by name, a TOML file, or a `Rule`.

    The method is by default "minmax" for an increasing rule, "nested" for a thinning whose level sets can be kept
    nested, "levels" for any other.
    """

    rule: Annotated[
        str | Path | Rule,
        Parameter("A bundled rule (see softmorph rules) or a TOML file.", "RULE", argument=True),
    ]
    iterations: Annotated[
        int | None,
        Parameter("How many. (default: as the rule says)", "N", ("--iterations", "-n"), check=at_least(1)),
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
        """Check the parameters; a wrong name or a malformed file is reported before a map is read.

        Raises:
            SoftmorphError: If there is no such rule, or the method is not for it.
        """
        super().__post_init__()
        from softmorph_cli.filters.custom import check

        check(self)

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        if "rule" not in given:
            raise UsageError("apply needs a rule: a name (see softmorph rules) or a TOML file.")

    def resolved(self, default: str = "") -> ApplyRule:
        """Return the filter with its method.

        Raises:
            SoftmorphError: If there is no such rule, it is malformed, or the method is not for it.
        """
        from softmorph_cli.filters.custom import resolved

        return resolved(self)

    @property
    def until_stable(self) -> bool:
        """Whether it stops by itself."""
        return self.iterations is None

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases: the rule, as often as it is asked for or says."""
        from softmorph_cli.filters.custom import phases

        return phases(self, shape)

    def __call__(self, image: Any, progress: Report | None = None) -> Result:
        """Return the filter of an image, and how it went."""
        from softmorph_cli.filters.custom import apply

        return apply(self, image, progress)
