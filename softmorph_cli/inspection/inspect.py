"""Inspect one image: find its curve, trace it, measure it, and say what a person should know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from softmorph_cli.graphs.skeleton_graph import SkeletonGraph
from softmorph_cli.volume import Volume


@dataclass(frozen=True)
class Inspection:
    """What was found in one image.

    Attributes:
        volume: The map; of a skeleton file without a map, the file itself. Two or three axes, nothing mapped.
        graph: The graph of its curve.
        parameters: What was asked for, by name, for the JSON and the page.
        warnings: One sentence each.
    """

    volume: Volume
    graph: SkeletonGraph
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
