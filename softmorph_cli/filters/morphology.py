"""Soft erosion, dilation, opening, closing, and what is built from them: gradient, top-hat, black-hat.

Erosion is AND over the structuring element and dilation is OR, see `softmorph_cli.rules.structuring`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.arrays import as_array, for_each, spatial_dimensions
from softmorph_cli.filters.element import Reach, reach
from softmorph_cli.filters.filter import Report, Sequences
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.operations import Morphology
from softmorph_cli.filters.run import FilterJob, Phase, run, run_difference
from softmorph_cli.filters.settings import Result
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.rules import structuring


def operate(element: Morphology, image: Any, progress: Report | None = None) -> Result:
    """Run a morphological operation and say how it went.

    Args:
        element: The operation.
        image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
        progress: Called after every sub-iteration.

    Raises:
        InputError: If image, connectivity or spacing do not fit each other.
    """
    element = element.resolved()
    image = as_array(image)
    dimensions = spatial_dimensions(image, element.spatial_dims)
    shape = tuple(image.shape[-dimensions:])
    sequences = phases(element, shape)

    def one(backend: Backend, values: Any, index: int, count: int) -> Result:
        jobs = [
            FilterJob(element.title, each, element, backend, index, count, part, len(sequences), progress)
            for part, each in enumerate(sequences)
        ]
        return run(jobs[0], values) if len(jobs) == 1 else run_difference(jobs[0], jobs[1], values)

    result = for_each(image, element.spatial_dims, element, one, until_stable=False)
    far = reach(shape, element)
    return replace(result, iterations=max(far.steps), radius=far.radius)


def phases(element: Morphology, shape: tuple[int, ...]) -> Sequences:
    """Return the one sequence of phases of an operation, or the two whose difference it is.

    Args:
        element: The operation.
        shape: The image's, along its spatial axes.

    Raises:
        InputError: If connectivity or spacing do not fit the image.
    """
    far = reach(shape, element)
    return tuple(
        tuple(phase for name in sequence for phase in _phases(name, element, far, len(shape)))
        for sequence in element.sequences
    )


def _phases(name: str, element: Morphology, far: Reach, dimensions: int) -> tuple[Phase, ...]:
    """Return the phases of an erosion or a dilation."""
    make = {"erosion": structuring.erosion, "dilation": structuring.dilation}[name]
    connectivity = structuring.check_connectivity(element.connectivities[name], dimensions)
    return far.phases(partial(make, connectivity, dimensions))


def check_method(method: str | None, *, thinning: bool = False) -> None:
    """Refuse a method that is a skeleton by itself, and one of thinnings for what is none.

    Args:
        method: Its name, or None.
        thinning: Whether the rule may be a thinning.

    Raises:
        UsageError: Naming the operation that it goes with.
    """
    if find(method).scheme is Scheme.POOLING:
        raise UsageError(
            f"method {method!r} is a skeleton: use it with skeletonize, and leave the method out here."
        )
    if find(method).scheme is Scheme.NESTED and not thinning:
        raise UsageError(
            f"method {method!r} is for thinnings: use it with skeletonize, and leave it out here."
        )
