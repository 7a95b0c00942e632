"""What may run as `nested`: findings about 2D rules against all images of 4 x 4, about 3D rules against definitions."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from helpers_reference import where
from helpers_rules import DELETING, deleting_rule
from helpers_simple import is_simple
from scipy import ndimage

from softmorph_cli.compiler import p_simple
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.deletions import deletions
from softmorph_cli.compiler.nesting import check
from softmorph_cli.rules import catalog
from softmorph_cli.rules.neighborhood import Offset
from softmorph_cli.rules.ring import components, ring
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import loads
from softmorph_cli.rules.simple_points import with_simple
from softmorph_cli.topology.betti import betti_numbers

FAILING = ("isolated-2d", "isolated-3d", "prune-2d", "prune-3d", "zhang-suen-2d")


# ---------------------------------------------------------------- the bundled rules


@pytest.mark.parametrize("name", DELETING)
def test_which_bundled_rules_may(name: str) -> None:
    assert check(catalog.bundled(name)).holds == (name not in FAILING)


@pytest.mark.parametrize("name", sorted(set(catalog.names()) - set(DELETING)))
def test_only_deleting_rules_may(name: str) -> None:
    found = check(catalog.bundled(name))
    assert not found.holds
    assert "it sets voxels" in found.reason
    assert found.counterexample is None
    assert not found.repair


def test_an_adding_rule_says_so() -> None:
    rule = loads('dimensions = 2\naction = "add"\nwhen = "N"\n', name="grow")
    assert "it adds voxels" in check(rule).reason


def test_zhang_suen_shows_its_square() -> None:
    found = check(catalog.bundled("zhang-suen-2d"))
    assert found.reason == "it deletes a component of 4 pixels at once"
    assert found.counterexample == "0000\n0dd0\n0dd0\n0000"


def test_prune_shows_a_line_of_two() -> None:
    assert check(catalog.bundled("prune-2d")).counterexample == "0000\n0dd0\n0000"
    assert check(catalog.bundled("prune-3d")).counterexample == "p00  000  000\n000  0d0  000\n000  000  000"


def test_a_rule_that_takes_the_outside_for_foreground_fails() -> None:
    rule = deleting_rule("simple & ~N & ~exactly(1, ring)", schedule='"subfields"', more="outside = 1\n")
    found = check(rule)
    assert not found.holds
    assert "outside" in found.reason
    assert found.repair
    assert check(with_simple(rule)).holds


def test_a_pass_with_a_separate_condition_is_named() -> None:
    passes = '["N", {turn = "S", when = "exactly(0, ring)"}]'
    rule = deleting_rule("simple & ~exactly(1, ring) & ~N & ~NE & ~NW & S & SW & SE", schedule=passes)
    found = check(rule)
    assert found.reason.startswith("in its pass S it deletes a pixel that is not simple")
    assert check(deleting_rule("exactly(0, ring)", schedule='["N", "S"]')).reason.startswith("it deletes")


# ---------------------------------------------------------------- 2D: all images of 4 x 4


@cache
def _numbers() -> np.ndarray:
    """Components and holes of all images of 4 x 4 as one number each, shape (65536,)."""
    images = _images(np.arange(1 << 16))
    found = np.zeros(1 << 16, int)
    for members, faces, weight in ((images, False, 100), (~images, True, 1)):
        element = np.zeros((3, 3, 3), bool)
        element[1] = ndimage.generate_binary_structure(2, 1 if faces else 2)
        labels, count = ndimage.label(members, element)
        owner = np.zeros(count + 1, int)
        owner[labels[members]] = np.nonzero(members)[0]
        found += weight * np.bincount(owner[1:], minlength=1 << 16)
    return found


def _images(codes: np.ndarray) -> np.ndarray:
    """Images of 4 x 4 with a border of background, shape (N, 6, 6), from their bits."""
    return np.pad(
        (codes[:, None] >> np.arange(16) & 1).astype(bool).reshape(-1, 4, 4), ((0, 0), (1, 1), (1, 1))
    )


def _deleted(rule: Rule, number: int) -> np.ndarray:
    """What a pass deletes of all images, as bits; images lie below each other, with background between."""
    images = _images(np.arange(1 << 16)).reshape(-1, 6)
    found = (images & where(rule.sub_iterations[number], images)).reshape(-1, 6, 6)[:, 1:-1, 1:-1]
    numbers: np.ndarray = found.reshape(-1, 16) @ (1 << np.arange(16))
    return numbers


def _subsets_keep_topology(rule: Rule) -> bool:
    """Try every subset of what a pass deletes of every image of 4 x 4."""
    for number in range(len(rule.sub_iterations)):
        images = np.arange(1 << 16)
        left = deleted = _deleted(rule, number)
        while images.size:
            if (_numbers()[images & ~left] != _numbers()[images]).any():
                return False
            more = left > 0
            images, deleted, left = images[more], deleted[more], (left[more] - 1) & deleted[more]
    return True


def test_the_numbers_of_small_images_are_betti_numbers() -> None:
    for code in range(0, 1 << 16, 997):
        b0, b1 = betti_numbers(_images(np.array([code]))[0]).numbers
        assert _numbers()[code] == 100 * b0 + b1 + 1


@pytest.mark.parametrize("name", [n for n in DELETING if n.endswith("2d") and "subfields" not in n])
def test_findings_about_bundled_2d_rules_on_all_images_of_4_x_4(name: str) -> None:
    rule = catalog.bundled(name)
    assert _subsets_keep_topology(rule) == check(rule).holds


def _is_violation(rule: Rule, drawing: str) -> bool:
    """Whether a rule deletes each pixel marked d of a drawing in one pass, and all of them change its topology."""
    marks = np.array([list(line) for line in drawing.splitlines()])
    image, gone = np.pad(marks != "0", 1), np.pad(marks == "d", 1)
    upright = rule.sub_iterations[0]
    return bool(
        (where(upright, image) | ~gone).all()
        and betti_numbers(image & ~gone).numbers != betti_numbers(image).numbers
    )


def _random_rules(count: int) -> list[Rule]:
    rng = np.random.default_rng(8)
    found = []
    for _ in range(count):
        names = rng.permutation(["N", "NE", "E", "SE", "S", "SW", "W", "NW"])[: rng.integers(1, 5)]
        parts = [f"{'~' if rng.random() < 0.5 else ''}{name}" for name in names]
        parts += ["simple"] * (rng.random() < 0.8) + ["at_least(2, ring)"] * (rng.random() < 0.5)
        found.append(deleting_rule(" & ".join(parts)))
    return found


def test_findings_about_random_2d_rules_are_right_either_way() -> None:
    reasons: list[str] = []
    for rule in _random_rules(70):
        found = check(rule)
        if found.holds:
            # Trying them all takes a while.
            assert len(reasons) > 25 or _subsets_keep_topology(rule)
        else:
            assert found.counterexample is not None
            assert _is_violation(rule, found.counterexample), rule.condition
        reasons.append(found.reason)
    for part in ("any subset", "is not simple", "a component of", "two neighbours at once"):
        assert sum(part in reason for reason in reasons) >= 3, part


SQUARE = ((0, 0), (0, 1), (1, 0), (1, 1))
COMPONENTS = [c for size in (2, 3, 4) for c in combinations(SQUARE, size)]


def _exactly(image: tuple[Offset, ...], pixels: tuple[Offset, ...]) -> Rule:
    """A rule that deletes where the ring is that of one of some pixels of an image."""
    rings = []
    for y, x in pixels:
        seen = {(v - y, w - x) for v, w in image}
        marks = [f"{'' if o in seen else '~'}[{o[0]},{o[1]}]" for o in ring(2).offsets]
        rings.append(f"({' & '.join(marks)})")
    return deleting_rule(" | ".join(rings))


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_rule_that_deletes_one_small_component_whole(component: tuple[Offset, ...]) -> None:
    rule = _exactly(component, component)
    found = check(rule)
    assert found.reason == f"it deletes a component of {len(component)} pixels at once"
    assert found.counterexample is not None
    assert _is_violation(rule, found.counterexample)
    assert check(_exactly(component, component[1:])).holds


def test_the_brute_force_sees_a_rule_that_breaks_pairs_alone() -> None:
    rule = next(r for r in _random_rules(70) if "two neighbours" in check(r).reason)
    assert not _subsets_keep_topology(rule)


def test_subfields_in_2d_need_simple_points_and_nothing_else() -> None:
    condition = "simple & ~exactly(1, ring)"
    assert not check(deleting_rule(condition)).holds
    assert check(deleting_rule(condition, schedule='"subfields"')).holds
    # The same function, written so that it takes the table to see it.
    crossing = "exactly(1, ~N & (NE | E), ~E & (SE | S), ~S & (SW | W), ~W & (NW | N))"
    assert check(deleting_rule(f"{crossing} & ~exactly(1, ring)", schedule='"subfields"')).holds
    assert not check(deleting_rule("~exactly(1, ring)", schedule='"subfields"')).holds


# ---------------------------------------------------------------- 3D: P-simple points


def _random_rings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rings of foreground and parts of them, as bits, shape (count, 26); the parts have at most 5."""
    rng = np.random.default_rng(4)
    rings = rng.random((count, 26)) < rng.random((count, 1))
    chosen = np.argsort(rng.random((count, 26)), axis=1) < rng.integers(0, 6, (count, 1))
    return rings, rings & chosen


