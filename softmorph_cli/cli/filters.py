"""The commands that apply one filter, each made of the filter's own declaration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import Options, option, options_of
from softmorph_cli.cli.options import Input, Large, Output, Writing
from softmorph_cli.filters.filter import Filter, SoftFilter
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions


def command_of(operation: type[Filter]) -> Callable[..., None]:
    """Return the command of an operation."""
    own = Options(tuple(map(option, operation.own_keys().values())), dict)
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
    run.__doc__ = operation.help
    run.__annotations__ |= {
        "given": own,
        "settings": options_of(Settings) if soft else none,
        "large": options_of(Large) if soft else none,
    }
    return run
