"""Export to napari's table of shapes: a path for each branch, in voxels."""

from __future__ import annotations

import csv
import io

from softmorph_cli.skeleton.graph import SkeletonGraph


def shapes_text(graph: SkeletonGraph) -> tuple[str, tuple[str, ...]]:
    """Return the branches as CSV that napari opens as a layer of shapes (napari.org, "Saving layers as csv").

    A row is a vertex: the number of its shape from 0, the type "path", the number of the vertex, and its coordinates
    along the array axes, slowest first. Coordinates are in voxels, as napari saves them: they lie on the image if the
    layers have the same scale. Points are the smoothed ones of the branches.

    Returns:
        The text of the file, and a warning about isolated voxels, which are no paths.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    axes = [f"axis-{axis}" for axis in range(graph.frame.dims)]
    writer.writerow(["index", "shape-type", "vertex-index", *axes])
    for number, branch in enumerate(graph.branches):
        for vertex, place in enumerate(graph.frame.index(branch.points).tolist()):
            # Seven digits behind the point: without the rounding errors of the inverse.
            writer.writerow([number, "path", vertex, *(round(value, 7) + 0.0 for value in place)])
    lone = sum(node.degree == 0 for node in graph.nodes)
    if not lone:
        return text.getvalue(), ()
    left = (
        "1 isolated voxel is no path and is" if lone == 1 else f"{lone} isolated voxels are no paths and are"
    )
    return text.getvalue(), (f"{left} not in the table of shapes; SWC and GraphML have them.",)
