"""CONTRIBUTING.md names existing files and all packages of the floor plan."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_files_it_names_exist() -> None:
    named = set(re.findall(r"(?:softmorph_cli|tests|\.ci|\.github)/[\w./-]*\w", TEXT))
    assert "softmorph_cli/io/formats.py" in named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_floor_plan_has_the_packages_of_the_import_contract_in_order() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = [
        line.split("|")[1] for line in TEXT.split("## The house")[1].splitlines() if line.startswith("| `")
    ]
    contract = [
        {name.strip().removeprefix("softmorph_cli.") for name in layer.split("|")} for layer in layers
    ]
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == contract[1:]
    assert contract[0] == {"__main__"}
