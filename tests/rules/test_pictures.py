"""Templates: read, drawn again, turned, and turned into conditions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_reference import truth

from softmorph_cli.errors import RuleError
from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import And, Not, Or, Var, variables, walk
from softmorph_cli.rules.neighborhood import block, quarter_turn, rotate
from softmorph_cli.rules.picture import Template, parse

CORNER = ".1.\n011\n00."
ALL_2D = {o: np.array([n >> k & 1 for n in range(512)], bool) for k, o in enumerate(block(2))}


@pytest.mark.parametrize("name", catalog.names())
def test_every_bundled_picture_is_drawn_as_it_was_written(name: str) -> None:
    rule = catalog.bundled(name)
    for _, template in rule.templates:
        if isinstance(template, Template):
            again = parse(str(template), rule.dimensions, template.quarter_turn)
            assert again == template
            assert str(again) == str(template)
        else:
            assert template.strip()


def test_a_3d_picture_holds_slices_side_by_side() -> None:
    template = parse("1..  ...  ...\n...  .*.  ...\n...  ...  ..0", 3)
    assert dict(template.marks)[-1, -1, -1] == "1"
    assert dict(template.marks)[1, 1, 1] == "0"
    assert str(template) == "1..  ...  ...\n...  .*.  ...\n...  ...  ..0"
    where = {o: np.array([False, True]) for o in block(3)}
    where[-1, -1, -1] = np.array([True, True])
    where[1, 1, 1] = np.array([False, True])
    assert truth(template.expression, where).tolist() == [True, False]


def test_marks_mean_what_they_say_on_all_512_configurations() -> None:
    template = parse("1x.\n0*x\n..0", 2)
    expected = [
        c[-1, -1] and not c[0, -1] and not c[1, 1] and (c[-1, 0] or c[0, 1])
        for c in ({o: bool(v[n]) for o, v in ALL_2D.items()} for n in range(512))
    ]
    assert truth(template.expression, ALL_2D).tolist() == expected


def test_turned_pictures_match_in_their_four_quarter_turns_and_no_mirror() -> None:
    found = truth(parse(CORNER, 2, quarter_turn(0, 2)).expression, ALL_2D)
    drawn = np.array([list(line) for line in CORNER.split("\n")])
    expected = []
    for n in range(512):
        config = np.array([n >> k & 1 for k in range(9)]).reshape(3, 3)
        hit = False
        for turns in range(4):
            turned = np.rot90(drawn, turns)
            hit |= all(m == "." or int(m) == v for m, v in zip(turned.flat, config.flat, strict=True))
        expected.append(hit)
    assert found.tolist() == expected
    assert sum(expected) > 0


def test_what_the_alternatives_share_is_factored_out_in_front() -> None:
    template = parse("000  000  001\n...  .*.  ..1\n...  .1.  ...", 3, quarter_turn(1, 3))
    tree = template.expression
    assert isinstance(tree, And)
    *common, last = tree.operands
    assert isinstance(last, Or)
    assert len(last.operands) == 4
    # M4: 1 3 5 7 8 are 0 and 25 is 1 in all four alternatives.
    zeros = {t.operand.offset for t in common if isinstance(t, Not) and isinstance(t.operand, Var)}
    assert zeros == {(1, -1, 0), (0, -1, 1), (-1, -1, 0), (0, -1, -1), (0, -1, 0)}
    assert [t.offset for t in common if isinstance(t, Var)] == [(0, 1, 0)]


def test_a_picture_that_looks_the_same_after_every_turn_is_one_condition() -> None:
    same = parse("010\n1*1\n010", 2, quarter_turn(0, 2)).expression
    once = parse("010\n1*1\n010", 2).expression
    assert (truth(same, ALL_2D) == truth(once, ALL_2D)).all()
    assert truth(same, ALL_2D).sum() == 2


def test_the_centre_takes_part_only_where_it_is_drawn() -> None:
    assert (0, 0) not in variables(parse("111\n1*1\n111", 2).expression)
    assert (0, 0) not in variables(parse("111\n1.1\n111", 2).expression)
    assert (0, 0) in variables(parse("111\n101\n111", 2).expression)


def test_turning_a_picture_turns_its_offsets() -> None:
    turn = quarter_turn(2, 3)
    once = parse("1..  ...  ...\n...  .*.  ...\n...  ...  ...", 3, turn)
    corners = {n.offset for n in walk(once.expression) if isinstance(n, Var)}
    expected: set[tuple[int, ...]] = {(-1, -1, -1)}
    for _ in range(3):
        expected |= {rotate(o, turn) for o in expected}
    assert corners == expected
    assert len(corners) == 4


@pytest.mark.parametrize(
    ("picture", "dimensions", "fragment"),
    [
        ("111\n1*1", 2, "3 lines of 3 marks"),
        ("1111\n1*11\n1111", 2, "3 lines of 3 marks"),
        ("111\n1*1\n111\n111", 2, "3 lines of 3 marks"),
        ("11\n1*1\n111", 2, "3 lines of 3 marks"),
        ("111\n1*1\n111", 3, "3 lines of 3 groups of 3 marks"),
        ("111 111 111\n111 1*1 111\n111 111 111", 2, "3 lines of 3 marks"),
        ("", 2, "3 lines of 3 marks"),
        ("121\n1*1\n111", 2, "unknown mark '2'"),
        ("1x1\nx#x\n1x1", 2, "unknown mark '#'"),
        ("*11\n1.1\n111", 2, "middle"),
        ("*..  ...  ...\n...  ...  ...\n...  ...  ...", 3, "middle"),
    ],
)
def test_malformed_pictures_are_refused(picture: str, dimensions: int, fragment: str) -> None:
    with pytest.raises(RuleError, match=r"picture") as caught:
        parse(picture, dimensions)
    assert fragment in str(caught.value)


def test_pictures_of_nothing_but_dots_always_match() -> None:
    assert truth(parse("...\n.*.\n...", 2).expression, ALL_2D).all()
