"""Soft erosion, dilation, opening, closing, and what is built from them: gradient, top-hat, black-hat.

Erosion is AND over the structuring element and dilation is OR, see `softmorph_cli.rules.structuring`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.filters import defaults
from softmorph_cli.filters.arrays import as_array, for_each, spatial_dimensions
from softmorph_cli.filters.element import Reach, reach
from softmorph_cli.filters.method import Family, find
from softmorph_cli.filters.run import Job, Phase, run, run_difference
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.rules import structuring


@dataclass(frozen=True)
class Element:
    """A structuring element and how often it is applied.

    Attributes:
        erosion: Connectivity of the erosion: 4 or 8 in 2D; 6, 18 or 26 in 3D. None for 4 or 6.
        dilation: Connectivity of the dilation, likewise.
        iterations: How often; None for once, unless there is a radius.
        radius: Instead of iterations, in the unit of `spacing`.
        spacing: Voxel size along each spatial axis, in array order.
        unit: Unit of radius and spacing, for messages.
    """

    erosion: int | None = None
    dilation: int | None = None
    iterations: int | None = None
    radius: float | None = None
    spacing: Sequence[float] | None = None
    unit: str = ""


def _erosion(element: Element, far: Reach, dimensions: int) -> tuple[Phase, ...]:
    connectivity = structuring.check_connectivity(element.erosion, dimensions)
    return far.phases(partial(structuring.erosion, connectivity, dimensions))


def _dilation(element: Element, far: Reach, dimensions: int) -> tuple[Phase, ...]:
    connectivity = structuring.check_connectivity(element.dilation, dimensions)
    return far.phases(partial(structuring.dilation, connectivity, dimensions))


_Sequence = tuple[Callable[[Element, Reach, int], tuple[Phase, ...]], ...]
_IDENTITY: Final[_Sequence] = ()

# Every operation is one sequence, or the difference of two: what comes out first minus what comes second.
OPERATIONS: Final[dict[str, tuple[_Sequence, ...]]] = {
    "erosion": ((_erosion,),),
    "dilation": ((_dilation,),),
    "opening": ((_erosion, _dilation),),
    "closing": ((_dilation, _erosion),),
    "gradient": ((_dilation,), (_erosion,)),
    "tophat": (_IDENTITY, (_erosion, _dilation)),
    "blackhat": ((_dilation, _erosion), _IDENTITY),
}


def operate(
    name: str, image: Any, element: Element, settings: Settings, spatial_dims: int | None = None
) -> Result:
    """Run a morphological operation and say how it went.

    Args:
        name: A key of `OPERATIONS`.
        image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
        element: The structuring element.
        settings: How to run.
        spatial_dims: 2 or 3 where there are leading axes.

    Raises:
        InputError: If image, connectivity or spacing do not fit each other.
        UsageError: If the method does not exist here.
    """
    settings = settings.resolved(defaults.METHOD_OF[name])
    check_method(settings.method)
    image = as_array(image)
    dimensions = spatial_dimensions(image, spatial_dims)
    far, sequences = plan(name, tuple(image.shape[-dimensions:]), element)

    def one(backend: Backend, values: Any, index: int, count: int) -> Result:
        jobs = [
            Job(name, phases, settings, backend, index, count, part, len(sequences))
            for part, phases in enumerate(sequences)
        ]
        return run(jobs[0], values) if len(jobs) == 1 else run_difference(jobs[0], jobs[1], values)

    result = for_each(image, spatial_dims, settings, one, until_stable=False)
    return replace(result, iterations=max(far.steps), radius=far.radius)


def plan(name: str, shape: tuple[int, ...], element: Element) -> tuple[Reach, tuple[tuple[Phase, ...], ...]]:
    """Return how far an operation goes, and its one sequence of phases, or the two whose difference it is.

    Args:
        name: A key of `OPERATIONS`.
        shape: The image's, along its spatial axes.
        element: The structuring element.

    Raises:
        InputError: If connectivity or spacing do not fit the image.
        UsageError: If iterations or radius are out of range.
    """
    far = reach(shape, element.iterations, element.radius, element.spacing, element.unit)
    return far, tuple(
        tuple(phase for part in sequence for phase in part(element, far, len(shape)))
        for sequence in OPERATIONS[name]
    )


def check_method(method: str | None, *, thinning: bool = False) -> None:
    """Refuse a method that is a skeleton by itself, and one of thinnings for what is none.

    Args:
        method: Its name, or None.
        thinning: Whether the rule may be a thinning.

    Raises:
        UsageError: Naming the operation that it goes with.
    """
    if find(method).family is Family.POOLING:
        raise UsageError(
            f"method {method!r} is a skeleton: use it with skeletonize, and leave the method out here."
        )
    if find(method).family is Family.NESTED and not thinning:
        raise UsageError(
            f"method {method!r} is for thinnings: use it with skeletonize, and leave it out here."
        )
