from typing import Any

import networkx as nx
import numpy as np
import pytest
from helpers_maps import topology, vessels
from scipy.ndimage import binary_fill_holes
from scipy.sparse.csgraph import connected_components
from skan.csr import PathGraph, skeleton_to_csgraph
from skimage import morphology

from softmorph_cli import skeletonize
from softmorph_cli.skeleton.links import links, neighbours
from softmorph_cli.skeleton.trace import trace, walk


def drawn(picture: str) -> np.ndarray:
    """Return the voxels of a picture: rows of dots and hashes."""
    rows = picture.split()
    return np.argwhere(np.array([[mark == "#" for mark in row] for row in rows]))


def counts(graph: nx.MultiGraph) -> dict[str, int]:
    degrees = [degree for _, degree in graph.degree()]
    parts = nx.number_connected_components(graph) if len(graph) else 0
    return {
        "components": parts,
        "cycles": graph.number_of_edges() - len(graph) + parts,
        "end_points": degrees.count(1),
        "junctions": sum(degree > 2 for degree in degrees),
        "branches": graph.number_of_edges(),
        "lone": degrees.count(0),
    }


def of(
    components: int, cycles: int, end_points: int, junctions: int, branches: int, lone: int = 0
) -> dict[str, int]:
    return dict(
        zip(
            ("components", "cycles", "end_points", "junctions", "branches", "lone"),
            (components, cycles, end_points, junctions, branches, lone),
            strict=True,
        )
    )


