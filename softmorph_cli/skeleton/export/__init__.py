"""Exports of the graph of a skeleton: the JSON document, text formats and images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy.typing as npt

from softmorph_cli.skeleton.export import cases as cases
from softmorph_cli.skeleton.export.document import document
from softmorph_cli.skeleton.export.graphml import graphml_text
from softmorph_cli.skeleton.export.images import branch_labels, skeleton_image, tagged
from softmorph_cli.skeleton.export.obj import obj_text
from softmorph_cli.skeleton.export.shapes import shapes_text
from softmorph_cli.skeleton.export.swc import swc_text
from softmorph_cli.skeleton.export.table import csv_text
from softmorph_cli.skeleton.graph import SkeletonGraph

__all__ = ["TEXTS", "cases", "document", "image", "table", "text"]

TEXTS: Final[dict[str, Callable[[SkeletonGraph], str | tuple[str, tuple[str, ...]]]]] = {
    "csv": csv_text,
    "graphml": graphml_text,
    "swc": swc_text,
    "obj": obj_text,
    "shapes": shapes_text,
}
_IMAGES: Final[dict[str, Callable[[SkeletonGraph], npt.NDArray[Any]]]] = {
    "skeleton": skeleton_image,
    "branch_labels": branch_labels,
    "tagged": tagged,
}


def text(graph: SkeletonGraph, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the graph in the text format `name`, a key of `TEXTS`, and warnings about data that it cannot store."""
    found = TEXTS[name](graph)
    return (found, ()) if isinstance(found, str) else found


def image(graph: SkeletonGraph, name: str) -> npt.NDArray[Any]:
    """Return the image `name` of the graph on the grid of the map: "skeleton", "branch_labels" or "tagged"."""
    return _IMAGES[name](graph)
