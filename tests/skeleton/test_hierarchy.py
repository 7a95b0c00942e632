"""Generations, Strahler orders, parents and angles of drawn trees, from paper and by networkx; types of branches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from helpers_graphs import frame, graph_of, plane, vessel_graph
from helpers_traced import volume_of

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.skeleton.analyse import Choices, inspect
from softmorph_cli.skeleton.export.table import branch_rows
from softmorph_cli.skeleton.graph import Branch, SkeletonGraph
from softmorph_cli.skeleton.hierarchy import parse_root, rooted


def segment(image: np.ndarray, start: tuple[int, int], end: tuple[int, int]) -> None:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    for k in range(steps + 1):
        image[tuple(np.rint(np.array(start) + (np.array(end) - start) * k / steps).astype(int))] = True


# A river, as (y, x): the trunk from (60, 40) up to A = (45, 40), which forks by 45 degrees to either side into B and
# C. B = (30, 25) forks into two tips, one straight on and one that turns by 45 degrees. C = (30, 55) does not fork
# evenly: one tip and a branch to D = (15, 55), which has two tips.
RIVER = {
    "trunk": ((60, 40), (45, 40)),
    "left": ((45, 40), (30, 25)),
    "left, on": ((30, 25), (18, 13)),
    "left, up": ((30, 25), (12, 25)),
    "right": ((45, 40), (30, 55)),
    "right, on": ((30, 55), (20, 65)),
    "right, up": ((30, 55), (15, 55)),
    "top left": ((15, 55), (5, 45)),
    "top right": ((15, 55), (5, 65)),
}
# On paper: generation, Strahler order, parent, angle.
ANSWER = {
    "trunk": (0, 3, None, None),
    "left": (1, 2, "trunk", 45),
    "left, on": (2, 1, "left", 0),
    "left, up": (2, 1, "left", 45),
    "right": (1, 2, "trunk", 45),
    "right, on": (2, 1, "right", 0),
    "right, up": (2, 2, "right", 45),
    "top left": (3, 1, "right, up", 45),
    "top right": (3, 1, "right, up", 45),
}


def river() -> SkeletonGraph:
    image = np.zeros((66, 80), bool)
    for start, end in RIVER.values():
        segment(image, start, end)
    return graph_of(image, quantities=())


def names_of(graph: SkeletonGraph) -> dict[str, Branch]:
    """Return the branches by the name of the segment whose two ends they are nearest to."""

    def off(branch: Branch, ends: tuple[tuple[int, int], tuple[int, int]]) -> float:
        found = branch.voxels[[0, -1]]
        return float(min(np.abs(found - np.array(order)).max() for order in (ends, ends[::-1])))

    named = {}
    for name, ends in RIVER.items():
        best = min(graph.branches, key=lambda branch: off(branch, ends))
        assert off(best, ends) <= 2
        named[name] = best
    assert len({branch.number for branch in named.values()}) == len(RIVER) == len(graph.branches)
    return named


def check_river(graph: SkeletonGraph) -> None:
    named = names_of(graph)
    for name, (generation, strahler, parent, angle) in ANSWER.items():
        tree = named[name].tree
        assert tree is not None
        assert (tree.generation, tree.strahler) == (generation, strahler), name
        assert tree.parent == (None if parent is None else named[parent].number), name
        # A junction is a voxel or a few, by which the drawn lines are bent there.
        assert tree.angle == (None if angle is None else pytest.approx(angle, abs=4)), name


def test_a_river_on_paper_from_a_place() -> None:
    check_river(rooted(river(), (20, 31)))


def test_a_river_on_paper_from_the_number_of_its_trunk() -> None:
    graph = river()
    check_river(rooted(graph, names_of(graph)["trunk"].number))


def test_a_river_on_paper_from_its_widest_branch() -> None:
    graph = river()
    trunk = names_of(graph)["trunk"].number
    wide = tuple(
        replace(b, along={"radius": np.full(len(b.voxels), 3.0 if b.number == trunk else 1.0)})
        for b in graph.branches
    )
    check_river(rooted(replace(graph, branches=wide), "widest"))


def test_from_another_tip_the_orders_are_others() -> None:
    """From "left, on": left has the trunk and right beside it, and is of order 2 because only right is."""
    graph = river()
    found = rooted(graph, names_of(graph)["left, on"].number)
    named = names_of(found)
    trees = {name: branch.tree for name, branch in named.items()}
    expected = {
        "left, on": (0, 2),
        "left, up": (1, 1),
        "left": (1, 2),
        "trunk": (2, 1),
        "right": (2, 2),
        "right, on": (3, 1),
        "right, up": (3, 2),
        "top left": (4, 1),
    }
    assert {name: (t.generation, t.strahler) for name in expected if (t := trees[name])} == expected


def slow(graph: SkeletonGraph, root: int) -> dict[int, tuple[int, int | None, int | None]]:
    """Return generation, order and parent of each branch of the component of a root, by networkx and recursion."""
    drawn = nx.MultiGraph()
    for branch in graph.branches:
        drawn.add_edge(*branch.nodes, key=branch.number, weight=branch.length)
    lengths, ways = nx.single_source_dijkstra(drawn, root)
    through = {}
    for node, way in ways.items():
        if len(way) > 1:
            between = drawn[way[-2]][way[-1]]
            through[node] = min(between, key=lambda key: between[key]["weight"])

    def order(number: int, far: int) -> int:
        own = [
            order(through[node], node) for node, way in ways.items() if len(way) > 1 and way[-2] == far
        ] or [0]
        return max(max(own) + (own.count(max(own)) > 1), 1)

    found = {}
    for branch in graph.branches:
        if branch.nodes[0] in ways:
            near = min(branch.nodes, key=lambda node: lengths[node])
            far = branch.nodes[1] if near == branch.nodes[0] else branch.nodes[0]
            on_way = through.get(far) == branch.number and ways[far][-2] == near
            found[branch.number] = (
                len(ways[near]) - 1,
                order(branch.number, far) if on_way else None,
                through.get(near),
            )
    return found


@pytest.mark.parametrize("seed", [3, 4, 6])
def test_networks_with_cycles_equal_networkx(seed: int) -> None:
    graph = vessel_graph(seed)
    checked = closed = 0
    for node in graph.end_points[:4]:
        found = rooted(graph, tuple(node.place))
        expected = slow(graph, node.number)
        trees = {b.number: b.tree for b in found.branches if b.tree is not None}
        assert {k: (t.generation, t.strahler, t.parent) for k, t in trees.items()} == expected
        checked += len(trees)
        # All of a component is reached, and each independent cycle of it is closed by one branch.
        closing = sum(t.strahler is None for t in trees.values())
        component = graph.components[node.component - 1]
        assert (len(trees), closing) == (component.branches, component.cycles)
        closed += closing
    assert checked > 10
    assert closed > 0


def test_a_ring_has_its_generation_and_no_order() -> None:
    (ring,) = rooted(graph_of(plane("ring"), quantities=()), 1).branches
    assert (ring.type, ring.tree and (ring.tree.generation, ring.tree.strahler)) == (
        "isolated cycle",
        (0, None),
    )


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("arms", ["junction-to-endpoint"] * 3),
        ("theta", ["junction-to-junction"] * 3),
        ("eight", ["junction-to-junction"] * 2),
        ("lollipop", ["junction-to-junction", "junction-to-endpoint"]),
    ],
)
def test_types_are_those_of_skan(name: str, types: list[str]) -> None:
    assert sorted(b.type for b in graph_of(plane(name), quantities=()).branches) == sorted(types)


def vessel(spur: int) -> np.ndarray:
    """A bar of 13 voxels a side and 60 long, and a curve in its middle with a side branch."""
    image = np.zeros((40, 40, 70), np.float32)
    image[14:27, 14:27, 4:65] = 1
    image[20, 20 : 21 + spur, 30] = 1
    return image


@pytest.mark.parametrize(("long", "kind"), [(4, "spur"), (16, "junction-to-endpoint")])
def test_a_spur_is_what_pruning_takes(long: int, kind: str) -> None:
    curve = np.zeros((40, 40, 70), np.float32)
    curve[20, 20, 6:63] = curve[20, 20 : 21 + long, 30] = 1
    choices: dict[str, Any] = {"kind": "skeleton", "levels": 0}
    found = inspect(volume_of(curve), Choices(**choices), reference=volume_of(vessel(long)))
    assert [b.type for b in found.graph.branches if b.kind == "spur"].count("spur") == (kind == "spur")
    pruned = inspect(
        volume_of(curve), Choices(prune_inside=True, **choices), reference=volume_of(vessel(long))
    )
    assert pruned.parameters["pruned_spurs"] == (kind == "spur")


def test_radii_at_both_ends_and_the_area_of_the_section() -> None:
    """A tube of radius 4: away from its ends the section is 16 pi."""
    z, y, x = np.indices((21, 21, 60))
    tube = np.clip(4.5 - np.hypot(z - 10, y - 10), 0, 1) * (x > 4) * (x < 55)
    found = inspect(volume_of(tube, (0.5, 0.5, 0.5)), Choices(levels=0))
    (row,) = branch_rows(found.graph)
    (branch,) = found.graph.branches
    assert row["radius_start_mm"] == branch.along["radius"][0]
    assert row["radius_end_mm"] == branch.along["radius"][-1]
    mean = row["radius_mean_mm"]
    assert isinstance(mean, float)
    assert row["cross_section_area_mm2"] == pytest.approx(np.pi * mean**2)
    assert row["cross_section_area_mm2"] == pytest.approx(np.pi * 2**2, rel=0.15)
    assert row["branch_type"] == "endpoint-to-endpoint"
    flat = graph_of(plane("arms"), frame((27, 29)), ("radius",))
    assert branch_rows(flat)[0]["cross_section_area_mm2"] is None


@pytest.mark.parametrize("text", ["narrowest", "1,2,3,4", "1", "0", "-3", "nan,1", "1;2"])
def test_roots_are_checked(text: str) -> None:
    if text == "1":
        assert parse_root(text) == 1
        return
    with pytest.raises(UsageError, match="give widest, the number of a branch, or a place"):
        parse_root(text)


@pytest.mark.parametrize("given", [(1,), (1, 2, 3, 4), 1.5, True, (), (1, "a")])
def test_roots_of_python_are_checked(given: Any) -> None:
    with pytest.raises(UsageError, match="give widest, the number of a branch, or a place"):
        parse_root(given)


def test_roots_of_numpy_are_those_of_python() -> None:
    assert parse_root(np.int64(3)) == 3  # type: ignore[arg-type]
    assert parse_root(np.array([1.5, -2, 0])) == (1.5, -2.0, 0.0)  # type: ignore[arg-type]


def test_roots_that_are_not_there() -> None:
    graph = river()
    with pytest.raises(InputError, match="the numbers 1 to 9"):
        rooted(graph, 10)
    with pytest.raises(InputError, match="needs radii"):
        rooted(graph, "widest")
    with pytest.raises(InputError, match="x, y and z"):
        rooted(vessel_graph(3), (1.0, 2.0))
