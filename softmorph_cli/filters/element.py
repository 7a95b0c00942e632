"""How often and along which axes a structuring element is applied: iterations, or a radius with a spacing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import floor, isfinite

from softmorph_cli.errors import InputError
from softmorph_cli.filters.operations import Morphology
from softmorph_cli.filters.run import Phase
from softmorph_cli.rules.rule import Rule

RuleFor = Callable[[tuple[int, ...]], Rule]


@dataclass(frozen=True)
class Reach:
    """Iterations along each axis, and the radius that they amount to (None where none was asked for)."""

    steps: tuple[int, ...]
    radius: tuple[float, ...] | None = None

    def phases(self, rule_for: RuleFor) -> tuple[Phase, ...]:
        """Return the phases: all axes first; an axis leaves the element once it has had its share.

        Args:
            rule_for: Gives the rule whose element reaches along some axes only.
        """
        phases = []
        for done, until in pairwise((0, *sorted(set(self.steps) - {0}))):
            axes = tuple(axis for axis, steps in enumerate(self.steps) if steps >= until)
            phases.append(Phase(rule_for(axes), until - done))
        return tuple(phases)


def reach(shape: tuple[int, ...], element: Morphology) -> Reach:
    """Return how far an element goes along each axis.

    Args:
        shape: The image's, along its spatial axes.
        element: Iterations, the same along all axes (1 if neither these nor a radius are given); or a radius in the
            unit of its spacing: floor(radius / spacing) iterations along each axis.

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
    # Beyond the whole image there is nothing more to reach.
    if any(radius / s > 2 * size for s, size in zip(spacing, shape, strict=True)):
        raise InputError(f"{asked} is larger than the image (voxel size {sizes}): choose a smaller one.")
    # A radius of three voxels is three steps, also where a header's float32 makes it 2.9999998 of them.
    steps = tuple(floor(radius / s * (1 + 1e-5)) for s in spacing)
    if not any(steps):
        raise InputError(f"{asked} is smaller than one voxel (voxel size {sizes}): choose a larger one.")
    return Reach(steps, tuple(n * float(s) for n, s in zip(steps, spacing, strict=True)))
