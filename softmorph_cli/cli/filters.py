"""The commands that apply one filter, each made of the filter's own declaration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import Options, option, options_of
from softmorph_cli.cli.options import Completing, Input, Large, Output, Writing
from softmorph_cli.filters.filter import Filter, SoftFilter
from softmorph_cli.filters.operations.interpolate import Interpolate
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.system.parameters import declared


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
    ) -> None:
        chosen = operation.make(given, settings)
        if large is not None and large.wanted:
            filtering.run_tiled(operation.operation, chosen, source, target, reading, writing, large)
            return
        filtering.run(operation.operation, [chosen], source, target, reading, writing)

    none = Options((), lambda: None)
    run.__annotations__ |= {
        "given": own,
        "settings": options_of(Settings) if soft else none,
        "large": options_of(Large) if soft else none,
        "writing": options_of(Completing if operation is Interpolate else Writing),
    }
    return run


def _own(operation: type[Filter]) -> Options:
    """Return the options of an operation; one that has the name of an option of reading gets another name here."""
    own = operation.options()
    names = {name: f"{name}_" if name in declared(ReadOptions) else name for name in own}
    found = [option(one).replace(name=names[name]) for name, one in own.items()]
    return Options(tuple(found), lambda **given: {name: given[other] for name, other in names.items()})
