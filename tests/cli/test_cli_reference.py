"""The declarations of JSON fields and exit statuses agree with what is printed, and the page with both."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import typer

import softmorph_cli
from softmorph_cli import errors
from softmorph_cli.cli.app import app
from softmorph_cli.cli.document_fields import OBJECTS
from softmorph_cli.cli.document_list import ALWAYS, DOCUMENTS, mismatches
from softmorph_cli.cli.option_list import options
from softmorph_cli.cli.reference import reference
from softmorph_cli.errors import STATUSES

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference.md"
FROZEN: Final = sorted(
    (*(ROOT / "tests/frozen").glob("document_*.json"), *(ROOT / "tests/frozen").glob("filter_*.json"))
)
# Plurals that are lists of objects at the top, and numbers (or names) in an object that counts them.
COUNTED: Final = {"branches", "components", "nodes", "classes", "subjects", "counts", "failed"}
HEAD: Final = {"schema": 2, "softmorph_version": "0", "command": "stats"}


def test_the_page_is_renewed() -> None:
    renew = "python -m softmorph_cli.cli.reference docs/reference.md"
    told = PAGE.read_text(encoding="utf-8")
    assert told == reference(typer.main.get_command(app)), f"docs/reference.md is out of date; type: {renew}"


def test_every_command_has_a_document() -> None:
    commands = {one.command for one in options(typer.main.get_command(app)) if one.command}
    assert commands == set(DOCUMENTS)


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: path.stem)
def test_documents_have_the_declared_fields_and_no_others(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('"<seconds>"', '{"total": 1.5}')
    document = json.loads(text)
    assert mismatches(document) == []
    assert set(ALWAYS) - {"error"} <= set(document)


def test_one_name_is_one_thing() -> None:
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for fields in (*OBJECTS.values(), *DOCUMENTS.values(), ALWAYS):
        for name, one in fields.items():
            kinds[name].add(one.kind.removesuffix(" or null"))
    assert {name for name, several in kinds.items() if len(several) > 1} == COUNTED


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"file": "map.nii"}, "stats: the field file is not declared"),
        ({"notes": "none"}, "stats: notes is 'none' and declared as list of text"),
        ({"input": {"path": 3}}, "stats: input: path is 3 and declared as text"),
        ({"input": {"shape": [2, 2.5]}}, "stats: input: shape is [2, 2.5] and declared as list of integer"),
        ({"input": {"axes": True}}, "stats: input: axes is True and declared as text or null"),
        (
            {"files": [{"statistics": {"max": None}}]},
            "stats: files: statistics: max is None and declared as number",
        ),
        ({"command": "paint"}, "the command paint has no declared document"),
    ],
)
def test_a_document_that_disagrees_is_found(more: dict[str, Any], says: str) -> None:
    assert mismatches(HEAD | {"seconds": {"total": 1}}) == []
    assert mismatches(HEAD | more) == [says]


def test_lengths_have_their_unit_in_the_name() -> None:
    graph = {"length_um": 2.0, "length_voxels": 3.0, "longest_branch_mm": None}
    assert mismatches(HEAD | {"command": "inspect", "graph": graph}) == []
    assert mismatches(HEAD | {"command": "inspect", "graph": {"length": 2.0}}) == [
        "inspect: graph: the field length is not declared"
    ]


def test_every_exit_status_is_in_the_table() -> None:
    """Those of the classes of errors, and those that the source of the commands ends with."""
    classes = [one for one in vars(errors).values() if hasattr(one, "exit_code")]
    assert {one.exit_code for one in classes} == {1, 2, 3}
    ends = {one.exit_code for one in classes}
    for path in Path(softmorph_cli.__file__).parent.joinpath("cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Exit":
                ends |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    assert ends <= set(STATUSES)
    assert {0, 1, 2, 3, 130, 143} == set(STATUSES)
