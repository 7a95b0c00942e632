"""Each message that advises something to type is tested, or listed with the reason why it is not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from helpers_messages import messages, options_and_commands
from helpers_tried import ELSEWHERE, ROWS, UNTRIED
from test_cli_advice import TABLE as FILES
from test_cli_advice_interpolate import TABLE as INTERPOLATE
from test_cli_advice_machines import TABLE as MACHINES
from test_cli_advice_options import TABLE as OPTIONS
from test_cli_advice_pictures import TABLE as PICTURES
from test_cli_advice_reading import TABLE as READING
from test_cli_advice_units import TABLE as UNITS

TESTS = Path(__file__).parents[1]


def known(text: str) -> list[str]:
    return [part for part in (*ROWS, *ELSEWHERE, *UNTRIED) if part in text]


def test_every_message_that_advises_is_known() -> None:
    found = {place: "{}".join(parts) for place, parts in messages().items()}
    assert len(found) > 150
    unknown = [f"{place}: {text}" for place, text in found.items() if not known(text)]
    assert not unknown, "add a row to a TABLE of test_cli_advice*.py for each of:\n" + "\n".join(unknown)


def test_what_is_known_is_still_said() -> None:
    every = "\n".join("{}".join(parts) for parts in messages().values())
    assert [part for part in (*ROWS, *ELSEWHERE, *UNTRIED) if part not in every] == []


def test_rows_and_tests_are_there() -> None:
    tables = {*FILES, *INTERPOLATE, *MACHINES, *OPTIONS, *PICTURES, *READING, *UNITS}
    assert set(ROWS.values()) <= tables
    for named in ELSEWHERE.values():
        path, _, name = named.partition("::")
        tree = ast.parse((TESTS / path).read_text())
        assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, named


@pytest.mark.parametrize("kind", ["options", "commands"])
def test_what_messages_name_exists(kind: str) -> None:
    options, commands = options_and_commands()
    text = "\n".join("{}".join(parts) for parts in messages().values())
    if kind == "options":
        foreign = {"--include", "--keep", "--save", "--scheduler-file", "--save_probabilities", "--output"}
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*[a-z]", text)) - foreign
        assert named - options == set()
    else:
        named = set(re.findall(r"softmorph ([a-z]+)", text)) - {"cannot", "made", "wrote"}
        assert named - commands == set()
