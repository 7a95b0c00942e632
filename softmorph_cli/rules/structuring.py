"""Defines erosion and dilation as rules: AND and OR over a structuring element that contains the centre voxel."""

from __future__ import annotations

from functools import cache

from softmorph_cli.errors import InputError
from softmorph_cli.rules.expression import all_of, any_of, var
from softmorph_cli.rules.neighborhood import CONNECTIVITIES, DIRECTIONS, Offset, centre, neighbors
from softmorph_cli.rules.rule import Action, Rule, SubIteration

DEFAULT_CONNECTIVITY = {2: 4, 3: 6}


def check_connectivity(connectivity: int | None, dimensions: int) -> int:
    """Return a valid connectivity: `connectivity`, or the default (4 in 2D, 6 in 3D) if it is None.

    Raises:
        InputError: If the connectivity does not exist in 2D or 3D respectively.
    """
    chosen = DEFAULT_CONNECTIVITY[dimensions] if connectivity is None else connectivity
    if chosen not in CONNECTIVITIES[dimensions]:
        allowed = ", ".join(map(str, CONNECTIVITIES[dimensions]))
        raise InputError(f"connectivity {chosen} does not exist in {dimensions}D: use one of {allowed}.")
    return chosen


def element(connectivity: int, axes: tuple[int, ...], dimensions: int) -> tuple[Offset, ...]:
    """Return the offsets of a structuring element that extends along the array axes `axes`; the centre is first."""
    reachable = neighbors(connectivity, dimensions)
    others = [axis for axis in range(dimensions) if axis not in axes]
    return (centre(dimensions), *(o for o in reachable if not any(o[axis] for axis in others)))


@cache
def erosion(connectivity: int, dimensions: int, axes: tuple[int, ...] | None = None) -> Rule:
    """Return the rule of an erosion; voxels outside the image count as foreground, so borders do not erode.

    Args:
        connectivity: The connectivity of the structuring element: 4 or 8 in 2D; 6, 18 or 26 in 3D.
        dimensions: The number of axes of the image, 2 or 3.
        axes: The array axes along which the element extends; None for all axes.
    """
    return _rule("erosion", connectivity, dimensions, axes)


@cache
def dilation(connectivity: int, dimensions: int, axes: tuple[int, ...] | None = None) -> Rule:
    """Return the rule of a dilation; voxels outside the image count as background.

    Args:
        connectivity: The connectivity of the structuring element: 4 or 8 in 2D; 6, 18 or 26 in 3D.
        dimensions: The number of axes of the image, 2 or 3.
        axes: The array axes along which the element extends; None for all axes.
    """
    return _rule("dilation", connectivity, dimensions, axes)


def _rule(kind: str, connectivity: int, dimensions: int, axes: tuple[int, ...] | None) -> Rule:
    along = tuple(range(dimensions)) if axes is None else axes
    combine = all_of if kind == "erosion" else any_of
    upright = next(iter(DIRECTIONS[dimensions].values()))
    offsets = element(connectivity, along, dimensions)
    return Rule(
        name=f"{kind}-{connectivity}",
        dimensions=dimensions,
        action=Action.SET,
        sub_iterations=(SubIteration(combine(*map(var, offsets)), upright),),
        outside=1 if kind == "erosion" else 0,
        iterations=1,
        title=f"{kind.capitalize()} by the {connectivity}-connected element.",
    )
