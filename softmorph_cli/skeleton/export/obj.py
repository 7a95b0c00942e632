"""Export to Wavefront OBJ: polylines through the voxels of the branches, for rendering."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from softmorph_cli.skeleton.graph import SkeletonGraph


def obj_text(graph: SkeletonGraph) -> str:
    """Return the graph as polylines in Wavefront OBJ (Wavefront Advanced Visualizer, appendix B1, version 3.0).

    A vertex is the unsmoothed position of a voxel in world coordinates: the inverse affine of the image maps the vertex
    to the voxel. Branches that meet share a vertex. A component is an object (`o`), a branch is a group (`g`) with one
    line (`l`), and an isolated voxel is a group with a point (`p`).
    """
    lines = [
        "# softmorph: the branches of a skeleton, through its voxels",
        *([f"# class: {graph.name}"] if graph.name else []),
        f"# unit: {graph.frame.counted}",
    ]
    lone = [node for node in graph.nodes if node.degree == 0]
    chains = [branch.voxels for branch in graph.branches] + [node.voxels[:1] for node in lone]
    if not chains:
        return "\n".join([*lines, ""])
    voxels, vertex = np.unique(np.concatenate(chains), axis=0, return_inverse=True)
    lines += [f"v {_words(place)}" for place in graph.frame.world(voxels).tolist()]
    # Vertex numbers begin at 1.
    ends = np.cumsum([len(chain) for chain in chains])[:-1]
    drawn = [part.tolist() for part in np.split(vertex.reshape(-1) + 1, ends)]
    groups: dict[int, list[str]] = {component.number: [] for component in graph.components}
    for branch, part in zip(graph.branches, drawn, strict=False):
        groups[branch.component] += [f"g branch_{branch.number}", f"l {_words(part)}"]
    for node, part in zip(lone, drawn[len(graph.branches) :], strict=True):
        groups[node.component] += [f"g voxel_{node.number}", f"p {_words(part)}"]
    for number, group in groups.items():
        lines += [f"o component_{number}", *group]
    return "\n".join([*lines, ""])


def _words(values: Iterable[float]) -> str:
    return " ".join(map(repr, values))
