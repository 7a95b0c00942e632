"""The helpers themselves: each can fail, and each knows cases worked out by hand."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_maps import Topology, close, golden_tolerance, same_bits, topology, tree, vessels
from helpers_nested import lowered, nested_reference
from helpers_reference import (
    MASKS,
    NUMBERED,
    deletes_2d,
    deletes_3d,
    expectation,
    guo_hall,
    mask_holds,
    neighbourhoods_near_templates,
    truth,
    turn,
    zhang_suen,
)

from softmorph_cli.kernels.level_sets import Levels, LevelSets
from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import all_of, any_of, negation, var, xor


def test_same_bits_sees_one_ulp_type_shape_and_sign_of_zero() -> None:
    a = np.array([[0.0, 1.0]])
    assert same_bits(a, a.copy())
    assert not same_bits(a, np.nextafter(a, 2))
    assert not same_bits(a, a.astype(np.float32))
    assert not same_bits(a, a[0])
    assert not same_bits(a, -a * [[1, -1]])


def test_close_sees_excess_shape_and_nan() -> None:
    a = np.array([0.5, 1.0])
    assert close(a, a + 1e-13, 1e-12)
    assert not close(a, a + 1e-11, 1e-12)
    assert not close(a, a[:1], 1.0)
    assert not close(np.array([np.nan, 1.0]), a, 1.0)
    assert close(a * 1.01, a, 0, 0.02)
    assert not close(a * 1.03, a, 0, 0.02)


def test_golden_tolerances_are_those_of_the_readme() -> None:
    assert golden_tolerance(np.dtype(np.float64)) == (1e-12, 1e-12)
    assert golden_tolerance(np.dtype(np.float32)) == (1e-5, 1e-4)


def test_topology_of_hand_made_shapes() -> None:
    ball = np.ones((5, 5, 5), bool)
    shell = ball.copy()
    shell[2, 2, 2] = False
    ring = np.zeros((3, 5, 5), bool)
    ring[1] = True
    ring[1, 2, 2] = False
    two = np.zeros((3, 3, 7), bool)
    two[1, 1, 1] = two[1, 1, 5] = True
    assert topology(ball) == Topology(1, 0, 0)
    assert topology(shell) == Topology(1, 0, 1)
    assert topology(ring) == Topology(1, 1, 0)
    assert topology(two) == Topology(2, 0, 0)
    assert topology(np.zeros((4, 4), bool)) == Topology(0, 0, 0)
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert topology(diamond) == Topology(1, 1, 0)


def test_drawn_maps_are_probabilities_with_settled_parts_and_soft_edges() -> None:
    p = vessels((10, 30, 210), 0)
    assert p.min() == 0
    assert p.max() == 1
    assert ((p > 0) & (p < 1)).any()
    assert not np.array_equal(p, vessels((10, 30, 210), 1))
    assert topology(tree() > 0.5) == Topology(1, 0, 0)


def test_numbering_is_a_bijection_and_turns_are_proper_rotations() -> None:
    assert len(set(NUMBERED)) == 26
    assert (0, 0, 0) not in NUMBERED
    for direction in "UESDWN":
        assert {turn(o, direction) for o in NUMBERED} == set(NUMBERED)
        columns = np.array([turn(o, direction) for o in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]).T
        assert round(np.linalg.det(columns)) == 1


def test_masks_hold_where_they_should_and_nowhere_else() -> None:
    for name, (common, alternatives) in MASKS.items():
        zeros, ones, some = ([*a, *b] for a, b in zip(common, alternatives[0], strict=True))
        drawn = np.zeros((26, 1), bool)
        drawn[ones + some] = True
        assert mask_holds(drawn, name).all()
        for place in zeros:
            slipped = drawn.copy()
            slipped[place] = True
            assert not mask_holds(slipped, name).any()
    assert not deletes_3d(np.zeros((26, 1), bool)).any()
    assert not deletes_3d(np.ones((26, 1), bool)).any()


def test_neighbourhoods_near_templates_lie_on_both_sides() -> None:
    drawn = neighbourhoods_near_templates(np.random.default_rng(0), 50)
    assert 0.2 < deletes_3d(drawn).mean() < 0.8
    assert all(mask_holds(drawn, name).any() for name in MASKS)


def test_2d_reference_by_hand() -> None:
    # N NE E SE S SW W NW: a pixel on the upper edge of a block goes in the N step only.
    upper_edge = [False, False, True, True, True, True, True, False]
    assert deletes_2d(upper_edge, "N")
    assert not deletes_2d(upper_edge, "S")
    assert not deletes_2d([True] * 8, "N")


def test_textbook_thinnings_differ_and_keep_a_line() -> None:
    line = np.zeros((5, 9), bool)
    line[2, 1:8] = True
    assert (zhang_suen(line) == line).all()
    assert (guo_hall(line) == line).all()
    blob = np.random.default_rng(3).random((20, 20)) < 0.7
    assert (zhang_suen(blob) != guo_hall(blob)).any()


def test_expectation_by_hand_and_its_limit() -> None:
    def both(voxels: np.ndarray) -> np.ndarray:
        return np.asarray(voxels.all(axis=0))

    assert expectation(np.array([0.5, 0.25, 1.0]), both) == pytest.approx(0.125, abs=1e-15)
    assert expectation(np.array([0.5, 0.0]), both) == 0
    assert expectation(np.array([1.0, 1.0]), both) == 1
    with pytest.raises(ValueError, match="too many"):
        expectation(np.full(13, 0.5), both)


def test_truth_of_every_kind_of_node() -> None:
    a, b, c = (var((0, k)) for k in (-1, 0, 1))
    rows: dict[tuple[int, ...], np.ndarray] = {
        (0, k): np.array([n >> (k + 1) & 1 for n in range(8)], bool) for k in (-1, 0, 1)
    }
    x, y, z = rows.values()
    assert (truth(any_of(all_of(a, negation(b)), c), rows) == ((x & ~y) | z)).all()
    assert (truth(xor(a, b, c), rows) == x ^ y ^ z).all()
    assert (truth(xor(a, b, c), rows) != (x | y | z)).any()


def test_the_nested_reference_on_a_bar_worked_out_by_hand() -> None:
    """A bar three pixels wide: its middle row is the line, each level's end stays where the levels above hold it."""
    bar = np.zeros((5, 9), np.float32)
    bar[1:4, 1:8] = 0.9
    bar[2, 2:5] = 0.6
    for levels in (8, "exact"):
        found = nested_reference(bar, levels)
        assert np.array_equal(found > 0.7, nested_reference((bar > 0.7).astype(np.float32), levels) > 0)
    # The hole above 0.6 leaves its filling in the levels below.
    assert (found[2, 2:5] > 0.5).all()
    solid = np.where(bar > 0, 0.9, 0).astype(np.float32)
    line = nested_reference(solid, 8)
    assert np.array_equal(np.unique(line), np.array([0, 0.9], np.float32))
    assert topology(line > 0) == topology(solid > 0)
    assert (line > 0).sum() <= 7


