"""Diagrams: small where the specification says so, right, and refused quickly where they are too large."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
from helpers_reference import truth

from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.diagram import MAX_NODES, DecisionDiagram, build
from softmorph_cli.errors import RuleError
from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import all_of, any_of, constant, exactly, negation, var, xor
from softmorph_cli.rules.neighborhood import block, neighbors
from softmorph_cli.rules.rulefile import loads

ALL_2D = {o: np.array([n >> k & 1 for n in range(512)], bool) for k, o in enumerate(block(2))}


def _evaluate(diagram: DecisionDiagram, values: dict[tuple[int, ...], np.ndarray]) -> np.ndarray:
    shape = next(iter(values.values())).shape
    known = [np.zeros(shape, bool), np.ones(shape, bool)]
    for node in diagram.nodes:
        known.append(np.where(values[node.offset], known[node.high], known[node.low]))
    return known[diagram.root]


@pytest.mark.parametrize(("name", "limit"), [("thinning-2d", 17), ("thinning-3d", 120)])
def test_the_thinning_rules_have_the_sizes_of_the_specification(name: str, limit: int) -> None:
    rule = catalog.bundled(name)
    condition = rule.sub_iterations[0].expression
    assert len(build(condition, rule.order)) <= limit


@pytest.mark.parametrize("name", [n for n in catalog.names() if n.endswith("2d")])
def test_2d_diagrams_equal_their_rule_on_all_512_configurations(name: str) -> None:
    rule = catalog.bundled(name)
    for sub_iteration in rule.sub_iterations:
        update = rule.update(sub_iteration)
        for order in (rule.order, (), tuple(reversed(block(2)))):
            assert (_evaluate(build(update, order), ALL_2D) == truth(update, ALL_2D)).all()


def test_a_diagram_is_reduced_and_ordered() -> None:
    rule = catalog.bundled("thinning-3d")
    diagram = build(rule.sub_iterations[0].expression, rule.order)
    place = {offset: k for k, offset in enumerate(rule.order)}
    assert len(set(diagram.nodes)) == len(diagram)
    for index, node in enumerate(diagram.nodes):
        assert node.low != node.high
        for child in (node.low, node.high):
            assert child < index + 2
            assert child < 2 or place[diagram.nodes[child - 2].offset] > place[node.offset]


@pytest.mark.parametrize(
    "text", ["0", "1", "N", "~N", "C", "~C", "N | ~N", "N & ~N", "N & E", "N ^ E", "[0,1]", "C & (N | ~N)"]
)
@pytest.mark.parametrize("action", ["set", "delete", "add"])
def test_rules_of_none_one_or_two_variables_compile(text: str, action: str) -> None:
    rule = loads(f'dimensions = 2\naction = "{action}"\nwhen = "{text}"\n', name="tiny")
    update = rule.update(rule.sub_iterations[0])
    assert (_evaluate(build(update), ALL_2D) == truth(update, ALL_2D)).all()
    assert len(compile_rule(rule, DIAGRAM)) == 1


def test_constants_have_no_nodes() -> None:
    order = ((0, 0), (0, 1))
    for value in (False, True):
        assert build(constant(value), order) == DecisionDiagram((), int(value))
    assert build(any_of(var((0, 1)), negation(var((0, 1)))), order) == DecisionDiagram((), 1)


def test_a_wrong_root_sign_would_be_seen() -> None:
    tree = xor(var((0, 1)), all_of(var((1, 0)), negation(var((0, 0)))))
    diagram = build(tree, ((0, 0), (0, 1), (1, 0)))
    assert (_evaluate(diagram, ALL_2D) == truth(tree, ALL_2D)).all()
    assert not (_evaluate(diagram, ALL_2D) == truth(negation(tree), ALL_2D)).any()


def _names() -> list[str]:
    return [f"[{','.join(map(str, o))}]" for o in neighbors(26, 3)]


def _random_function() -> str:
    rng = random.Random(0)
    terms = (" & ".join(rng.choice(("", "~")) + n for n in rng.sample(_names(), 6)) for _ in range(100))
    return " ^ ".join(f"({term})" for term in terms)


TOO_LARGE = {
    "hidden weighted bit": " | ".join(
        f"(exactly({k}, ring) & {name})" for k, name in enumerate(_names(), start=1)
    ),
    "random parity": _random_function(),
}


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_diagram_that_is_too_large_is_a_clear_error(kind: str, ordered: bool) -> None:
    order = f"order = [{', '.join(repr(name) for name in _names())}]\n" if ordered else ""
    rule = loads(f'dimensions = 3\naction = "set"\nwhen = "{TOO_LARGE[kind]}"\n{order}', name="monster")
    with pytest.raises(RuleError, match=r"decision diagram grows past \d+ nodes"):
        compile_rule(rule, DIAGRAM)
    # What the diagram library leaves behind must go quietly: an exception in a destructor is a failure here.
    gc.collect()


def test_the_error_names_the_rule() -> None:
    rule = loads(
        f'dimensions = 3\naction = "set"\nwhen = "{TOO_LARGE["random parity"]}"\n'
        f"order = [{', '.join(repr(name) for name in _names())}]\n",
        name="monster",
        origin="folder/monster.toml",
    )
    with pytest.raises(RuleError, match="monster"):
        compile_rule(rule, DIAGRAM)


def test_large_but_allowed_diagrams_pass() -> None:
    ring = [var(o) for o in neighbors(26, 3)]
    size = len(build(exactly(13, ring), tuple(neighbors(26, 3))))
    # 13 of 26: at level k, min(k, 26 - k) + 1 counts are still open, and two of them are decided.
    assert 180 < size < 200
    assert size <= MAX_NODES
