"""Measurement of a traced graph: order, kinds, lengths, tortuosity, quantities along branches."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from helpers_graphs import ALL, SHAPES, frame, graph_of, oblique, plane, vessel_graph

from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.trace import trace


def line(image: np.ndarray, row: int, length: int) -> None:
    """Draw a horizontal line of `length` steps."""
    image[row, 2 : 3 + length] = True


def lines(*lengths: int) -> np.ndarray:
    image = np.zeros((4 * len(lengths) + 4, max(lengths) + 6), bool)
    for k, length in enumerate(lengths):
        line(image, 4 * k + 2, length)
    return image


def two() -> np.ndarray:
    """Draw a line of 20, the longest branch, and below it three arms of 8, 8.5 and 7."""
    image = np.zeros((40, 30), bool)
    line(image, 3, 20)
    SHAPES["arms"][0](image, 20, 11)
    return image


@pytest.fixture(scope="module")
def vessel() -> SkeletonGraph:
    return vessel_graph(1)


def test_branches_are_numbered_from_the_longest_on(vessel: SkeletonGraph) -> None:
    assert [branch.number for branch in vessel.branches] == list(range(1, len(vessel.branches) + 1))
    lengths = [branch.length for branch in vessel.branches]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) > 5
    assert vessel.length == pytest.approx(sum(lengths))


def test_components_are_numbered_by_their_whole_length() -> None:
    graph = graph_of(two(), frame((40, 30), spacing=(1.0, 1.0)))
    assert [(c.number, c.branches, c.end_points, c.junctions) for c in graph.components] == [
        (1, 3, 3, 1),
        (2, 1, 2, 0),
    ]
    # The longest branch is not in the longest component.
    assert [branch.component for branch in graph.branches] == [2, 1, 1, 1]
    assert graph.components[1].length == pytest.approx(20)
    assert graph.components[0].length == pytest.approx(8 + 6 * 2**0.5 + 5 * 2**0.5)
    # Nor does the place in the image count.
    graph = graph_of(lines(5, 20, 9), frame((16, 26), spacing=(1.0, 1.0)))
    assert [c.length for c in graph.components] == pytest.approx([20, 9, 5])
    assert [int(b.voxels[0, 0]) for b in sorted(graph.branches, key=lambda b: b.component)] == [6, 10, 2]


def test_each_component_sums_up_its_own(vessel: SkeletonGraph) -> None:
    lengths = [component.length for component in vessel.components]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) > 1
    for component in vessel.components:
        branches = [b for b in vessel.branches if b.component == component.number]
        nodes = [n for n in vessel.nodes if n.component == component.number]
        assert component.length == pytest.approx(sum(b.length for b in branches))
        assert component.branches == len(branches)
        assert component.cycles == len(branches) - len(nodes) + 1
        assert component.end_points == sum(n.kind == "end point" for n in nodes)
        assert component.junctions == sum(n.kind == "junction" for n in nodes)
    assert vessel.cycles == sum(c.cycles for c in vessel.components) > 0


def test_branches_begin_and_end_at_their_nodes(vessel: SkeletonGraph) -> None:
    assert [node.number for node in vessel.nodes] == list(range(1, len(vessel.nodes) + 1))
    met = dict.fromkeys(range(1, len(vessel.nodes) + 1), 0)
    for branch in vessel.branches:
        for number, end in zip(branch.nodes, (0, -1), strict=True):
            node = vessel.nodes[number - 1]
            assert branch.voxels[end].tolist() == node.voxels[0].tolist()
            assert node.component == branch.component
            met[number] += 1
    assert [node.degree for node in vessel.nodes] == list(met.values())
    for node in vessel.nodes:
        np.testing.assert_allclose(node.place, (oblique() @ [*node.voxels[0], 1])[:3])


@pytest.mark.parametrize(
    ("name", "branches", "nodes"),
    [
        ("arms", {"spur": 3}, {"end point": 3, "junction": 1}),
        ("ring", {"loop": 1}, {"ring": 1}),
        ("theta", {"inner": 3}, {"junction": 2}),
        # Two loops at one node, and a loop with a stick: a loop's two ends count as two.
        ("eight", {"loop": 2}, {"junction": 1}),
        ("lollipop", {"loop": 1, "spur": 1}, {"end point": 1, "junction": 1}),
    ],
)
def test_kinds(name: str, branches: dict[str, int], nodes: dict[str, int]) -> None:
    graph = graph_of(plane(name))
    for kinds, wanted in ((graph.branches, branches), (graph.nodes, nodes)):
        found = [one.kind for one in kinds]
        assert {kind: found.count(kind) for kind in found} == wanted


def test_a_line_runs_from_end_to_end_and_a_lone_voxel_is_the_last_component() -> None:
    image = np.zeros((9, 9), bool)
    image[1, 1] = True
    image[5, 2:7] = True
    graph = graph_of(image)
    assert [branch.kind for branch in graph.branches] == ["end to end"]
    lone = graph.components[1]
    assert (lone.branches, lone.end_points, lone.cycles, lone.length) == (0, 0, 0, 0)
    assert [node.component for node in graph.nodes if node.kind == "voxel"] == [2]


def test_tortuosity_is_length_over_chord() -> None:
    turn = np.linspace(0, np.pi, 2000)
    arch = np.zeros((40, 80), bool)
    arch[tuple(np.rint(np.stack([30 * np.sin(turn) + 4, 30 * np.cos(turn) + 40])).astype(int))] = True
    (branch,) = graph_of(arch).branches
    assert branch.tortuosity == pytest.approx(np.pi / 2, rel=0.02)
    (straight,) = graph_of(lines(12)).branches
    assert straight.tortuosity == pytest.approx(1)


@pytest.mark.parametrize("name", ["ring", "eight", "lollipop"])
def test_a_loop_has_no_tortuosity(name: str) -> None:
    loops = [branch for branch in graph_of(plane(name)).branches if branch.kind == "loop"]
    assert loops
    for loop in loops:
        assert loop.chord == 0
        assert loop.tortuosity is None
        assert loop.points[0].tolist() == loop.points[-1].tolist()


def test_the_mean_over_the_graph_is_weighted_by_length() -> None:
    image = lines(20, 5)
    graph = measure(
        trace(np.argwhere(image)),
        frame(image.shape),
        image.shape,
        {"certainty": lambda voxels: np.where(voxels[:, 0] < 4, 1.0, 0.5 + voxels[:, 1] * 0)},
    )
    found = graph.spread("certainty")
    assert found is not None
    assert found.mean == pytest.approx((20 * 1.0 + 5 * 0.5) / 25)
    assert (found.min, found.max) == (0.5, 1.0)


def test_every_voxel_of_a_branch_has_its_own_value(vessel: SkeletonGraph) -> None:
    for branch in vessel.branches:
        for k, name in enumerate(ALL):
            values = 0.1 + k + np.sqrt(branch.voxels @ np.arange(2.0, 5)) / 30
            np.testing.assert_array_equal(branch.along[name], values)
            spread = branch.spread(name)
            assert spread is not None
            assert spread.mean == pytest.approx(values.mean())
            assert (spread.min, spread.max) == (values.min(), values.max())


def test_unknown_values_are_none() -> None:
    graph = graph_of(plane("arms"), quantities=("radius",))
    assert graph.spread("radius") is not None
    assert graph.spread("certainty") is None
    assert all(branch.spread("certainty") is None for branch in graph.branches)


@pytest.mark.parametrize(("image", "times"), [(plane("theta"), 1), (np.zeros((5, 5), bool), 0)])
def test_a_quantity_is_sampled_once(image: np.ndarray, times: int) -> None:
    asked = []

    def ask(voxels: np.ndarray) -> np.ndarray:
        asked.append(len(voxels))
        return np.zeros(len(voxels))

    measure(trace(np.argwhere(image)), frame(image.shape), image.shape, {"radius": ask})
    assert len(asked) == times


def test_the_length_of_a_ring_does_not_depend_on_where_it_begins() -> None:
    """It is smoothed around: an end that was kept would stand out."""
    turn = np.linspace(0, 2 * np.pi, 4000)
    # A bean: its first voxel in C order depends on the orientation.
    radius = 12 + 3 * np.sin(turn) + 2 * np.cos(2 * turn + 1)
    bean = np.zeros((36, 36), bool)
    bean[tuple(np.rint(np.stack([np.sin(turn), np.cos(turn)]) * radius + 17).astype(int))] = True
    begun, found = set(), []
    turns: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda v: v,
        lambda v: 40 - v,
        lambda v: v[..., ::-1],
        lambda v: 40 - v[..., ::-1],
    )
    for turn_it in turns:
        image = np.zeros((45, 45), bool)
        image[tuple(turn_it(np.argwhere(bean)).T)] = True
        (ring,) = graph_of(image, frame(image.shape, spacing=(1.0, 1.0))).branches
        assert ring.kind == "loop"
        # Each turn is its own inverse.
        begun.add(tuple(turn_it(ring.voxels[0]).tolist()))
        found.append(ring.length)
    assert len(begun) > 1
    assert found == pytest.approx([found[0]] * 4, rel=1e-9)
    # Not smoothed, it would be longer by the steps of its staircase.
    steps = np.linalg.norm(np.diff(ring.voxels, axis=0), axis=1).sum()
    assert found[0] < 0.97 * steps


def test_ends_of_branches_stay_where_they_are(vessel: SkeletonGraph) -> None:
    for branch in vessel.branches:
        if vessel.nodes[branch.nodes[0] - 1].kind != "ring":
            for end in (0, -1):
                np.testing.assert_allclose(branch.points[end], vessel.frame.world(branch.voxels[end]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lengths_under_an_oblique_affine_are_those_of_the_world(axis: int) -> None:
    image = np.zeros((30, 30, 30), bool)
    image[tuple(slice(4, 25) if k == axis else 9 for k in range(3))] = True
    (branch,) = graph_of(image, frame(image.shape, affine=oblique())).branches
    assert branch.length == pytest.approx(20 * (0.8, 0.31, 0.3)[axis])
    assert branch.chord == pytest.approx(branch.length)


def test_a_diagonal_under_an_oblique_affine() -> None:
    image = np.zeros((30, 30, 30), bool)
    image[tuple(np.arange(4, 25) for _ in range(3))] = True
    shift = 1e6  # as in the frame of a scanner or an atlas
    where = frame(image.shape, affine=oblique((shift, -shift, shift)))
    (branch,) = graph_of(image, where).branches
    assert branch.length == pytest.approx(20 * np.linalg.norm(oblique()[:3, :3].sum(axis=1)), rel=1e-7)


def test_an_unknown_unit_counts_pixels_along_x() -> None:
    image = np.zeros((20, 20), bool)
    image[3:14, 4] = True
    image[3, 10:17] = True
    graph = graph_of(image, frame(image.shape, spacing=(2.0, 0.5), unit=None))
    assert graph.frame.suffix == "pixels"
    assert [branch.length for branch in graph.branches] == pytest.approx([10 * 4, 6])


def test_nothing_has_no_length() -> None:
    graph = graph_of(np.zeros((4, 5, 6), bool))
    assert (graph.branches, graph.nodes, graph.components) == ((), (), ())
    assert (graph.length, graph.cycles, graph.spread("radius")) == (0, 0, None)


def test_equal_lengths_keep_the_order_of_the_image() -> None:
    """Numbers are the same in every run: labels, tables and pages of one map fit each other."""
    graph = graph_of(lines(9, 9, 9))
    assert [int(branch.voxels[0, 0]) for branch in graph.branches] == [2, 6, 10]
    for first, second in itertools.pairwise(graph.components):
        assert first.number < second.number
