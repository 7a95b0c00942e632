"""The predicate `simple` against its definition by SciPy's labels, and what thinning by subfields leaves."""

from __future__ import annotations

import pickle
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from helpers_reference import truth, where
from helpers_simple import is_simple
from helpers_simple_diagrams import reduced, table, write
from scipy import ndimage

from softmorph_cli.compiler.diagram import DecisionDiagram, build
from softmorph_cli.errors import RuleError
from softmorph_cli.rules import catalog, simple_points
from softmorph_cli.rules.neighborhood import DIRECTIONS, Offset, neighbors, subfields
from softmorph_cli.rules.rule import Rule, SubIteration
from softmorph_cli.rules.rulefile import loads
from softmorph_cli.rules.simple_points import simple
from softmorph_cli.topology.betti import betti_numbers

RING = {2: neighbors(8, 2), 3: neighbors(26, 3)}


def _columns(rings: np.ndarray) -> dict[Offset, np.ndarray]:
    return dict(zip(RING[2 if rings.shape[1] == 8 else 3], rings.T, strict=True))


def test_simple_in_2d_on_all_256_rings() -> None:
    rings = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)
    expected = is_simple(rings)
    assert (truth(simple(2), _columns(rings)) == expected).all()
    assert (table(2) == expected).all()
    assert 0 < expected.sum() < 256


def test_simple_in_3d_on_a_million_random_rings() -> None:
    rng = np.random.default_rng(13)
    density = rng.random((1_000_000, 1))
    for rings in np.array_split(rng.random((1_000_000, 26)) < density, 8):
        expected = is_simple(rings)
        assert (truth(simple(3), _columns(rings)) == expected).all()
        assert 0.1 < expected.mean() < 0.9


def test_simple_in_3d_with_few_neighbours_and_with_few_missing() -> None:
    chosen = [c for count in range(6) for c in combinations(range(26), count)]
    few = np.zeros((len(chosen), 26), bool)
    for row, places in zip(few, chosen, strict=True):
        row[list(places)] = True
    for rings in (few, ~few):
        expected = is_simple(rings)
        assert (truth(simple(3), _columns(rings)) == expected).all()
        assert 0 < expected.sum() < len(expected)


def _ones(diagram: DecisionDiagram, variables: int) -> int:
    """Count the configurations for which a diagram holds, by their share."""
    share = [0.0, 1.0]
    for node in diagram.nodes:
        share.append((share[node.low] + share[node.high]) / 2)
    return round(share[diagram.root] * float(2**variables))


@pytest.mark.parametrize(
    ("text", "ones", "nodes"),
    [("simple", 25_985_144, 1_016), ("simple & ~exactly(1, ring)", 25_985_118, 1_123)],
)
def test_the_diagrams_have_the_sizes_of_the_specification(text: str, ones: int, nodes: int) -> None:
    rule = loads(f'dimensions = 3\naction = "set"\nwhen = "{text}"\n', name="r")
    diagram = build(rule.sub_iterations[0].expression, RING[3])
    assert len(diagram) == nodes
    # Shares are multiples of 2^-26, which floats hold exactly.
    assert _ones(diagram, 26) == ones


def test_the_diagram_in_the_package_is_the_one_that_the_definition_gives() -> None:
    name = simple_points.FOLDER / "simple-2d.txt"
    lines = [tuple(map(int, line.split())) for line in name.read_text(encoding="ascii").splitlines()]
    assert lines == reduced(table(2))
    wrong = table(2)
    wrong[0] = True
    assert lines != reduced(wrong)


