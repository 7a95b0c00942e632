"""What the colours of a centreline mean: its certainty, its radius, its generation or its branches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.plots.options import COLORINGS
from softmorph_cli.plots.theme import Colors, Theme
from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.units import sign

CERTAINTY, RADIUS, GENERATION, BRANCH = COLORINGS
# Distinct colours along a curve.
STEPS: Final = 16
# More generations than this share colours of one scale with fewer ticks.
_TICKS: Final = 6

Values = Callable[[Branch], npt.NDArray[np.float64] | None]


@dataclass(frozen=True)
class Coloring:
    """A quantity along the branches of a graph, and the colours of its values.

    Attributes:
        name: One of `COLORINGS`.
        label: The quantity with its unit, for the colour bar.
        low: The value of the first colour.
        high: The value of the last colour.
        steps: The number of distinct colours.
        values: Returns the values at the voxels of a branch; None where there are none.
        colors: Maps shares of the way from `low` to `high` to colours.
        ticks: The values that are written at the colour bar, of which the first is `low` and the last is `high`.
    """

    name: str
    label: str
    low: float
    high: float
    steps: int
    values: Values
    colors: Colors
    ticks: tuple[str, ...]

    def indices(self, values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return the index of the colour of each value."""
        share = (np.asarray(values, np.float64) - self.low) / ((self.high - self.low) or 1.0)
        return np.rint(np.clip(share, 0, 1) * (self.steps - 1)).astype(np.intp)

    def color(self, index: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours of indices, shape (N, 3); an index below 0 is of no value."""
        return self.colors(np.asarray(index) / max(self.steps - 1, 1))


def coloring_of(name: str, graph: SkeletonGraph, theme: Theme, certainty: Values) -> Coloring:
    """Return the colours of a graph.

    Args:
        name: One of `COLORINGS`.
        graph: The graph.
        theme: The colours of the picture.
        certainty: Returns the soft values at the voxels of a branch.

    Raises:
        InputError: If the graph has no such values.
    """
    if name == RADIUS:
        return _by_radius(graph, theme)
    if name == GENERATION:
        return _by_generation(graph, theme)
    if name == BRANCH:
        count = max(len(graph.branches), 1)

        def numbers(branch: Branch) -> npt.NDArray[np.float64]:
            return np.full(len(branch.voxels), float(branch.number))

        def in_turn(shares: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
            return theme.class_colors(np.rint(np.asarray(shares) * (count - 1)).astype(np.intp))

        ticks = tuple(str(k + 1) for k in range(count)) if count <= 2 * _TICKS else (f"1 to {count:,}",)
        return Coloring(name, "branch", 1.0, float(count), count, numbers, in_turn, ticks)
    known = any(Quantity.CERTAINTY in branch.along for branch in graph.branches)
    label = "certainty" if known else "soft value"
    return Coloring(name, label, 0.0, 1.0, STEPS, certainty, theme.curve_colors, ("0", "0.5", "1"))


def _by_radius(graph: SkeletonGraph, theme: Theme) -> Coloring:
    known = [branch.along[Quantity.RADIUS] for branch in graph.branches if Quantity.RADIUS in branch.along]
    if not known and graph.branches:
        add = "--map MAP" if in_shell() else "map=MAP"
        raise InputError(
            f"{named('color', RADIUS)} needs radii, which a skeleton alone does not tell: add {add}."
        )
    low = min((float(one.min()) for one in known), default=0.0)
    high = max((float(one.max()) for one in known), default=0.0)
    label = f"radius ({sign(graph.frame.counted)})"
    # One value has one tick.
    ticks = tuple(dict.fromkeys(f"{value:.3g}" for value in (low, (low + high) / 2, high)))

    def radii(branch: Branch) -> npt.NDArray[np.float64] | None:
        return branch.along.get(Quantity.RADIUS)

    return Coloring(RADIUS, label, low, high, 2 * STEPS, radii, theme.scale_colors, ticks)


def _by_generation(graph: SkeletonGraph, theme: Theme) -> Coloring:
    depths = [branch.tree.generation for branch in graph.branches if branch.tree is not None]
    if not depths and graph.branches:
        raise InputError(
            f"{named('color', GENERATION)} is counted from a root: add {named('root', 'widest')}."
        )
    most = max(depths, default=0)
    step = -(-most // _TICKS) or 1
    ticks = tuple(str(depth) if depth % step == 0 or depth == most else "" for depth in range(most + 1))

    def generations(branch: Branch) -> npt.NDArray[np.float64] | None:
        if branch.tree is None:
            return None
        return np.full(len(branch.voxels), float(branch.tree.generation))

    return Coloring(
        GENERATION, "generation", 0.0, float(most), most + 1, generations, theme.scale_colors, ticks
    )
