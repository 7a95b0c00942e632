"""Phases of erosions and dilations: iterations along each axis, from a number of iterations or a radius."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import floor, isfinite
from typing import NamedTuple

from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import Sequences
from softmorph_cli.filters.operations.morphological import Morphology
from softmorph_cli.filters.run import Phase
from softmorph_cli.rules import structuring


class Reach(NamedTuple):
    """Iterations along each axis (`steps`), and the radius that they reach (`radius`; None if none was requested)."""

    steps: tuple[int, ...]
    radius: tuple[float, ...] | None = None


def phases(element: Morphology, shape: tuple[int, ...]) -> Sequences:
    """Return the phases (a rule with its iterations) of an operation on an image of a spatial shape.

    Two sequences of phases mean that the operation is the difference of their results.

    Raises:
        InputError: If connectivity or spacing do not fit the image.
    """
    steps = reach(shape, element).steps

    def phases_of(name: str) -> list[Phase]:
        make = {"erosion": structuring.erosion, "dilation": structuring.dilation}[name]
        connectivity = structuring.check_connectivity(element.connectivities[name], len(shape))
        found = []
        # All axes first; an axis leaves the element after its number of iterations.
        for done, until in pairwise((0, *sorted(set(steps) - {0}))):
            axes = tuple(axis for axis, count in enumerate(steps) if count >= until)
            found.append(Phase(make(connectivity, len(shape), axes), until - done))
        return found

    return tuple(
        tuple(phase for name in sequence for phase in phases_of(name)) for sequence in element.sequences
    )


def reach(shape: tuple[int, ...], element: Morphology) -> Reach:
    """Return the iterations of an operation along each axis.

    Args:
        shape: The image's shape along its spatial axes.
        element: The operation: with a number of iterations, which holds along all axes (default 1); or with a radius
            in the unit of its spacing, which gives floor(radius / spacing) iterations along each axis.

    Raises:
        InputError: If the spacing is unknown or does not fit, or the radius is smaller than every voxel or
            larger than the image.
    """
    dimensions, radius, spacing, unit = len(shape), element.radius, element.spacing, element.unit or ""
    if radius is None:
        return Reach((element.iterations or 1,) * dimensions)
    if isinstance(radius, str):
        raise InputError(
            f"radius {radius}: of an array give a number in the unit of its spacing, such as radius=2.5 with "
            "spacing=(1, 0.5, 0.5)."
        )
    if spacing is None:
        raise InputError(
            "a radius needs the voxel size, which is unknown here: give iterations (a number of voxels)."
        )
    if len(spacing) != dimensions or not all(isfinite(s) and s > 0 for s in spacing):
        raise InputError(f"spacing {tuple(spacing)} must be {dimensions} positive numbers, in array order.")
    sizes = f"{' × '.join(f'{s:g}' for s in spacing)} {unit}".rstrip()
    asked = f"radius {radius:g} {unit}".rstrip()
    # A larger radius changes nothing more.
    if any(radius / s > 2 * size for s, size in zip(spacing, shape, strict=True)):
        raise InputError(f"{asked} is larger than the image (voxel size {sizes}): choose a smaller one.")
    steps = steps_of(radius, spacing)
    if not any(steps):
        raise InputError(f"{asked} is smaller than one voxel (voxel size {sizes}): choose a larger one.")
    return Reach(steps, tuple(n * float(s) for n, s in zip(steps, spacing, strict=True)))


def steps_of(radius: float, spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the iterations along each axis that a radius in the unit of the spacing gives."""
    # Three voxels are three iterations, even if a header's float32 makes the quotient 2.9999998.
    return tuple(floor(radius / s * (1 + 1e-5)) for s in spacing)
