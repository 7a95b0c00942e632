"""What is kept of the findings about method `nested`, and the messages about rules that it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers_rules import DELETING, deleting_rule

from softmorph_cli.compiler import nesting
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.nesting import KNOWN, Nesting, check, write
from softmorph_cli.errors import RuleError
from softmorph_cli.rules import catalog
from softmorph_cli.rules.rule import Rule
from softmorph_cli.system import cache as disk
from softmorph_cli.system.parameters import named_as_options

# ---------------------------------------------------------------- what is kept


def test_bundled_findings_are_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "prove", lambda step, dimensions: pytest.fail("this takes seconds"))
    check.cache_clear()
    for name in DELETING:
        if name.endswith("3d"):
            check(catalog.bundled(name))
    check.cache_clear()


def test_bundled_findings_are_what_comes_out(tmp_path: Path) -> None:
    write(tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == json.loads(KNOWN.read_text(encoding="utf-8"))


def test_a_finding_is_cached_and_a_damaged_one_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path))
    proved = []
    prove = nesting.prove

    def watched(*given: Any) -> Nesting:
        proved.append(given)
        return prove(*given)

    monkeypatch.setattr(nesting, "prove", watched)
    rule = deleting_rule("simple & ~N & ~NE & ~NW & S & SE & SW & W")
    for damage in (None, "", "{}", "{", None):
        if damage is not None:
            (entry,) = (tmp_path / "nesting").iterdir()
            entry.write_text(damage)
        check.cache_clear()
        wanted = prove(compile_rule(rule, DIAGRAM)[0], 2)
        assert check(rule) == Nesting(wanted.holds, wanted.reason, wanted.counterexample, not wanted.holds)
    # Once at first, once for each damage, and not at all at the end.
    assert len(proved) == 4
    check.cache_clear()


# ---------------------------------------------------------------- what a person reads


def test_a_refusal_shows_why_and_what_to_type() -> None:
    with named_as_options():
        text = check(catalog.bundled("zhang-suen-2d")).describe("zhang-suen")
        assert "apply 'my rule.toml+simple' IN" in check(catalog.bundled("prune-2d")).describe("my rule.toml")
    assert text == (
        "rule zhang-suen cannot run as nested: it deletes a component of 4 pixels at once (drawn below: 1 foreground, "
        "0 background, d deleted). Type softmorph apply zhang-suen+simple IN OUT --method nested for this rule at "
        "simple points alone, subfield by subfield, or leave out --method nested.\n"
        "    0000\n    0dd0\n    0dd0\n    0000"
    )
    in_python = check(catalog.bundled("zhang-suen-2d")).describe("zhang-suen").partition("\n")[0]
    assert in_python.endswith(
        "Type apply_rule('zhang-suen+simple', image, method='nested') for this rule at simple points alone, "
        "subfield by subfield, or leave out method='nested'."
    )
    assert "p may be deleted as well" in check(catalog.bundled("prune-3d")).describe("prune")


def test_what_would_do_nothing_is_not_advised() -> None:
    # No voxel without neighbours is simple.
    for name in ("isolated-2d", "isolated-3d", "majority-2d"):
        text = check(catalog.bundled(name)).describe(name)
        assert "+simple" not in text
        assert text.partition("\n")[0].endswith("eave out method='nested'.")


def test_what_is_too_large_is_not_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(rule: Rule) -> Rule:
        raise RuleError("too large")

    rule = deleting_rule("exactly(3, ring)")
    assert nesting._repairable(rule)
    monkeypatch.setattr(nesting, "with_simple", too_large)
    assert not nesting._repairable(rule)


def test_a_rule_that_may_run_as_nested_is_reported() -> None:
    assert (
        check(catalog.bundled("guo-hall-2d"))
        .describe("guo-hall")
        .startswith("rule guo-hall can run as nested: any")
    )
