import numpy as np
import pytest
from test_trace import counts, drawn, of

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import path_length
from softmorph_cli.skeleton.prune import prune_cycles, prune_spurs
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.volume import Volume


def frame(spacing: tuple[float, ...] = (1.0, 1.0)) -> Frame:
    return Frame.of(Volume(np.zeros((2, 2), np.float32), "YX", spacing, "mm"))


LENGTH = path_length(frame())


def comb(*spurs_of: int) -> np.ndarray:
    """Return a horizontal line with vertical spurs of these lengths, 8 voxels apart."""
    width = 8 * (len(spurs_of) + 1) + 1
    voxels = [(0, x) for x in range(width)]
    voxels += [(-y, 8 * k) for k, length in enumerate(spurs_of, 1) for y in range(1, length + 1)]
    return np.array(voxels) + 20


@pytest.mark.parametrize(
    ("shorter_than", "gone", "left"),
    [
        (0.5, 0, of(1, 0, 5, 3, 7)),
        (2.5, 1, of(1, 0, 4, 2, 5)),
        (3.5, 2, of(1, 0, 3, 1, 3)),
        (4.5, 3, of(1, 0, 2, 0, 1)),
        (1000, 3, of(1, 0, 2, 0, 1)),
    ],
)
def test_spurs_shorter_than_a_length_are_removed_and_their_neighbours_joined(
    shorter_than: float, gone: int, left: dict[str, int]
) -> None:
    graph = trace(comb(2, 3, 4))
    assert prune_spurs(graph, lambda fork: shorter_than, LENGTH) == gone
    assert counts(graph) == left
    for *_, path in graph.edges(data="path"):
        assert (np.abs(np.diff(path, axis=0)).max(axis=1) <= 1).all()


def test_pruning_is_iterative() -> None:
    # A stem of 3 that forks into two arms of 2.8. All three are shorter than 4: pruned together, nothing would be
    # left. Without one arm, the other is one branch with the stem, and that is longer.
    voxels = drawn(
        "......#...#...... .......#.#....... ........#........ ........#........ ........#........ #################"
    )
    graph = trace(voxels)
    assert counts(graph) == of(1, 0, 4, 2, 5)
    assert prune_spurs(graph, lambda fork: 4.0, LENGTH) == 1
    assert counts(graph) == of(1, 0, 3, 1, 3)


def test_a_component_of_one_short_branch_is_no_spur() -> None:
    graph = trace(drawn("##"))
    assert prune_spurs(graph, lambda fork: 100.0, LENGTH) == 0
    assert counts(graph) == of(1, 0, 2, 0, 1)


def test_the_minimum_length_depends_on_the_junction() -> None:
    graph = trace(comb(3, 3))
    junctions = [node for node in graph if graph.degree(node) > 2]
    assert sorted(int(graph.nodes[node]["voxels"][0, 1]) for node in junctions) == [28, 36]
    # Only the fork on the left is in a wide vessel.
    assert prune_spurs(graph, lambda fork: 4.0 if fork[0, 1] < 30 else 0.0, LENGTH) == 1
    assert counts(graph) == of(1, 0, 3, 1, 3)


@pytest.mark.parametrize(
    ("picture", "cycles"),
    [
        (".###. #...# ##### #...# .###.", 2),
        (".#. #.# .#. #.# .#.", 2),
        (".##.... #..#### .##....", 1),
        ("..#.. ..#.. ##.## ..#.. ..#..", 1),
        (".##. #..# #..# .##.", 1),
        ("#####", 0),
    ],
)
def test_no_cycle_is_left_and_every_component_still_is(picture: str, cycles: int) -> None:
    graph = trace(drawn(picture))
    before = counts(graph)
    assert prune_cycles(graph, LENGTH) == cycles == before["cycles"]
    after = counts(graph)
    assert after["cycles"] == 0
    assert after["components"] == before["components"]
    assert after["branches"] > 0


def test_the_lightest_branch_of_a_cycle_is_removed() -> None:
    # Two ways from left to right: straight, and over the top.
    voxels = drawn("...#####... ..#.....#.. .#.......#. ###########")
    short, long = trace(voxels), trace(voxels)
    assert prune_cycles(short, LENGTH) == 1
    kept = np.concatenate([path for *_, path in short.edges(data="path")])
    assert kept[:, 0].min() == 0
    assert prune_cycles(long, lambda path: -LENGTH(path)) == 1
    kept = np.concatenate([path for *_, path in long.edges(data="path")])
    assert kept[:, 0].min() > 0


def test_an_opened_ring_loses_one_voxel() -> None:
    ring = drawn(".##. #..# #..# .##.")
    graph = trace(ring)
    prune_cycles(graph, LENGTH)
    ((_, _, path),) = graph.edges(data="path")
    assert len(path) == len(ring) - 1 == len({tuple(v) for v in path.tolist()})
    assert counts(trace(path))["cycles"] == 0
