"""Compiled programs on disk: quick, shared, and never trusted blindly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from softmorph_cli.compiler import compile as compile_module
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.rules import catalog
from softmorph_cli.system import cache

WARM = """
import sys, time
from softmorph_cli.compiler import compile as c
from softmorph_cli.rules import catalog
rule, best = catalog.bundled("thinning-3d"), 9.9
for _ in range(7):
    c.compile_rule.cache_clear(); c._compile.cache_clear()
    start = time.perf_counter()
    steps = c.compile_rule(rule, "multilinear")
    best = min(best, time.perf_counter() - start)
heavy = sorted({"dd", "numba", "torch", "softmorph_cli.compiler.diagram"} & set(sys.modules))
sys.stdout.write(f"{best} {len(steps)} {heavy}")
"""


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    _forget()
    yield folder
    _forget()


def _forget() -> None:
    compile_module.compile_rule.cache_clear()
    compile_module._compile.cache_clear()


def _only(folder: Path) -> Path:
    (entry,) = (folder / "programs").iterdir()
    return entry


def test_from_the_cache_in_under_50_ms_without_dd(fresh: Path) -> None:
    compile_rule(catalog.bundled("thinning-3d"), DIAGRAM)
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=True)
    best, steps, heavy = done.stdout.split(" ", 2)
    assert heavy == "[]"
    assert steps == "6"
    assert float(best) < 0.05


def test_the_entry_on_disk_is_the_program(fresh: Path) -> None:
    first = compile_rule(catalog.bundled("thinning-2d"), DIAGRAM)
    assert _only(fresh).read_text() == str(first[0].program)
    _forget()
    assert compile_rule(catalog.bundled("thinning-2d"), DIAGRAM) == first
    assert len(list((fresh / "programs").iterdir())) == 1


def test_each_logic_and_each_rule_has_a_separate_entry(fresh: Path) -> None:
    for logic in (DIAGRAM, "product", "minmax"):
        compile_rule(catalog.bundled("thinning-2d"), logic)
    compile_rule(catalog.bundled("thinning-3d"), DIAGRAM)
    assert len(list((fresh / "programs").iterdir())) == 4


def _halved(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[: len(lines) // 2])


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "garbage": lambda text: "\0\1\2" * 40,
    "cut in a line": lambda text: text[: len(text) // 2],
    "cut between lines": _halved,
    "an operand lost": lambda text: re.sub(r"mix (\d+) (\d+) \d+", r"mix \1 \2", text, count=1),
    "an operand changed": lambda text: text.replace("input 1", "input 2", 1),
    "an unknown operation": lambda text: text.replace("mix", "mux", 1),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_compiled_again_and_repaired(kind: str, fresh: Path) -> None:
    rule = catalog.bundled("thinning-2d")
    right = compile_rule(rule, DIAGRAM)
    entry = _only(fresh)
    text = entry.read_text()
    damaged = DAMAGE[kind](text)
    assert damaged != text
    entry.write_text(damaged)
    _forget()
    assert compile_rule(rule, DIAGRAM) == right
    assert entry.read_text() == text


def test_a_cache_that_cannot_be_written_does_not_matter(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    right = compile_rule(catalog.bundled("thinning-2d"), DIAGRAM)
    _only(fresh).unlink()
    _forget()
    monkeypatch.setattr(Path, "write_text", full)
    assert compile_rule(catalog.bundled("thinning-2d"), DIAGRAM) == right


HASHED = """
import sys
from softmorph_cli.compiler.compile import compile_rule
from softmorph_cli.rules.rulefile import loads
(step,) = compile_rule(loads(sys.argv[1], name="r"), "multilinear")
sys.stdout.write(str(step.program))
"""


def test_a_rule_without_an_order_gives_the_same_program_in_every_process(tmp_path: Path) -> None:
    condition = "(N & SE | ~W & C) ^ at_least(3, NE, E, S, SW) ^ exactly(2, ring)"
    text = f'dimensions = 2\naction = "set"\nwhen = "{condition}"\n'
    programs = {
        subprocess.run(
            [sys.executable, "-c", HASHED, text],
            env=os.environ | {"PYTHONHASHSEED": seed, cache.VARIABLE: str(tmp_path / seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "012"
    }
    assert len(programs) == 1
    assert programs.pop().startswith("inputs")
