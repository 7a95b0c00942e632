"""Every option means one thing in all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from softmorph_cli.cli.app import app
from softmorph_cli.cli.option_list import CommandOption, ambiguities, options

PROGRAM: Any = typer.main.get_command(app)
FOUND = tuple(options(PROGRAM))


def commands() -> set[str]:
    return {one.command for one in FOUND if one.command}


def test_every_command_is_walked() -> None:
    walked = {
        inner if not hasattr(made, "commands") else f"{inner} {deeper}"
        for inner, made in PROGRAM.commands.items()
        for deeper in getattr(made, "commands", {"": None})
    }
    assert walked == commands()
    assert len(walked) >= 27
    assert all(one.meaning.endswith((".", ")")) for one in FOUND if one.command and one.long != "--help")


def test_no_short_flag_has_two_meanings_and_no_name_two_types() -> None:
    assert ambiguities(FOUND) == []


def test_the_decided_short_flags() -> None:
    wanted = {
        "-n": "--iterations",
        "-r": "--radius",
        "-q": "--quiet",
        "-v": "--verbose",
        "-f": "--force",
    }
    meant = {flag: one.long for one in FOUND for flag in one.short}
    assert meant.items() >= wanted.items()
    assert "-o" not in meant


def test_every_command_has_json_and_quiet() -> None:
    for flags, kind in ((("--json",), "flag"), (("--json-file",), "path"), (("--quiet", "-q"), "flag")):
        assert {(one.command, one.kind) for one in FOUND if one.flags == flags} == {
            (name, kind) for name in commands()
        }


def one(command: str, flags: tuple[str, ...], kind: str = "flag") -> CommandOption:
    return CommandOption(command, flags, kind, repeated=False, meaning="What it does.")


def test_an_ambiguity_is_found() -> None:
    """The options as they were, with two meanings of -r and two types of --json."""
    earlier = [
        *(one("erode", ("--radius", "-r"), "text"), one("batch", ("--recursive", "-r"))),
        *(one("stats", ("--json",)), one("inspect", ("--json",), "path")),
    ]
    assert ambiguities(earlier) == [
        "-r means --radius in erode and --recursive in batch",
        "--json is a flag in stats and path in inspect",
        "-r is a text in erode and flag in batch",
    ]
    assert ambiguities(earlier[1:3]) == []


def test_options_are_read_from_a_program() -> None:
    """A program of two commands whose options are ambiguous, as Typer makes them."""
    program = typer.Typer(add_completion=False)

    @program.command("first")
    def first(
        size: Annotated[list[int] | None, typer.Option("--size", "-s", help="Voxels.")] = None,
        out: Annotated[Path | None, typer.Option("--out", help="File.")] = None,
    ) -> None:
        pass

    @program.command("second")
    def second(
        out: Annotated[str, typer.Option("--out", "-s", help="Name.")] = "",
    ) -> None:
        pass

    found = list(options(typer.main.get_command(program)))
    assert [(o.command, o.flags, o.kind, o.repeated, o.meaning) for o in found] == [
        ("first", ("--size", "-s"), "whole number", True, "Voxels."),
        ("first", ("--out",), "path", False, "File."),
        ("second", ("--out", "-s"), "text", False, "Name."),
    ]
    assert ambiguities(found) == [
        "-s means --size in first and --out in second",
        "--out is a path in first and text in second",
        "-s is a whole number in first and text in second",
    ]
