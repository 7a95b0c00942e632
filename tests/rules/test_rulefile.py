"""The reader of rule files: every documented key, and an error that names file and line for every slip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_reference import truth

from softmorph_cli.errors import FileError, RuleError
from softmorph_cli.rules.neighborhood import DIRECTIONS, block
from softmorph_cli.rules.picture import Template
from softmorph_cli.rules.rule import Action
from softmorph_cli.rules.rulefile import load, loads

ALL_2D = {o: np.array([n >> k & 1 for n in range(512)], bool) for k, o in enumerate(block(2))}

FULL = '''
title = "A title"
citation = "A citation (1999)"
dimensions = 2
action = "add"
when = "A & ~B"
schedule = ["E", {turn = "W", when = "C | N"}, "E"]
iterations = 7
outside = 1
order = ["N", "C", "SW"]

[templates]
A = "~NE & (E ^ S)"
D = """
1..
.*.
..0
"""
[templates.B]
picture = """
.1.
011
00.
"""
turn = true
'''


def test_every_documented_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FULL, encoding="utf-8")
    rule = load(path)
    assert rule.name == "mine"
    assert rule.title == "A title"
    assert rule.citation == "A citation (1999)"
    assert rule.dimensions == 2
    assert rule.action is Action.ADD
    assert rule.absorbing == 1
    assert rule.condition == "A & ~B"
    assert [s.label for s in rule.sub_iterations] == ["E", "W", "E"]
    assert [s.rotation for s in rule.sub_iterations] == [DIRECTIONS[2][d] for d in "EWE"]
    assert rule.iterations == 7
    assert rule.outside == 1
    assert rule.order == ((-1, 0), (0, 0), (1, -1))
    assert [name for name, _ in rule.templates] == ["A", "D", "B"]
    templates = dict(rule.templates)
    assert templates["A"] == "~NE & (E ^ S)"
    assert isinstance(templates["D"], Template)
    assert templates["D"].quarter_turn is None
    assert isinstance(templates["B"], Template)
    assert templates["B"].quarter_turn is not None
    v = ALL_2D
    a = ~v[-1, 1] & (v[0, 1] ^ v[1, 0])
    b = truth(templates["B"].expression, v)
    assert (truth(rule.sub_iterations[0].expression, v) == (a & ~b)).all()
    assert (truth(rule.sub_iterations[1].expression, v) == (v[0, 0] | v[-1, 0])).all()


def test_defaults() -> None:
    rule = loads('dimensions = 3\naction = "set"\n[templates]\nP = "C"\nQ = "[1,0,0]"\n', name="r")
    assert rule.condition == "P | Q"
    assert rule.iterations == 1
    assert rule.outside == 0
    assert rule.order == ()
    assert [s.label for s in rule.sub_iterations] == ["U"]
    assert rule.title == rule.citation == ""


def test_until_stable() -> None:
    rule = loads('dimensions = 2\naction = "delete"\nwhen = "N"\niterations = "until stable"\n', name="r")
    assert rule.iterations is None


def _condition(text: str) -> np.ndarray:
    rule = loads(f'dimensions = 2\naction = "set"\nwhen = """{text}"""\n', name="r")
    return truth(rule.sub_iterations[0].expression, ALL_2D)


def test_the_grammar_of_conditions() -> None:
    v = ALL_2D
    ring = sum(value.astype(int) for offset, value in v.items() if offset != (0, 0))
    cross = sum(v[o].astype(int) for o in ((-1, 0), (0, 1), (1, 0), (0, -1)))
    assert (_condition("C") == v[0, 0]).all()
    assert (_condition("[-1,1]") == v[-1, 1]).all()
    assert (_condition("[0,0]") == v[0, 0]).all()
    assert (_condition("not N") == ~v[-1, 0]).all()
    assert (_condition("N & E | S ^ W") == ((v[-1, 0] & v[0, 1]) | (v[1, 0] ^ v[0, -1]))).all()
    assert (_condition("~(N | E) & 1 ^ 0") == ~(v[-1, 0] | v[0, 1])).all()
    assert (_condition("N\n  & E") == (v[-1, 0] & v[0, 1])).all()
    assert not _condition("0").any()
    assert _condition("1").all()
    for k in range(10):
        assert (_condition(f"at_least({k}, ring)") == (ring >= k)).all()
        assert (_condition(f"exactly({k}, block)") == (ring + v[0, 0] == k)).all()
        assert (_condition(f"exactly({k}, cross)") == (cross == k)).all()
    assert (
        _condition("at_least(2, N & E, ~S, cross)")
        == ((v[-1, 0] & v[0, 1]).astype(int) + ~v[1, 0] + cross >= 2)
    ).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_turn_about_axis(axis: int) -> None:
    rule = loads(
        'dimensions = 3\naction = "set"\n[templates.A]\n'
        f'picture = "1.. ... ...\\n... .*. ...\\n... ... ..."\nturn_about_axis = {axis}\n',
        name="r",
    )
    template = dict(rule.templates)["A"]
    assert isinstance(template, Template)
    assert template.quarter_turn is not None
    fixed = tuple(int(k == axis) for k in range(3))
    assert tuple(row[axis] for row in template.quarter_turn) == fixed


GOOD_2D = 'dimensions = 2\naction = "delete"\n'
GOOD_3D = 'dimensions = 3\naction = "delete"\n'
PICTURE_3D = "... ... ...\\n... .*. ...\\n... ... ..1"

BAD = {
    "toml": ("dimensions = 2\naction = \n", 2, "not valid TOML"),
    "duplicate": ("dimensions = 2\ndimensions = 2\n", 2, "not valid TOML"),
    "unknown key": (GOOD_2D + 'when = "N"\nwhne = "N"\n', 4, "unknown key 'whne'"),
    "dimensions": ('action = "set"\ndimensions = 4\nwhen = "N"\n', 2, "`dimensions` cannot be 4: use 2 or 3"),
    "dimensions float": ('action = "set"\ndimensions = 2.0\nwhen = "N"\n', 2, "cannot be 2.0"),
    "action": ('dimensions = 2\naction = "erase"\nwhen = "N"\n', 2, "use 'delete' or 'add' or 'set'"),
    "outside": (GOOD_2D + 'when = "N"\noutside = 2\n', 4, "`outside` cannot be 2: use 0 or 1"),
    "outside bool": (GOOD_2D + 'when = "N"\noutside = true\n', 4, "`outside` cannot be True"),
    "iterations": (GOOD_2D + 'when = "N"\niterations = 0\n', 4, "`iterations` is a positive number"),
    "iterations bool": (GOOD_2D + 'when = "N"\niterations = true\n', 4, "positive number"),
    "iterations text": (GOOD_2D + 'when = "N"\niterations = "stable"\n', 4, '"until stable"'),
    "order": (GOOD_2D + 'when = "N"\norder = "N"\n', 4, "`order` is a list"),
    "order entry": (GOOD_2D + 'when = "N"\norder = ["N", "X"]\n', 4, "'X' in `order` is not a neighbour"),
    "order syntax": (GOOD_2D + 'when = "N"\norder = ["N", "[0,"]\n', 4, "'[0,' in `order`"),
    "order in 3D": (GOOD_3D + 'when = "[0,0,1]"\norder = ["[0,1]"]\n', 4, "in `order` is not a neighbour"),
    "schedule": (GOOD_2D + 'when = "N"\nschedule = ["U"]\n', 4, "'U' is not a direction: use N, E, S, W"),
    "schedule empty": (GOOD_2D + 'when = "N"\nschedule = []\n', 4, "`schedule` is a list of directions"),
    "schedule type": (GOOD_2D + 'when = "N"\nschedule = "N"\n', 4, "`schedule` is a list"),
    "schedule table": (GOOD_2D + 'when = "N"\nschedule = [{turns = "N"}]\n', 4, "is not a direction"),
    "schedule no turn": (GOOD_2D + 'when = "N"\nschedule = [{when = "N"}]\n', 4, "is not a direction"),
    "schedule nested": (GOOD_2D + 'when = "N"\nschedule = [["N"]]\n', 4, "is not a direction"),
    "schedule when": (GOOD_2D + 'schedule = [{turn = "N", when = "X"}]\nwhen = "N"\n', 3, "'X' is neither"),
    "templates": (GOOD_2D + "templates = 3\n", 3, "`templates` is a table"),
    "template type": (GOOD_2D + "[templates]\nA = 3\n", 4, "template A needs a `picture`"),
    "template empty": (GOOD_2D + "[templates.A]\nturn = true\n", 3, "template A needs a `picture`"),
    "template key": (GOOD_2D + '[templates.A]\npicture = ""\nturns = 1\n', 5, "unknown key 'turns'"),
    "template name": (GOOD_2D + '[templates]\nNE = "N"\n', 4, "a template cannot be called 'NE'"),
    "template set name": (GOOD_2D + '[templates]\nring = "N"\n', 4, "cannot be called 'ring'"),
    "template spaced": (GOOD_2D + '[templates]\n"a b" = "N"\n', 4, "cannot be called 'a b'"),
    "template bad picture": (GOOD_2D + '[templates]\nA = "111 111 111"\n', 4, "template A: a 2D picture"),
    "picture marks": (
        GOOD_2D + '[templates.A]\npicture = """\n11a\n1*1\n111\n"""\n',
        3,
        "template A: unknown mark 'a'",
    ),
    "turn in 3D": (
        GOOD_3D + f'[templates.A]\npicture = "{PICTURE_3D}"\nturn = true\n',
        5,
        "say turn_about_axis = 0, 1 or 2",
    ),
    "turn axis": (
        GOOD_3D + f'[templates.A]\npicture = "{PICTURE_3D}"\nturn_about_axis = 3\n',
        5,
        "cannot be turned about axis 3",
    ),
    "second turn axis": (
        GOOD_3D
        + f'[templates.A]\nturn_about_axis = 1\npicture = "{PICTURE_3D}"\n'
        + f'[templates.B]\nturn_about_axis = 5\npicture = "{PICTURE_3D}"\n',
        7,
        "template B cannot be turned about axis 5",
    ),
    "when syntax": (GOOD_2D + 'when = "N &"\n', 3, "cannot read the expression 'N &'"),
    "when empty": (GOOD_2D + 'when = ""\n', 3, "cannot read the expression"),
    "when name": (GOOD_2D + 'when = "N & Q"\n', 3, "'Q' is neither a neighbour nor a template"),
    "when set": (GOOD_2D + 'when = "ring"\n', 3, "'ring' is neither"),
    "when plus": (GOOD_2D + 'when = "N + E"\n', 3, "'N + E' is not allowed"),
    "when and": (GOOD_2D + 'when = "N and E"\n', 3, "'N and E' is not allowed"),
    "when call": (GOOD_2D + "when = \"__import__('os')\"\n", 3, "is not allowed"),
    "when attribute": (GOOD_2D + 'when = "N.real"\n', 3, "'N.real' is not allowed"),
    "when two": (GOOD_2D + 'when = "2"\n', 3, "'2' is not allowed"),
    "when far": (GOOD_2D + 'when = "[0,2]"\n', 3, "'[0, 2]' is no neighbour [y,x]"),
    "when 2D in 3D": (GOOD_3D + 'when = "[0,1]"\n', 3, "is no neighbour [z,y,x]"),
    "when compass in 3D": (GOOD_3D + 'when = "NE"\n', 3, "'NE' is neither"),
    "count": (GOOD_2D + 'when = "at_least(N, ring)"\n', 3, "at_least begins with a number, not 'N'"),
    "count negative": (GOOD_2D + 'when = "exactly(-1, ring)"\n', 3, "exactly begins with a number"),
    "count nothing": (GOOD_2D + 'when = "at_least()"\n', 3, "'at_least()' is not allowed"),
    "count keyword": (GOOD_2D + 'when = "at_least(2, ring, k=C)"\n', 3, "not allowed"),
    "forward reference": (GOOD_2D + '[templates]\nA = "B"\nB = "N"\n', 4, "'B' is neither"),
    "itself": (GOOD_2D + '[templates]\nA = "A"\n', 4, "'A' is neither"),
    "in a template": (GOOD_2D + '[templates]\nA = "N"\nB = "A & X"\n', 5, "'X' is neither"),
    "deep parentheses": (GOOD_2D + f'when = "{"(" * 500}N{")" * 500}"\n', 3, "expression"),
    "deep chain": (GOOD_2D + f'when = "{" & ".join(["N"] * 5000)}"\n', 3, "nested too deeply"),
    "deep order": (GOOD_2D + f'when = "N"\norder = ["{"-" * 5000}1"]\n', 4, "in `order` is not a neighbour"),
    "deep tildes": (GOOD_2D + f'when = "{"~" * 100_000}N"\n', 3, "expression"),
    "template True": (GOOD_2D + 'when = "True"\n[templates]\nTrue = "N"\n', 5, "cannot be called 'True'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_naming_file_and_line(case: str, tmp_path: Path) -> None:
    text, line, fragment = BAD[case]
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RuleError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert f"line {line}" in message.removeprefix(str(path))[:200] or f"at line {line}," in message
    assert fragment in message


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ('action = "set"\nwhen = "N"\n', "`dimensions` is missing: use 2 or 3"),
        ('dimensions = 2\nwhen = "N"\n', "`action` is missing: use 'delete' or 'add' or 'set'"),
        (GOOD_2D, "nothing to do"),
        ("", "`dimensions` is missing"),
    ],
)
def test_what_is_missing_is_said_of_the_file(text: str, fragment: str) -> None:
    with pytest.raises(RuleError, match=r"^somewhere: ") as caught:
        loads(text, name="r", origin="somewhere")
    assert fragment in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"absent\.toml does not exist"):
        load(tmp_path / "absent.toml")
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'title = "Pal\xe1gyi"\n')
    with pytest.raises(FileError, match="is no rule file: it is not text in UTF-8"):
        load(tmp_path / "latin.toml")
