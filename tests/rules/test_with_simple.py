"""Deleting rules confined to simple points, by name and by file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_reference import where

from softmorph_cli.errors import FileError, RuleError
from softmorph_cli.pipeline.batch.recipe import _content
from softmorph_cli.rules import catalog
from softmorph_cli.rules.catalog import load_rule
from softmorph_cli.rules.neighborhood import DIRECTIONS, subfields
from softmorph_cli.rules.rule import Action, SubIteration
from softmorph_cli.rules.rulefile import loads, named_file
from softmorph_cli.rules.simple_points import simple, with_simple
from softmorph_cli.topology.betti import betti_numbers

DELETING = [n for n in catalog.names() if catalog.bundled(n).action is Action.DELETE]


def test_every_pass_goes_through_the_subfields() -> None:
    rule = catalog.bundled("zhang-suen-2d")
    found = with_simple(rule)
    assert found.name == "zhang-suen-2d+simple"
    assert [s.label for s in found.sub_iterations] == [
        f"{d}{p}" for d in "NS" for p in ("00", "01", "10", "11")
    ]
    assert [s.subfield for s in found.sub_iterations] == 2 * list(subfields(2))
    assert [s.rotation for s in found.sub_iterations] == [DIRECTIONS[2][d] for d in "NNNNSSSS"]
    assert found.iterations == rule.iterations
    assert found.condition == f"simple & ({rule.condition})"


def test_a_rule_over_subfields_keeps_its_passes() -> None:
    rule = loads('dimensions = 2\naction = "delete"\nschedule = "subfields"\nwhen = "S"\n', name="r")
    found = with_simple(rule)
    assert [s.subfield for s in found.sub_iterations] == list(subfields(2))
    assert [s.label for s in found.sub_iterations] == ["00", "01", "10", "11"]


@pytest.mark.parametrize("name", [n for n in DELETING if not n.startswith("thinning")])
def test_it_deletes_where_the_rule_and_simple_hold(name: str) -> None:
    rule = catalog.bundled(name)
    found = with_simple(rule)
    shape = (30, 31) if rule.dimensions == 2 else (7, 8, 9)
    mask = np.random.default_rng(3).random(shape) < 0.4
    everywhere = SubIteration(simple(rule.dimensions), found.sub_iterations[0].rotation)
    each = 2**rule.dimensions
    for number, one in enumerate(rule.sub_iterations):
        parts = found.sub_iterations[each * number : each * (number + 1)]
        union = np.any([where(part, mask) for part in parts], axis=0)
        assert (union == (where(one, mask) & where(everywhere, mask))).all()


@pytest.mark.parametrize("name", ["zhang-suen-2d", "prune-2d", "prune-3d"])
def test_it_keeps_topology_where_the_rule_does_not(name: str) -> None:
    rule = catalog.bundled(name)
    found = with_simple(rule)
    # Pairs and squares, which the rules delete whole.
    mask = np.zeros((6, 13) if rule.dimensions == 2 else (4, 6, 13), bool)
    mask[..., 1:3, 1:3] = mask[..., 2, 8:10] = True
    if rule.dimensions == 3:
        mask[[0, 2, 3]] = False
    for kept, candidate in ((False, rule), (True, found)):
        image = mask.copy()
        for sub_iteration in candidate.sub_iterations:
            image &= ~where(sub_iteration, image)
        assert (betti_numbers(image).numbers == betti_numbers(mask).numbers) == kept
        assert image.sum() < mask.sum()


def test_outside_becomes_background() -> None:
    rule = loads('dimensions = 2\naction = "delete"\noutside = 1\nwhen = "S"\n', name="r")
    assert with_simple(rule).outside == 0


@pytest.mark.parametrize("name", ["majority-2d", "boundary-3d"])
def test_what_does_not_delete_is_refused(name: str) -> None:
    with pytest.raises(RuleError, match=rf"{name} is no deleting rule.*: leave out \+simple\."):
        with_simple(catalog.bundled(name))


# ---------------------------------------------------------------- names and files


def test_a_name_may_end_in_it() -> None:
    assert load_rule("zhang-suen-2d+simple") == with_simple(catalog.bundled("zhang-suen-2d"))
    assert load_rule("prune+simple", 3) == with_simple(catalog.bundled("prune-3d"))
    with pytest.raises(RuleError, match=r"there is no rule 'zhang'"):
        load_rule("zhang+simple", 2)


def test_a_file_may_end_in_it(tmp_path: Path) -> None:
    file = tmp_path / "my rule.toml"
    file.write_text('dimensions = 2\naction = "delete"\nwhen = "S"\n', encoding="utf-8")
    for typed in (f"{file}+simple", Path(f"{file}+simple")):
        assert load_rule(typed) == with_simple(load_rule(file))
    with pytest.raises(FileError, match=r"other\.toml does not exist"):
        load_rule(tmp_path / "other.toml+simple")


@pytest.mark.parametrize(
    ("typed", "file"),
    [
        ("prune", None),
        ("prune+simple", None),
        ("a.toml", "a.toml"),
        ("a.toml+simple", "a.toml"),
        ("folder/rule", "folder/rule"),
        ("folder/rule+simple", "folder/rule"),
        ("a+simple.toml", "a+simple.toml"),
    ],
)
def test_which_file_a_rule_names(typed: str, file: str | None) -> None:
    assert named_file(typed) == (None if file is None else Path(file))


def test_forms_of_a_name() -> None:
    assert catalog.forms("prune") == ("prune-2d", "prune-3d")
    assert catalog.forms("zhang-suen") == ("zhang-suen-2d",)
    assert catalog.forms("prune-2d") == catalog.forms("") == ()


def test_a_batch_identifies_a_rule_by_the_content_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("a", encoding="utf-8")
    plain, confined = _content(str(file)), _content(f"{file}+simple")
    assert plain != str(file)
    assert confined == f"{plain}+simple"
    file.write_text("b", encoding="utf-8")
    assert _content(f"{file}+simple") not in (confined, _content(str(file)))
    assert _content("prune+simple") == "prune+simple"
    assert _content(f"{tmp_path}/absent.toml+simple") == f"{tmp_path}/absent.toml+simple"
    assert _content(3) == 3