PICTURES = {
    "line": ("#####", of(1, 0, 2, 0, 1)),
    "two voxels": ("##", of(1, 0, 2, 0, 1)),
    "corner": ("##. .#. .##", of(1, 0, 2, 0, 1)),
    "staircase": ("##... .##.. ..##. ...##", of(1, 0, 2, 0, 1)),
    "T": ("##### ..#.. ..#..", of(1, 0, 3, 1, 3)),
    "cross": ("..#.. ..#.. ##### ..#.. ..#..", of(1, 0, 4, 1, 4)),
    "X": ("#...# .#.#. ..#.. .#.#. #...#", of(1, 0, 4, 1, 4)),
    "Y": ("#...# .#.#. ..#.. ..#..", of(1, 0, 3, 1, 3)),
    "H": ("#....# #....# ###### #....# #....#", of(1, 0, 4, 2, 5)),
    "ring": (".##. #..# #..# .##.", of(1, 1, 0, 0, 1)),
    "smallest ring": (".#. #.# .#.", of(1, 1, 0, 0, 1)),
    # Four junction voxels around a hole: one junction, and the loop is kept.
    "smallest ring with spurs": ("..#.. ..#.. ##.## ..#.. ..#..", of(1, 1, 4, 1, 5)),
    "lollipop": (".##.... #..#### .##....", of(1, 1, 1, 1, 2)),
    "theta": (".###. #...# ##### #...# .###.", of(1, 2, 0, 2, 3)),
    "eight": (".#. #.# .#. #.# .#.", of(1, 2, 0, 1, 2)),
    "square": ("## ##", of(1, 0, 0, 0, 0, 1)),
    "two parts": ("###.. ..... ..###", of(2, 0, 4, 0, 2)),
    "lone voxel": ("#", of(1, 0, 0, 0, 0, 1)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_counts_of_drawn_skeletons_by_hand(name: str) -> None:
    picture, expected = PICTURES[name]
    assert counts(trace(drawn(picture))) == expected


@pytest.mark.parametrize("name", PICTURES)
def test_counts_do_not_depend_on_orientation(name: str) -> None:
    picture, expected = PICTURES[name]
    for turned in (drawn(picture)[:, ::-1], -drawn(picture) + 50):
        assert counts(trace(turned)) == expected
    flat = np.insert(drawn(picture), 1, 7, axis=1)
    assert counts(trace(flat)) == expected


def test_three_voxels_that_all_touch_are_a_bend_not_a_fork() -> None:
    # The middle three are neighbours of each other, through edges of the same length.
    bend = np.array([[3, 0, 0], [2, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]])
    assert counts(trace(bend)) == of(1, 0, 2, 0, 1)


def test_paths_run_from_node_to_node_through_neighbours() -> None:
    skeleton = skeletonize(vessels((48, 48, 48), 3, branches=6), hard=True)
    graph = trace(np.argwhere(skeleton))
    seen = {tuple(v) for _, voxels in graph.nodes(data="voxels") for v in voxels.tolist()}
    for u, v, edge in graph.edges(data=True):
        path, start = edge["path"], edge["start"]
        end = v if start == u else u
        assert (path[0] == graph.nodes[start]["voxels"][0]).all()
        assert (path[-1] == graph.nodes[end]["voxels"][0]).all()
        assert (np.abs(np.diff(path, axis=0)).max(axis=1, initial=0) <= 1).all()
        seen |= {tuple(v) for v in path.tolist()}
    assert seen == {tuple(v) for v in np.argwhere(skeleton).tolist()}


@pytest.mark.parametrize(("shape", "noise"), [((96, 96), 0.3), ((56, 56, 56), 0.1), ((56, 56, 56), 0.3)])
def test_graphs_have_the_topology_of_their_skeleton(shape: tuple[int, ...], noise: float) -> None:
    ours = skans = 0
    for seed in range(8):
        mask = vessels(shape, seed, branches=8, noise=noise) > 0.5
        mask = mask if len(shape) == 2 else binary_fill_holes(mask)
        skeleton = skeletonize(mask.astype(np.float32), hard=True)
        expected = topology(skeleton)
        found = counts(trace(np.argwhere(skeleton)))
        assert (found["components"], found["cycles"]) == (expected.components, expected.tunnels)
        ours += found["cycles"]
        adjacency, _ = skeleton_to_csgraph(skeleton.astype(bool))
        parts = connected_components(adjacency, directed=False)[0]
        skans += adjacency.nnz // 2 - adjacency.shape[0] + parts
    assert ours > 0
    # The reason for `links`: skan's own junctions lose loops. Should this fail one day, `links` can go.
    assert skans != ours


def skans_branches(voxels: np.ndarray) -> list[list[int]]:
    adjacency = links(voxels, neighbours(voxels))
    if adjacency.nnz == 0:
        return []
    paths = PathGraph.from_graph(adj=adjacency, node_coordinates=voxels).paths
    return [part.tolist() for part in np.split(paths.indices, paths.indptr[1:-1])]


@pytest.mark.parametrize("name", PICTURES)
def test_branches_of_drawn_skeletons_are_those_of_skan(name: str) -> None:
    voxels = drawn(PICTURES[name][0])
    walked = [branch.tolist() for branch in walk(links(voxels, neighbours(voxels)))]
    assert walked == skans_branches(voxels)


def test_branches_of_vessels_are_those_of_skan() -> None:
    seen = 0
    for seed, shape in ((3, (40, 40, 40)), (4, (40, 40, 40)), (5, (96, 96))):
        mask = vessels(shape, seed, branches=8, noise=0.3) > 0.5
        voxels = np.argwhere(skeletonize(mask.astype(np.float32), hard=True))
        walked = [branch.tolist() for branch in walk(links(voxels, neighbours(voxels)))]
        assert walked == skans_branches(voxels)
        seen += len(walked)
    assert seen > 50


def test_links_of_nothing_and_of_one_voxel() -> None:
    assert links(np.zeros((1, 3), int), neighbours(np.zeros((1, 3), int))).nnz == 0
    assert len(trace(np.zeros((0, 3), int))) == 0


def test_the_order_of_voxels_changes_no_count() -> None:
    mask = binary_fill_holes(vessels((40, 40, 40), 5, noise=0.1) > 0.5).astype(np.float32)
    lee: Any = morphology.skeletonize
    voxels = np.argwhere(lee(skeletonize(mask, hard=True) > 0, method="lee"))
    expected = counts(trace(voxels))
    for seed in range(4):
        shuffled = np.random.default_rng(seed).permutation(voxels)
        assert counts(trace(shuffled)) == expected
