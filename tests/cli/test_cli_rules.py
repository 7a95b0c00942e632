"""softmorph rules, and softmorph apply of bundled and other rules."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import load, run, save
from helpers_functions import SQUARE
from helpers_maps import vessels

import softmorph_cli
from softmorph_cli.topology.betti import betti_numbers


def test_rules_are_applied_by_name_and_by_file() -> None:
    save("in.npy", SQUARE)
    run("apply", "majority", "in.npy", "a.npy")
    np.testing.assert_array_equal(load("a.npy"), softmorph_cli.apply_rule("majority", SQUARE))
    run("apply", "majority-2d", "in.npy", "b.npy", "--iterations", "2", "--method", "product")
    wanted = softmorph_cli.apply_rule("majority-2d", SQUARE, iterations=2, method="product")
    np.testing.assert_array_equal(load("b.npy"), wanted)
    bundled = Path(softmorph_cli.__file__).parent / "rules"
    text = next(bundled.rglob("*isolated*2d*.toml")).read_text(encoding="utf-8")
    Path("my own rule.toml").write_text(text, encoding="utf-8")
    run("apply", "my own rule.toml", "in.npy", "c.npy")
    np.testing.assert_array_equal(load("c.npy"), softmorph_cli.apply_rule("isolated-2d", SQUARE))


def test_rules_lists_and_draws_each() -> None:
    from softmorph_cli.rules import catalog

    listed = run("rules").out
    for name in catalog.names():
        assert f"  {name}: " in listed
        drawn = run("rules", name).out
        assert drawn.startswith(f"{name}: ")
        assert "one iteration: " in drawn
    both = run("rules", "thinning").out
    assert "thinning-2d: " in both
    assert "thinning-3d: " in both


def test_rules_draws_simple_points_and_subfields() -> None:
    drawn = run("rules", "thinning-subfields").out
    for dimensions, passes in ((2, "00 01 10 11"), (3, "000 001 010 011 100 101 110 111")):
        assert f"thinning-subfields-{dimensions}d: " in drawn
        assert f"({passes}; each over the voxels whose index has this parity)" in drawn
    assert drawn.count("simple & ~exactly(1, ring)\n  (simple: its ") == 2
    confined = run("rules", "zhang-suen+simple").out
    assert confined.startswith("zhang-suen-2d+simple: ")
    assert "N00 N01 N10 N11 S00 S01 S10 S11; drawn for the first; each over" in confined
    for name in ("thinning", "zhang-suen"):
        assert "(simple: " not in run("rules", name).out


@pytest.mark.parametrize("named", ["zhang-suen", "my own rule.toml"])
def test_a_rule_that_cannot_be_nested_names_the_one_that_can(named: str) -> None:
    save("in.npy", vessels((40, 60), 5).astype(np.float32))
    bundled = Path(softmorph_cli.__file__).parent / "rules"
    text = next(bundled.rglob("*zhang*.toml")).read_text(encoding="utf-8")
    Path("my own rule.toml").write_text(text, encoding="utf-8")
    refusal = run("apply", named, "in.npy", "out.npy", "--method", "nested", code=2).err
    assert "\n    0000\n    0dd0\n    0dd0\n    0000\n" in refusal
    assert not Path("out.npy").exists()
    command = shlex.split(refusal[refusal.index("softmorph apply") :].partition(" for this rule")[0])
    place = {"IN": "in.npy", "OUT": "out.npy"}
    run(*(place.get(word, word) for word in command[1:]))
    before, after = load("in.npy"), load("out.npy")
    # 1/2 is a threshold of every number of levels.
    assert betti_numbers(after > 0.5).numbers == betti_numbers(before > 0.5).numbers
    assert (after > 0.5).sum() < 0.8 * (before > 0.5).sum()