def _bits(rings: np.ndarray) -> np.ndarray:
    return rings.astype(np.int64) @ (1 << np.arange(26))


def _is_p_simple(bits: int, peers: int) -> bool:
    neighbours = ring(3)
    tables = (neighbours.grow, neighbours.flow, neighbours.near, neighbours.cross, p_simple.squares())
    return p_simple.is_p_simple(bits, peers, tables, components)


def test_p_simple_points_are_simple_after_deleting_any_part_of_p() -> None:
    rings, parts = _random_rings(6000)
    # By definition: the least over all subsets of P, which are numbered within each P.
    order = np.argsort(~parts, axis=1, kind="stable")[:, :5]
    expected = np.ones(len(rings), bool)
    for size in range(6):
        for taken in combinations(range(5), size):
            gone = np.zeros_like(rings)
            for k in taken:
                gone[np.arange(len(rings)), order[:, k]] = True
            expected &= is_simple(rings & ~(gone & parts))
    found = [_is_p_simple(int(b), int(p)) for b, p in zip(_bits(rings), _bits(parts), strict=True)]
    assert (np.array(found) == expected).all()
    simple = is_simple(rings)
    assert (simple & ~expected).sum() > 300
    assert (expected & parts.any(axis=1)).sum() > 300


def _words(rule: Rule) -> np.ndarray:
    return deletions(compile_rule(rule, DIAGRAM)[0].program)


