"""Phases of skeletonization, the papers' presets, and clDice's skeleton."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.run import FilterJob, Phase, sweep
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.rules import catalog, structuring

CLDICE_ITERATIONS: Final = 10


@dataclass(frozen=True)
class Preset:
    """The settings of a paper's experiments.

    Attributes:
        method: The name of the default method.
        allowed: The names of the methods used in the paper.
        iterations: The number of iterations; None to iterate until the change is at most 2 % of the input (the default
            tolerance), or for a mask until nothing changes.
        dimensions: The number of spatial dimensions, 2 or 3; None for both.
        citation: The citation of the paper.
    """

    method: str
    allowed: tuple[str, ...]
    iterations: int | None
    dimensions: int | None
    citation: str


PRESETS: Final = {
    "softmorph-2d": Preset(
        "product", ("product", "multilinear"), None, 2, "Guzzi et al., MICCAI 2024, 2D experiments"
    ),
    "softmorph-3d": Preset("product", ("product",), 5, 3, "Guzzi et al., MICCAI 2024, 3D experiments"),
    "cldice": Preset("cldice", ("cldice",), CLDICE_ITERATIONS, None, "Shit et al., CVPR 2021"),
}

_FADED: Final = (
    "the skeleton faded: its maximum is {after:.2f} while the input's is {before:.2f}. Step-by-step methods "
    "over-thin; use method nested (or smooth-levels to train through)."
)


def check_dimensions(preset: str | None, dimensions: int) -> None:
    """Refuse a preset that is for maps with another number of dimensions.

    Raises:
        InputError: If the preset is refused; the message states its number of dimensions.
    """
    wanted = PRESETS[preset].dimensions if preset else None
    if wanted not in (None, dimensions):
        raise InputError(f"preset {preset} is for {wanted}D maps; this one is {dimensions}D.")


def resolve_preset(preset: str, method: str | None, iterations: int | None) -> tuple[str, int | None]:
    """Return method and iterations of a skeletonization, by default those of a preset.

    Raises:
        UsageError: If the preset is unknown, or excludes the method.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}: use one of {', '.join(PRESETS)}.")
    chosen = PRESETS[preset]
    name = find(method).name if method else chosen.method
    if name not in chosen.allowed:
        raise UsageError(f"preset {preset} goes with method {' or '.join(chosen.allowed)}, not {name}.")
    return name, chosen.iterations if iterations is None else iterations


def thinning_phases(dimensions: int, settings: Settings, iterations: int | None) -> tuple[Phase, ...]:
    """Return the phases of a skeletonization, thinning with or without finishing; method `cldice` ignores them.

    Without a number of iterations a nested skeleton is finished: the templates leave lines two voxels thick in places,
    and more where the next higher level contains voxels; simple points are then deleted one by one until lines are one
    voxel wide.

    Raises:
        UsageError: If `prune_contrast` is less than one level.
    """
    thin = Phase(catalog.bundled("thinning", dimensions), iterations)
    if find(settings.method).scheme is not Scheme.NESTED or not settings.finish or iterations is not None:
        return (thin,)
    finish = Phase(catalog.bundled("thinning-subfields", dimensions), None)
    if not settings.prune_contrast:
        return thin, finish
    settings.check_pruning()
    # Pruning follows finishing: in a thin skeleton few voxels belong both to a feature of low contrast and to one
    # that stays. Voxels that only a pruned feature kept in place are then thinned and finished again.
    return thin, finish, replace(finish, prunes=True), thin, finish


def mark_finished(result: Result, phases: tuple[Phase, ...]) -> Result:
    """Return the result of a nested skeleton with `finished`: whether all `phases` ran until nothing changed."""
    return replace(result, finished=len(phases) > 1 and result.stop_reason == "stable")


def warn_if_faded(backend: Backend, result: Result, image: Any, dimensions: int) -> Result:
    """Return the result, with a warning if the skeleton of any image faded (its maximum fell below one half)."""
    shape = (-1, *image.shape[-dimensions:])
    for before, after in zip(image.reshape(shape), result.image.reshape(shape), strict=True):
        warning = faded(backend.extremes(before)[1], backend.extremes(after)[1])
        if warning:
            return replace(result, warnings=(*result.warnings, *warning))
    return result


def faded(before: float, after: float) -> tuple[str, ...]:
    """Return a warning if a skeleton faded: `before` and `after` are the maxima of the map and of the skeleton."""
    return (_FADED.format(before=before, after=after),) if after < 0.5 <= before else ()


def cldice(job: FilterJob, image: Any, iterations: int, dimensions: int) -> Result:
    """Return the min/max-pool skeleton: the union of the residues of openings of ever smaller erosions."""
    cross, box = {2: (4, 8), 3: (6, 26)}[dimensions]
    erode = (Phase(structuring.erosion(cross, dimensions), 1),)
    dilate = (Phase(structuring.dilation(box, dimensions), 1),)

    def residue(values: Any, eroded: Any) -> Any:
        return (values - sweep(job, eroded, dilate).image).clip(min=0)

    eroded = sweep(job, image, erode).image
    skeleton = residue(image, eroded)
    for _ in range(iterations):
        image, eroded = eroded, sweep(job, eroded, erode).image
        delta = residue(image, eroded)
        skeleton = skeleton + (delta - skeleton * delta).clip(min=0)
    return Result(skeleton, iterations=iterations)
