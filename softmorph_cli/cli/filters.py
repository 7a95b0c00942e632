"""The commands that apply one filter, each made of the filter's own declaration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import Options, option, options_of
from softmorph_cli.cli.options import Completing, Input, Large, Output, Writing
from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Filter, SoftFilter
from softmorph_cli.filters.operations.interpolate import Interpolate
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.steps.simplifying import PERSISTENCE, Simplify
from softmorph_cli.system.parameters import check_all, declared


@dataclass(frozen=True, kw_only=True)
class Beforehand:
    """The options of `skeletonize` for a step before it."""

    simplify: Annotated[
        float | None,
        replace(
            PERSISTENCE,
            help="First cancel components, loops and cavities that last for less than P, as topology simplify: noise "
            "inside a vessel then leaves no discs and balls. No value changes by more.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check the values of the options."""
        check_all(self)

    @property
    def steps(self) -> list[Filter]:
        """The steps that come before the command's own."""
        return [] if self.simplify is None else [Simplify(persistence=self.simplify)]


def command_of(operation: type[Filter]) -> Callable[..., None]:
    """Return the command of an operation."""
    own = _own(operation)
    soft = issubclass(operation, SoftFilter)

    def run(
        source: Input,
        target: Output,
        *,
        given: dict[str, Any],
        reading: ReadOptions,
        settings: Settings | None,
        writing: Writing,
        large: Large | None,
        before: Beforehand | None,
    ) -> None:
        chosen = operation.make(given, settings)
        steps = before.steps if before is not None else []
        if large is not None and large.wanted:
            if steps:
                raise UsageError(
                    "--simplify needs the whole map in memory, not tiles: leave --simplify out, or the options for "
                    "maps larger than memory."
                )
            filtering.run_tiled(operation.operation, chosen, source, target, reading, writing, large)
            return
        filtering.run(operation.operation, [*steps, chosen], source, target, reading, writing)

    none = Options((), lambda: None)
    run.__annotations__ |= {
        "given": own,
        "settings": options_of(Settings) if soft else none,
        "large": options_of(Large) if soft else none,
        "before": options_of(Beforehand) if operation is Skeleton else none,
        "writing": options_of(Completing if operation is Interpolate else Writing),
    }
    return run


def _own(operation: type[Filter]) -> Options:
    """Return the options of an operation; one that has the name of an option of reading gets another name here."""
    own = operation.options()
    names = {name: f"{name}_" if name in declared(ReadOptions) else name for name in own}
    found = [option(one).replace(name=names[name]) for name, one in own.items()]
    return Options(tuple(found), lambda **given: {name: given[other] for name, other in names.items()})
