"""Increasing rules: found from the diagram, and under `minmax` the binary rule at every threshold, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers_maps import same_bits
from helpers_reference import truth
from helpers_run import run_binary
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import softmorph_cli
from softmorph_cli.compiler import diagram as diagrams
from softmorph_cli.compiler.compile import MINMAX, compile_rule, is_increasing
from softmorph_cli.compiler.program import Op
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.expression import Expression, all_of, any_of, constant, negation, var, xor
from softmorph_cli.rules.neighborhood import block
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import loads

ALL_2D = {o: np.array([n >> k & 1 for n in range(512)], bool) for k, o in enumerate(block(2))}
FEW = block(2)[:5]
ALL_FEW = dict(zip(FEW, np.array(list(product((0, 1), repeat=5)), bool).T, strict=True))

INCREASING = ["isolated-2d", "isolated-3d", "majority-2d", "majority-3d"]


def _never_switches_off(expression: Expression, corners: dict[tuple[int, ...], np.ndarray]) -> bool:
    """Set each voxel in turn, in every configuration: the value must not fall."""
    before = truth(expression, corners)
    return all(
        (before <= truth(expression, {**corners, offset: np.ones_like(values)})).all()
        for offset, values in corners.items()
    )


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Expression:
    if depth == 0:
        return draw(st.sampled_from([*map(var, FEW), constant(False), constant(True)]))
    parts = [draw(expressions(depth - 1)) for _ in range(2)]
    # Complements are rare, or hardly any function would be increasing.
    kind = draw(st.sampled_from([all_of, any_of, all_of, any_of, all_of, any_of, xor, None]))
    return negation(parts[0]) if kind is None else kind(*parts)


@given(expressions(), st.permutations(FEW))
@settings(max_examples=300)
def test_the_diagram_tells_what_all_configurations_tell(
    expression: Expression, order: list[tuple[int, ...]]
) -> None:
    made = diagrams.build(expression, tuple(order))
    assert diagrams.is_increasing(made) == _never_switches_off(expression, ALL_FEW)


@pytest.mark.parametrize("name", [name for name in catalog.names() if name.endswith("2d")])
def test_bundled_2d_rules_by_all_512_configurations(name: str) -> None:
    rule = catalog.bundled(name)
    updates = [rule.update(one) for one in rule.sub_iterations]
    assert is_increasing(rule) == all(_never_switches_off(update, ALL_2D) for update in updates)


def test_which_bundled_rules_are_increasing() -> None:
    assert [name for name in catalog.names() if is_increasing(catalog.bundled(name))] == INCREASING


def test_erosion_and_dilation_are_increasing_and_keep_their_fold() -> None:
    for make, op in ((structuring.erosion, Op.MIN), (structuring.dilation, Op.MAX)):
        (step,) = compile_rule(make(26, 3), MINMAX)
        assert step.program.is_increasing
        assert step.fold is not None
        assert step.fold.op is op


def test_one_step_that_is_not_increasing_is_enough() -> None:
    rule = catalog.bundled("majority-2d")
    (first,) = rule.sub_iterations
    second = replace(first, expression=negation(first.expression))
    assert not is_increasing(replace(rule, sub_iterations=(first, second)))
    assert is_increasing(replace(rule, sub_iterations=(first, first)))


def test_a_rule_too_large_for_a_diagram_has_a_logic_all_the_same() -> None:
    names = [f"[{','.join(map(str, offset))}]" for offset in block(3)]
    weighted = " | ".join(f"(exactly({k}, ring) & {name})" for k, name in enumerate(names))
    rule = loads(f'dimensions = 3\naction = "set"\nwhen = "{weighted}"\n', name="monster")
    assert not is_increasing(rule)
    assert softmorph_cli.apply_rule(rule, np.ones((2, 2, 2)), method="lukasiewicz").shape == (2, 2, 2)


# An increasing rule that is written with a complement: N, or S where N is not.
WRITTEN = 'dimensions = 2\naction = "set"\nwhen = "N | ~N & S"\n'
RULES = {name: catalog.bundled(name) for name in INCREASING} | {"written": loads(WRITTEN, name="written")}
VALUES = st.sampled_from([0.0, 1e-44, 1e-39, 1e-20, 0.25, 0.5, 0.75, 1 - 2.0**-24, 1.0]) | st.floats(
    0, 1, width=32
)


def _images(dimensions: int, dtype: str) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=dimensions, max_dims=dimensions, min_side=1, max_side=6)
    return hnp.arrays(np.dtype(dtype), shapes, elements=VALUES.map(float))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
@settings(max_examples=20)
def test_every_threshold_of_the_output_is_the_rule_on_that_threshold(
    name: str, dtype: str, data: st.DataObject
) -> None:
    rule: Rule = RULES[name]
    image = data.draw(_images(rule.dimensions, dtype))
    result = softmorph_cli.apply_rule(rule, image, method="minmax", iterations=2)
    assert result.dtype == image.dtype
    for threshold in (0.0, *np.unique(image)[:-1]):
        assert ((result > threshold) == run_binary(rule, image > threshold, 2)).all()


@pytest.mark.parametrize("name", ["majority-2d", "isolated-2d"])
def test_numbers_too_small_for_full_precision_are_kept(name: str) -> None:
    tiny = np.finfo(np.float32).smallest_subnormal
    image = np.full((5, 70), tiny, np.float32)
    wanted = image.copy()
    if name == "majority-2d":  # of the nine voxels around a corner five lie outside, which is 0
        wanted[::4, ::69] = 0
    assert same_bits(softmorph_cli.apply_rule(name, image, method="minmax"), wanted)
