"""Images of graphs on the grid of their map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_graphs import SHAPES, everything, graph_of, plane, vessel_graph

from softmorph_cli.skeleton.export.images import branch_labels, skeleton_image, skeleton_voxels, tagged


def segments(count: int) -> np.ndarray:
    """Draw isolated lines of two voxels."""
    image = np.zeros((3 * count, 3), bool)
    image[::3, :2] = True
    return image


@pytest.mark.parametrize("name", SHAPES)
def test_the_skeleton_is_restored(name: str) -> None:
    drawn = plane(name)
    image = skeleton_image(graph_of(drawn))
    assert image.dtype == np.uint8
    assert image.tolist() == drawn.astype(int).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_skeleton_of_a_map_is_restored_with_the_clusters_of_its_junctions(seed: int) -> None:
    graph = vessel_graph(seed)
    assert any(len(node.voxels) > 2 for node in graph.junctions)
    image = skeleton_image(graph)
    # What the branches run through, and the clusters.
    wanted = np.zeros(graph.shape, int)
    for voxels in [branch.voxels for branch in graph.branches] + [node.voxels for node in graph.nodes]:
        wanted[tuple(voxels.T)] = 1
    assert (image == wanted).all()
    assert skeleton_voxels(graph).tolist() == np.argwhere(wanted).tolist()
    assert ((branch_labels(graph) > 0) == image).all()
    assert ((tagged(graph) > 0) == image).all()


def test_labels_are_branch_numbers_and_the_longest_has_the_junction() -> None:
    graph = graph_of(plane("arms"))
    labels = branch_labels(graph)
    assert labels[12, 11] == 1
    for branch in graph.branches:
        inside = branch.voxels[1:-1]
        assert (labels[tuple(inside.T)] == branch.number).all()
    assert np.bincount(labels.ravel())[1:].tolist() == [7, 8, 5]
    assert (labels > 0).sum() == plane("arms").sum()


def test_a_cluster_belongs_to_the_longest_branch_that_meets_there() -> None:
    # A cross with a central block of 3 x 3: the corners of the block are on no path.
    cross = np.zeros((11, 13), bool)
    cross[5, 1:12] = cross[1:10, 6] = cross[4:7, 5:8] = True
    graph = graph_of(cross)
    labels = branch_labels(graph)
    on_paths = {tuple(voxel) for branch in graph.branches for voxel in branch.voxels.tolist()}
    beside = 0
    for node in graph.junctions:
        longest = min(branch.number for branch in graph.branches if node.number in branch.nodes)
        middle, *others = map(tuple, node.voxels.tolist())
        assert labels[middle] == longest
        for voxel in others:
            if voxel not in on_paths:
                assert labels[voxel] == longest
                beside += 1
    assert beside > 0


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_labels_take_the_smallest_type_that_holds_them(
    count: int, dtype: type[np.unsignedinteger[Any]]
) -> None:
    labels = branch_labels(graph_of(segments(count)))
    assert labels.dtype == dtype
    assert sorted(set(labels.ravel().tolist())) == list(range(count + 1))


def test_tags_of_each_kind_of_voxel() -> None:
    assert np.unique(tagged(graph_of(plane("ring")))).tolist() == [0, 3]
    theta = tagged(graph_of(plane("theta")))
    assert np.argwhere(theta == 2).tolist() == [[12, 11], [12, 21]]
    assert not (theta == 1).any()
    lollipop = tagged(graph_of(plane("lollipop")))
    assert np.argwhere(lollipop == 1).tolist() == [[12, 21]]
    assert np.argwhere(lollipop == 2).tolist() == [[12, 15]]
    assert (lollipop == 3).sum() == plane("lollipop").sum() - 2
    assert lollipop.dtype == np.uint8


def test_all_voxels_of_a_junctions_cluster_are_tagged() -> None:
    graph = vessel_graph(2)
    clusters = {tuple(voxel) for node in graph.junctions for voxel in node.voxels.tolist()}
    assert len(clusters) > len(graph.junctions)
    assert {tuple(voxel) for voxel in np.argwhere(tagged(graph) == 2).tolist()} == clusters


def test_a_lone_voxel_is_an_end_point_and_has_no_label() -> None:
    graph = graph_of(everything())
    assert tagged(graph)[22, 3, 4] == 1
    assert skeleton_image(graph)[22, 3, 4] == 1
    assert branch_labels(graph)[22, 3, 4] == 0
    assert (tagged(graph) == 1).sum() == len(graph.end_points) + 1
    assert (tagged(graph) == 2).sum() == sum(len(node.voxels) for node in graph.junctions)


def test_an_empty_graph_is_an_empty_image() -> None:
    graph = graph_of(np.zeros((4, 5, 6), bool))
    for draw in (skeleton_image, branch_labels, tagged):
        image = draw(graph)
        assert image.shape == (4, 5, 6)
        assert image.dtype == np.uint8
        assert not image.any()