@pytest.mark.heavy
def test_both_diagrams_are_what_the_generator_writes(tmp_path: Path) -> None:
    write(tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(p.name for p in Path(str(simple_points.FOLDER)).iterdir())
    for name in names:
        packaged = Path(str(simple_points.FOLDER)) / name
        assert (tmp_path / name).read_bytes() == packaged.read_bytes()


def test_a_reduced_diagram_skips_what_does_not_matter() -> None:
    # Bit 0 or bit 2 of three: nothing depends on bit 1.
    values = np.array([bool(n & 5) for n in range(8)])
    assert reduced(values) == [(2, 0, 1), (0, 2, 1)]


def test_the_predicate_pickles_as_itself() -> None:
    assert pickle.loads(pickle.dumps(simple(3))) is simple(3)


def _rule(dimensions: int, schedule: str) -> Rule:
    return loads(
        f'dimensions = {dimensions}\naction = "delete"\nwhen = "simple"\nschedule = {schedule}\n', name="r"
    )


def test_a_schedule_over_subfields() -> None:
    passes = _rule(3, '"subfields"').sub_iterations
    assert [s.label for s in passes] == ["000", "001", "010", "011", "100", "101", "110", "111"]
    assert [s.subfield for s in passes] == [tuple(map(int, s.label)) for s in passes]
    assert {s.rotation for s in passes} == {DIRECTIONS[3]["U"]}
    assert {s.expression for s in passes} == {simple(3)}
    assert [s.subfield for s in _rule(2, '"subfields"').sub_iterations] == list(subfields(2))
    assert {s.subfield for s in _rule(2, '["N", "S"]').sub_iterations} == {None}


@pytest.mark.parametrize("schedule", ['"subfield"', '["subfields"]', '["N", "subfields"]'])
def test_another_word_is_refused_and_the_right_one_named(schedule: str) -> None:
    with pytest.raises(RuleError, match=r"line 4: .*(subfields|is not a direction: use N, E, S, W)"):
        _rule(2, schedule)


def test_a_template_cannot_be_called_simple() -> None:
    with pytest.raises(RuleError, match="a template cannot be called 'simple'"):
        loads('dimensions = 2\naction = "set"\n[templates]\nsimple = "N"\n', name="r")


def _thinned(rule: Rule, mask: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Run a deleting rule over subfields to its end, in each at once, or one voxel after another in any order."""
    mask, before = mask.copy(), None
    while before is None or (mask != before).any():
        before = mask.copy()
        for sub_iteration in rule.sub_iterations:
            found = np.argwhere(mask & where(sub_iteration, mask))
            if rng is None:
                mask[tuple(found.T)] = False
                continue
            for place in rng.permutation(found):
                assert where(sub_iteration, mask)[tuple(place)]
                mask[tuple(place)] = False
    return mask


def _masks(dimensions: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(dimensions)
    shape = (21, 26) if dimensions == 2 else (9, 12, 11)
    found = []
    for k in range(count):
        noise = rng.standard_normal(shape)
        smooth = ndimage.gaussian_filter(noise, 1.2) if k % 2 else noise
        found.append(smooth > np.quantile(smooth, 0.15 + 0.7 * k / count))
    return found


@pytest.mark.parametrize("dimensions", [2, 3])
def test_thinning_by_subfields_keeps_topology_and_leaves_nothing_to_delete(dimensions: int) -> None:
    rule = catalog.bundled("thinning-subfields", dimensions)
    shortened = 0
    for mask in _masks(dimensions, 20 if dimensions == 2 else 8):
        thin = _thinned(rule, mask)
        assert betti_numbers(thin).numbers == betti_numbers(mask).numbers
        assert not (thin & ~mask).any()
        everywhere = SubIteration(rule.sub_iterations[0].expression, rule.sub_iterations[0].rotation)
        assert not (thin & where(everywhere, thin)).any()
        shortened += int(mask.sum() - thin.sum())
    assert shortened > 1000


def test_without_subfields_the_same_rule_breaks_lines() -> None:
    sub_iteration = catalog.bundled("thinning-subfields-2d").sub_iterations[0]
    everywhere = SubIteration(sub_iteration.expression, sub_iteration.rotation)
    mask = np.zeros((6, 12), bool)
    mask[2:4, 1:11] = True
    assert not (mask & ~where(everywhere, mask)).any()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_voxels_of_a_subfield_go_at_once_or_one_by_one(dimensions: int) -> None:
    rule = catalog.bundled("thinning-subfields", dimensions)
    rng = np.random.default_rng(1)
    for mask in _masks(dimensions, 3)[1:]:
        small = mask[tuple(slice(10 - 2 * dimensions) for _ in mask.shape)]
        assert (_thinned(rule, small, rng) == _thinned(rule, small)).all()


def test_curve_ends_stay_and_lines_become_one_voxel_wide() -> None:
    rule = catalog.bundled("thinning-subfields-3d")
    bar = np.zeros((7, 7, 20), bool)
    bar[2:5, 2:5, 2:18] = True
    thin = _thinned(rule, bar)
    assert thin.any(axis=(0, 1)).sum() > 10
    assert thin.sum(axis=(0, 1)).max() == 1
    assert (_thinned(rule, thin) == thin).all()
