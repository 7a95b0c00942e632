"""The screens of --help: commands under headings, the few options of the first screen, and all with --help-all."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from helpers_cli import environment, run

from softmorph_cli.cli.app import app
from softmorph_cli.cli.help_screens import FILTERS, FOLDERS, MACHINE, MEASURE, SLICES, TOPOLOGY

# A first screen has five or so options; that of batch has most.
MOST = 8
REST = re.compile(r"(\d+) more options: softmorph [a-z ]+ --help-all")


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from leaves(one, (*words, name)) if hasattr(one, "commands") else [((*words, name), one)]


LEAVES = dict(leaves(typer.main.get_command(app)))


def shown(*arguments: str, width: int = 80) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "softmorph_cli", *arguments],
        env=environment({"COLUMNS": str(width)}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout


def options(text: str) -> set[str]:
    """Return the long options that have a line of their own in a help text."""
    listed = text.partition("\nOptions:")[2].partition("Examples:")[0]
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", listed, re.MULTILINE))


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_commands_has_headings_and_whole_sentences(width: int) -> None:
    text = shown("--help", width=width)
    headings = [FILTERS, FOLDERS, MEASURE, TOPOLOGY, SLICES, MACHINE]
    assert re.findall(r"^(\S.*):$", text, re.MULTILINE) == ["Options", *headings]
    assert "..." not in text.partition("Filters:")[2]
    assert max(map(len, text.splitlines())) <= width
    for part in re.split(r"^\S.*:$", text, flags=re.MULTILINE)[2:]:
        for told in re.split(r"^  (?=\S)", part, flags=re.MULTILINE)[1:]:
            assert told.strip().endswith("."), told


@pytest.mark.parametrize("words", sorted(LEAVES))
def test_the_first_screen_has_few_options_and_ends_with_how_to_see_the_rest(words: tuple[str, ...]) -> None:
    text, every = run(*words, "--help").out, run(*words, "--help-all").out
    declared = {max(one.opts, key=len) for one in LEAVES[words].params if one.opts[0].startswith("-")}
    first = options(text) - {"--help", "--help-all"}
    assert options(every) == declared | {"--help", "--help-all"}
    assert len(first) <= MOST
    assert REST.search(every) is None
    rest = REST.search(" ".join(text.split()))
    if declared - first:
        assert rest is not None
        assert int(rest[1]) == len(declared - first)
        last = " ".join(text.strip().rpartition("\n\n")[2].split())
        assert last == f"{rest[1]} more options: softmorph {' '.join(words)} --help-all"
    else:
        assert rest is None
    for one in LEAVES[words].params:
        assert not one.required or one.opts[0] in first or one.param_type_name == "argument"


def test_options_are_under_headings_within_the_width() -> None:
    text = shown("skeletonize", "--help-all", width=80)
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings[:2] == ["Arguments", "Options"]
    assert {"Reading IN", "Method and machine", "Output", "Larger than memory"} < set(headings)
    assert len(headings) == len(set(headings))
    assert max(map(len, text.splitlines())) <= 80


def test_the_boxes_of_a_terminal_show_the_same_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = LEAVES["erode",]
    monkeypatch.setattr(command, "rich_markup_mode", "rich")
    found = []
    for option in ("--help", "--help-all"):
        command.main([option], prog_name="softmorph erode", standalone_mode=False)
        found.append(capsys.readouterr().out)
    first, every = found
    assert "╭" in first
    assert "--radius" in first
    assert "--sharpness" not in first
    assert "--sharpness" in every
    assert "softmorph erode --help-all" in " ".join(first.strip().splitlines()[-2:])
