"""Images of a skeleton graph on the voxel grid of its map: a mask, branch labels, or the kind of each voxel."""

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
    """Return a mask that is 1 at the voxels of branches and junctions and at isolated voxels, and 0 elsewhere."""
    image = np.zeros(graph.shape, np.uint8)
    image[tuple(skeleton_voxels(graph).T)] = 1
    return image


def branch_labels(graph: SkeletonGraph) -> npt.NDArray[Any]:
    """Return a label image with the `number` of the branch at each voxel and 0 elsewhere.

    The dtype is the smallest unsigned integer type that can store the labels. A voxel that several branches share at a
    junction, and all other voxels of the junction, belong to the longest of these branches; but each branch keeps at
    least one voxel. Isolated voxels belong to no branch and stay 0.
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
    """Return an image of the kind of each voxel: 0 background, 1 end point, 2 junction, 3 inside a branch (slab).

    All voxels of the cluster that forms a junction are 2. An isolated voxel is an end point; a ring consists of slab
    voxels.
    """
    image = skeleton_image(graph) * np.uint8(SLAB)
    for node in graph.junctions:
        image[tuple(node.voxels.T)] = JUNCTION
    for node in graph.nodes:
        if node.degree < 2:
            image[tuple(node.voxels[0])] = END_POINT
    return image