def test_the_table_of_deletions_equals_the_rule() -> None:
    rng = np.random.default_rng(5)
    for name in ("thinning-3d", "thinning-subfields-2d"):
        rule = catalog.bundled(name)
        words = _words(rule)
        bits = rng.integers(0, words.size * 64, 400)
        for number in bits.tolist():
            image = np.zeros((3,) * rule.dimensions, bool)
            for offset in (*ring(rule.dimensions).chosen(number), (0,) * rule.dimensions):
                image[tuple(1 + o for o in offset)] = True
            upright = where(
                rule.sub_iterations[0], np.pad(image, 1 if rule.dimensions == 2 else ((1, 1),) * 3)
            )
            # The subfield of the middle of the padded image has parity 0.
            assert bool(int(words[number // 64]) >> number % 64 & 1) == upright[(2,) * rule.dimensions]


def test_the_peers_of_a_voxel_contain_all_neighbours_deleted_with_it() -> None:
    rule = catalog.bundled("thinning-3d")
    view, words = p_simple._view(), _words(rule)
    allowed = np.zeros(view.start[-1], bool)
    mark, _ = p_simple._compiled()
    mark(words, view.shown, view.back, view.start, allowed)
    rng = np.random.default_rng(6)
    together = foreground = peers_seen = 0
    for density in np.linspace(0.3, 0.9, 12):
        smooth = ndimage.gaussian_filter(rng.standard_normal((12, 12, 12)), 0.8)
        mask = np.pad(smooth > np.quantile(smooth, 1 - density), 1)
        gone = mask & where(rule.sub_iterations[0], mask)
        for place in np.argwhere(gone)[:60]:
            cube = tuple(slice(p - 1, p + 2) for p in place)
            bits = int(_bits(np.delete(mask[cube].ravel(), 13)[None])[0])
            true = int(_bits(np.delete(gone[cube].ravel(), 13)[None])[0])
            peers = p_simple.peers_of(bits, view.seen, view.start, allowed)
            assert not true & ~peers
            assert not peers & ~bits
            together += true.bit_count()
            peers_seen += peers.bit_count()
            foreground += bits.bit_count()
    assert 100 < together <= peers_seen < 0.9 * foreground


def test_thinning_3d_keeps_topology_whatever_part_of_a_pass_is_done() -> None:
    rule = catalog.bundled("thinning-3d")
    rng = np.random.default_rng(7)
    tried = 0
    for k in range(10):
        noise = rng.standard_normal((8, 9, 10))
        mask = ndimage.gaussian_filter(noise, 0.8 * (k % 2)) > rng.normal() * 0.1
        for sub_iteration in rule.sub_iterations:
            gone = mask & where(sub_iteration, mask)
            before = betti_numbers(mask).numbers
            for share in (0.3, 0.6, 1.0):
                assert betti_numbers(mask & ~(gone & (rng.random(mask.shape) < share))).numbers == before
            tried += int(gone.sum())
            mask = mask & ~(gone & (rng.random(mask.shape) < 0.7))
    assert tried > 1000


WRONG_3D = {
    # What is wrong: the condition, and whether the voxel alone shows it.
    "a voxel that is not simple": ("exactly(2, ring)", True),
    "the last two": ("exactly(1, ring)", False),
    "simple points from all sides": ("simple & ~exactly(1, ring)", False),
}


@pytest.mark.parametrize("case", WRONG_3D)
def test_wrong_3d_rules_fail_and_are_repaired_by_subfields(case: str) -> None:
    condition, alone = WRONG_3D[case]
    rule = deleting_rule(condition, 3)
    found = check(rule)
    assert not found.holds
    assert found.counterexample is not None
    assert ("is not simple" in found.reason) == alone
    assert ("p" not in found.counterexample) == alone
    assert found.counterexample.count("d") == 1
    assert found.repair
    assert check(with_simple(rule)).holds


def test_subfields_in_3d_need_simple_points() -> None:
    assert not check(deleting_rule("exactly(2, ring)", 3, '"subfields"')).holds
    # A line end is simple, and this is not visible from how it is written.
    assert check(deleting_rule("exactly(1, ring)", 3, '"subfields"')).holds


def test_a_rule_from_one_side_in_3d_holds() -> None:
    # Background on all of one side and foreground opposite.
    up = " & ".join(f"~[{z},-1,{x}]" for z in (-1, 0, 1) for x in (-1, 0, 1))
    assert check(deleting_rule(f"{up} & [0,1,0] & simple", 3)).holds


@pytest.mark.parametrize("name", FAILING)
def test_every_failing_rule_holds_at_simple_points(name: str) -> None:
    assert check(with_simple(catalog.bundled(name))).holds


def test_offsets_of_rings() -> None:
    corner: Offset = (-1, -1, -1)
    assert ring(3).bits({corner, (5, 5, 5)}) == 1
    assert ring(3).chosen(1) == {corner}
