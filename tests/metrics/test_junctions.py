"""Opt-J on drawn graphs with scores by hand, and against a slow implementation that splits curves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers_curves import drawn, shifted, traced
from helpers_drawn import pair

from softmorph_cli.metrics.curves import Curves
from softmorph_cli.metrics.opt_j import METRICS, Junctions, opt_j
from softmorph_cli.metrics.pair import Both
from softmorph_cli.skeleton.graph import SkeletonGraph

# A trunk from A over J to B, and a branch from J to C; degrees 1, 3, 1, 1.
A, B, C, J = (100, 0), (100, 200), (0, 100), (100, 100)
TREE = drawn([J, A], [J, B], [J, C])
TRUNK = drawn([A, B])


def counts(found: Junctions) -> tuple[int, int, int]:
    return found.true_positives, found.predicted, found.actual


def test_perfect() -> None:
    found = opt_j(TREE, TREE)
    assert counts(found) == (6, 6, 6)
    assert found.f1 == 1
    assert [match.distance for match in found.matches] == [0] * 4


def test_one_missing_branch() -> None:
    # A and B are found; J becomes a node of degree 2 on the trunk; C is lost: 1 + 1 + 2 of 4 and of 6.
    found = opt_j(TRUNK, TREE)
    assert counts(found) == (4, 4, 6)
    assert found.f1 == pytest.approx(0.8)


def test_one_spurious_branch() -> None:
    found = opt_j(TREE, TRUNK)
    assert counts(found) == (4, 6, 4)
    assert found.f1 == pytest.approx(0.8)


@pytest.mark.parametrize("shift", [(3, 4), (15, 20), (24, 0), (0, -25)])
def test_shifted_within_reach(shift: tuple[int, int]) -> None:
    found = opt_j(shifted(TREE, shift), TREE)
    assert counts(found) == (6, 6, 6)
    assert [match.distance for match in found.matches] == pytest.approx([np.hypot(*shift)] * 4)


def test_shifted_beyond_reach() -> None:
    # 26 down, along the branch: J lies on it and gets a node of degree 2; C' lies on the reference's branch, which gets
    # one too; all else is too far away. 2 + 1 true; 6 + 2 predicted and actual.
    found = opt_j(shifted(TREE, (26, 0)), TREE)
    assert counts(found) == (3, 8, 8)
    assert found.f1 == pytest.approx(0.375)
    assert [match.degrees for match in found.matches] == [(2, 3), (1, 2)]
    assert opt_j(shifted(TREE, (300, 0)), TREE).f1 == 0


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        # Two more ends, each with a node of degree 2 for itself.
        (20, (4, 4, 6)),
        # The second finds the node of the first beside it, which is taken.
        (8, (3, 4, 4)),
    ],
)
def test_a_gap(gap: int, expected: tuple[int, int, int]) -> None:
    middle = A[0], B[1] / 2
    pieces = drawn([A, (A[0], middle[1] - gap / 2)], [(A[0], middle[1] + gap / 2), B])
    assert counts(opt_j(pieces, TRUNK)) == expected
    true, predicted, actual = counts(opt_j(TRUNK, pieces))
    assert (true, actual, predicted) == expected


def test_the_cheapest_pair_comes_first() -> None:
    # Both ends of the short reference reach the prediction's end at 0; the nearer one has it.
    reference = drawn([(0, 3), (0, 20)])
    prediction = drawn([(0, 0), (0, -200)])
    found = opt_j(prediction, reference)
    assert [match.distance for match in found.matches] == [3]
    assert counts(found) == (1, 2, 2)


def test_degrees_weigh_more_than_distance() -> None:
    # J's own junction is 20 away, an end point 5: a branch more or less costs 100.
    crowd = drawn([(120, 100), A], [(120, 100), B], [(120, 100), (300, 100)], [(95, 100), (0, 100)])
    match = next(m for m in opt_j(crowd, TREE).matches if tuple(m.reference) == J)
    assert match.degrees == (3, 3)
    assert match.distance == 20


def test_a_ring_has_no_control_nodes() -> None:
    ring = drawn([(0, 0), (0, 60), (60, 60), (60, 0), (0, 0)])
    assert opt_j(ring, ring).f1 is None
    # The node of the ring represents A, which is next to it; B, C and J are far away.
    found = opt_j(shifted(ring, (100, 0)), TREE)
    assert counts(found) == (1, 2, 6)


def test_nothing_and_lone_voxels() -> None:
    nothing = drawn()
    assert opt_j(nothing, nothing).f1 is None
    assert counts(opt_j(nothing, TREE)) == (0, 0, 6)
    assert counts(opt_j(TREE, nothing)) == (0, 6, 0)
    speck = drawn([J, A], [J, B], [J, C], lone=((30, 30),))
    assert counts(opt_j(speck, TREE)) == (6, 6, 6)


def random_graph(seed: int, dims: int) -> Curves:
    """Draw a graph with corners, junctions, cycles, a ring and a voxel on its own."""
    rng = np.random.default_rng(seed)
    nodes = [tuple(place) for place in rng.integers(0, 90, (9, dims)).tolist()]
    lines = []
    for a, b in itertools.combinations(range(8), 2):
        if rng.random() < 0.35:
            corners = rng.integers(0, 90, (int(rng.integers(0, 3)), dims)).tolist()
            lines.append([nodes[a], *map(tuple, corners), nodes[b]])
    start, *corners = [tuple(place) for place in rng.integers(0, 90, (4, dims)).tolist()]
    return drawn(*lines, [start, *corners, start], lone=(nodes[8],), dims=dims)


class Slow:
    """The same by lists: a curve is cut in two where a node is inserted."""

    def __init__(self, curves: Curves) -> None:
        self.places = [tuple(place) for place in curves.places.tolist()]
        self.degrees = curves.degrees.tolist()
        self.control = [k for k, degree in enumerate(self.degrees) if degree == 1 or degree > 2]
        self.edges = [
            (a, b, [tuple(p) for p in line.tolist()])
            for (a, b), line in zip(curves.ends, curves.lines, strict=True)
        ]

    def snap(self, place: tuple[float, ...]) -> int | None:
        best, found = 25.0 + 1e-8, None
        for edge, (_, _, line) in enumerate(self.edges):
            for at, (p, q) in enumerate(itertools.pairwise(line)):
                step = np.subtract(q, p)
                share = min(
                    1.0, max(0.0, float(np.dot(np.subtract(place, p), step)) / max(float(step @ step), 1e-30))
                )
                foot = tuple((np.array(p) + share * step).tolist())
                gap = float(np.linalg.norm(np.subtract(foot, place)))
                if gap < best - 1e-9:
                    best, found = gap, (edge, at, foot)
        if found is None:
            return None
        edge, at, foot = found
        a, b, line = self.edges[edge]
        gaps = {end: float(np.linalg.norm(np.subtract(self.places[end], foot))) for end in (a, b)}
        near = min(gaps, key=lambda end: gaps[end])
        if gaps[near] <= 10:
            return near
        self.places.append(foot)
        self.degrees.append(2)
        new = len(self.places) - 1
        self.edges[edge] = (a, new, [*line[: at + 1], foot])
        self.edges.append((new, b, [foot, *line[at + 1 :]]))
        return new


def slowly(prediction: Curves, reference: Curves) -> tuple[int, int, int]:
    graphs = Slow(prediction), Slow(reference)
    partner: tuple[dict[int, int], dict[int, int]] = {}, {}
    for here, there in ((1, 0), (0, 1)):
        ours, theirs = graphs[here], graphs[there]
        waiting = [k for k in ours.control if k not in partner[here]]
        snapped = [ours_to for k in waiting if (ours_to := theirs.snap(ours.places[k])) is not None]
        candidates = [k for k in {*theirs.control, *snapped} if k not in partner[there]]
        gaps = {
            (a, b): float(np.linalg.norm(np.subtract(ours.places[a], theirs.places[b])))
            for a in waiting
            for b in candidates
        }
        cost = {
            (a, b): g + 100 * abs(ours.degrees[a] - theirs.degrees[b])
            for (a, b), g in gaps.items()
            if g <= 25
        }
        for a, b in sorted(cost, key=lambda pair: cost[pair]):
            if a not in partner[here] and b not in partner[there]:
                partner[here][a], partner[there][b] = b, a
    true = sum(min(graphs[0].degrees[a], graphs[1].degrees[b]) for a, b in partner[0].items())
    totals = [
        sum(graph.degrees[k] for k in {*graph.control, *met})
        for graph, met in zip(graphs, partner, strict=True)
    ]
    return true, totals[0], totals[1]


@pytest.mark.parametrize("dims", [2, 3])
def test_equals_the_slow_one(dims: int) -> None:
    scores = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        reference = random_graph(seed, dims)
        near = shifted(reference, tuple(rng.uniform(-14, 14, dims)))
        for prediction in (near, random_graph(seed + 50, dims)):
            found = opt_j(prediction, reference)
            assert counts(found) == slowly(prediction, reference)
            scores.add(found.f1)
    assert len(scores) > 12


def score(prediction: SkeletonGraph, reference: SkeletonGraph) -> float:
    one = pair(np.zeros((2, 2)), np.zeros((2, 2)))
    # In place of the cached property.
    one.__dict__["graphs"] = Both(prediction, reference)
    (metric,) = METRICS
    found = metric.compute(one).values["opt_j_f1"]
    assert found is not None
    return found


def test_distances_count_in_voxels_whatever_their_size() -> None:
    mask = np.zeros((120, 120), bool)
    mask[60, 5:115] = mask[10:60, 60] = True
    moved = np.zeros_like(mask)
    moved[80, 5:115] = moved[30:80, 60] = True
    for side in (0.01, 1.0, 40.0):
        assert score(traced(moved, (side, side)), traced(mask, (side, side))) == 1
    # Twice as long along y: 20 rows are 40 times the shortest side of a voxel.
    assert score(traced(moved, (2.0, 1.0)), traced(mask, (2.0, 1.0))) < 0.5


def test_empty_graphs_have_a_score() -> None:
    line = np.zeros((20, 20), bool)
    nothing = traced(line)
    line[9, 3:15] = True
    assert score(nothing, nothing) == 1
    assert score(nothing, traced(line)) == score(traced(line), nothing) == 0
