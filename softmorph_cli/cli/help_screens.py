"""The two screens of a command's help, --help and --help-all, and the list of commands under headings."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

# The heading of options that neither are on the first screen nor have a heading of their own.
MORE: Final = "More options"
# The headings of the list of commands, in their order.
FILTERS, FOLDERS, MEASURE = "Filters", "Folders and chains", "Look and measure"
TOPOLOGY, SLICES, MACHINE = "Topology", "Missing slices and shape priors", "This machine"
_ORDER: Final = (FILTERS, FOLDERS, MEASURE, TOPOLOGY, SLICES, MACHINE)
_ARGUMENTS, _OPTIONS, _COMMANDS = "Arguments", "Options", "Commands"
# A command with no more parameters than these shows all of them on its first screen.
_FEW: Final = 5
_ALL: Final = "softmorph.help_all"


class HelpCommand(TyperCommand):
    """A command with two screens of help: the options that most users need, and with --help-all all of them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, --help and --help-all, which are no parameters of the function, last."""
        return [*super().get_params(ctx), _help_all()]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the first screen, or all options if --help-all was given."""
        with self._screen(ctx):
            super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, without rich, under the headings that rich gives its boxes."""
        sections: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: [], _OPTIONS: []}
        for one in self.get_params(ctx):
            if (record := one.get_help_record(ctx)) is not None:
                sections.setdefault(_heading(one), []).append(record)
        _write(sections, formatter)

    @contextmanager
    def _screen(self, ctx: Any) -> Iterator[None]:
        """Within the block, hide the options that are not on the screen, and end the help with how to see them."""
        rest = [one for one in self.get_params(ctx) if _heading(one) not in (_ARGUMENTS, _OPTIONS)]
        if ctx.meta.get(_ALL):
            rest = []
        epilog = self.epilog
        for one in rest:
            one.hidden = True
        if rest:
            self.epilog = f"{epilog}\n\n{len(rest)} more options: {ctx.command_path} --help-all"
        try:
            yield
        finally:
            self.epilog = epilog
            for one in rest:
                one.hidden = False


def on_one_screen(parameters: list[Any]) -> None:
    """Put all options of a command on its first screen, if there are only a few."""
    if len(parameters) <= _FEW:
        for one in parameters:
            one.rich_help_panel = None


class HelpGroup(TyperGroup):
    """A group whose help lists its commands under headings, each with a whole sentence."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, heading by heading."""

        def place(name: str) -> int:
            heading = getattr(self.get_command(ctx, name), "rich_help_panel", None)
            return _ORDER.index(heading) if heading in _ORDER else len(_ORDER)

        return sorted(super().list_commands(ctx), key=place)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, without rich, with the first sentence of the help of each."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        width = max(map(len, commands))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, one in commands.items():
            heading = getattr(one, "rich_help_panel", None) or _COMMANDS
            told = getattr(one, "short_help", None) or getattr(one, "help", None) or ""
            sections.setdefault(heading, []).append((name.ljust(width), told))
        _write(sections, formatter)


def _heading(one: Any) -> str:
    if one.param_type_name == "argument":
        return _ARGUMENTS
    return str(getattr(one, "rich_help_panel", None) or _OPTIONS)


def _write(sections: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    for heading, lines in sections.items():
        if lines:
            with formatter.section(heading):
                formatter.write_dl(lines)


def _show_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        typer.echo(ctx.get_help(), color=ctx.color)
        raise typer.Exit


@functools.cache
def _help_all() -> Any:
    """Return the option --help-all, which no command's function receives."""
    alone = typer.Typer(add_completion=False)
    alone.command()(_declare_help_all)
    made = typer.main.get_command(alone).params[0]
    made.expose_value = False
    return made


def _declare_help_all(
    help_all: Annotated[
        bool,
        typer.Option(
            "--help-all", is_eager=True, callback=_show_all, help="Show this message with all options."
        ),
    ] = False,
) -> None:
    pass
