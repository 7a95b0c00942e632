"""Expressions are interned, wherever they come from."""

from __future__ import annotations

import pickle

import pytest

from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import Expression, all_of, any_of, at_least, constant, negation, var, xor

A, B, C = (var((0, offset)) for offset in (-1, 0, 1))


@pytest.mark.parametrize(
    "expression",
    [
        constant(True),
        A,
        negation(A),
        all_of(A, negation(B)),
        any_of(A, B, C),
        xor(A, all_of(B, C)),
        at_least(2, (A, B, C)),
    ],
    ids=str,
)
def test_an_unpickled_expression_is_the_same_object(expression: Expression) -> None:
    assert pickle.loads(pickle.dumps(expression)) is expression


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_rule_that_was_pickled_equals_itself(dimensions: int) -> None:
    rule = catalog.bundled("thinning", dimensions)
    assert pickle.loads(pickle.dumps(rule)) == rule
