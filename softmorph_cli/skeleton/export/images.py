"""Images of a graph on the grid of its map: skeleton, branch numbers, kinds of voxels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.skeleton.trace import Voxels

# Values of `tagged`; 0 is background.
END_POINT: Final = 1
JUNCTION: Final = 2
SLAB: Final = 3


def skeleton_voxels(graph: SkeletonGraph) -> Voxels:
    """Return the array indices, shape (N, d), of all voxels of the graph, each once, in C order."""
    chains = [branch.voxels for branch in graph.branches] + [node.voxels for node in graph.nodes]
    if not chains:
        return np.zeros((0, len(graph.shape)), np.intp)
    flat = np.unique(np.ravel_multi_index(tuple(np.concatenate(chains).T), graph.shape))
    return np.stack(np.unravel_index(flat, graph.shape), axis=1)


def skeleton_image(graph: SkeletonGraph) -> npt.NDArray[np.uint8]:
    """Return the skeleton as 1: voxels of branches and of the clusters of junctions, and isolated voxels."""
    image = np.zeros(graph.shape, np.uint8)
    image[tuple(skeleton_voxels(graph).T)] = 1
    return image


def branch_labels(graph: SkeletonGraph) -> npt.NDArray[Any]:
    """Return the number of the branch at each voxel, 0 elsewhere, in the smallest unsigned type that holds it.

    A voxel that branches share at a junction, and the rest of the junction's cluster, belong to the longest of them;
    but each branch keeps at least one voxel. Isolated voxels belong to no branch and stay 0.
    """
    image = np.zeros(graph.shape, np.min_scalar_type(len(graph.branches)))
    # Branches are numbered by decreasing length: the longest is drawn last.
    longest: dict[int, int] = {}
    for branch in reversed(graph.branches):
        longest.update(dict.fromkeys(branch.nodes, branch.number))
    for node in graph.nodes:
        image[tuple(node.voxels.T)] = longest.get(node.number, 0)
    for branch in reversed(graph.branches):
        image[tuple(branch.voxels.T)] = branch.number
    # A short branch within a cluster may be covered by longer ones.
    seen = set(np.unique(image).tolist())
    for branch in graph.branches:
        if branch.number not in seen:
            image[tuple(branch.voxels[len(branch.voxels) // 2])] = branch.number
    return image


def tagged(graph: SkeletonGraph) -> npt.NDArray[np.uint8]:
    """Return the kind of each voxel: 0 background, 1 end point, 2 junction, 3 slab (between them).

    A junction is its whole cluster of voxels. An isolated voxel is an end point; a ring consists of slab voxels.
    """
    image = skeleton_image(graph) * np.uint8(SLAB)
    for node in graph.junctions:
        image[tuple(node.voxels.T)] = JUNCTION
    for node in graph.nodes:
        if node.degree < 2:
            image[tuple(node.voxels[0])] = END_POINT
    return image