@pytest.mark.parametrize("levels", [8, 64, 128, "exact"])
@pytest.mark.parametrize("shape", [(24, 25), (9, 10, 11)])
def test_the_nested_reference_keeps_topology_and_leaves_nothing_to_delete(
    levels: Levels, shape: tuple[int, ...]
) -> None:
    p = np.random.default_rng(len(shape)).random(shape).astype(np.float32)
    p[p < 0.3] = 0
    found = nested_reference(p, levels)
    assert (found <= p).all()
    thresholds = LevelSets(levels).thresholds if levels != "exact" else np.unique(p)[:-1:7]
    for threshold in thresholds:
        assert topology(found > threshold) == topology(p > threshold), threshold
    (deletes,) = {s.expression for s in catalog.bundled("thinning-subfields", len(shape)).sub_iterations}
    ranks = LevelSets(levels).bins(found) + 1 if levels != "exact" else np.searchsorted(np.unique(p), found)
    assert np.array_equal(lowered(ranks, deletes), ranks)
    assert not np.array_equal(lowered(np.searchsorted(np.unique(p), p), deletes), ranks)


@pytest.mark.parametrize(
    ("system", "skipped"), [("linux", []), ("darwin", ["linux"]), ("win32", ["posix", "linux"])]
)
def test_tests_of_missing_system_features_are_skipped(
    system: str, skipped: list[str], pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    conftest = pytestconfig.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))
    assert conftest is not None
    monkeypatch.setattr("sys.platform", system)
    reasons = []
    for marked in ("posix", "linux"):
        item = SimpleNamespace(get_closest_marker={marked: object()}.get)
        try:
            conftest.pytest_runtest_setup(item)
        except pytest.skip.Exception as reason:
            reasons.append(str(reason))
    assert reasons == [f"{system} is not {one}" for one in skipped]


def test_every_test_file_can_be_imported_without_posix_modules() -> None:
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    assert len(files) > 100
    for path in files:
        imported = [name for node in ast.parse(path.read_text()).body for name in _imported(node)]
        assert not {"fcntl", "grp", "pty", "pwd", "resource", "termios"} & set(imported), path
    assert list(_imported(ast.parse("import os, pty").body[0])) == ["os", "pty"]


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
