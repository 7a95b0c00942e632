"""Soft skeletons by thinning, the exact binary one, and clDice's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.arrays import as_array, for_each, is_tensor, spatial_dimensions
from softmorph_cli.filters.filter import Report, Sequences
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.filters.run import FilterJob, Phase, nested_binary, run, sweep
from softmorph_cli.filters.settings import Result, Settings, warn_if_capped
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.rules import catalog, structuring

CLDICE_ITERATIONS: Final = 10


@dataclass(frozen=True)
class Preset:
    """Settings under which a paper's results were made.

    Attributes:
        method: Their method, unless the caller names another that is allowed.
        allowed: The methods the paper has.
        iterations: Their number, or None until the change is at most 2 % of the input (the default tolerance); of a
            mask until nothing changes.
        dimensions: What the preset is for; None for both.
        citation: The paper.
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


def thinning(skeleton: Skeleton, image: Any, progress: Report | None = None) -> Result:
    """Run a skeletonization and say how it went.

    Args:
        skeleton: The filter.
        image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
        progress: Called after every sub-iteration.

    Raises:
        InputError: If the image is no probability map, or the preset is for other dimensions.
    """
    image = as_array(image)
    dimensions = spatial_dimensions(image, skeleton.spatial_dims)
    check_dimensions(skeleton, dimensions)
    hard, settings, iterations = skeleton.hard, skeleton.settings, skeleton.resolved().iterations
    (each,) = phases(skeleton, tuple(image.shape[-dimensions:]))
    if hard and is_tensor(image) and image.requires_grad:
        raise InputError("a hard skeleton has no gradient: pass image.detach(), or use smooth-levels.")

    def one(backend: Backend, values: Any, index: int, count: int) -> Result:
        job = FilterJob(skeleton.title, each, settings, backend, index, count, progress=progress)
        if hard:
            return mark_finished(nested_binary(job, values, skeleton.cut), each)
        if job.method.scheme is Scheme.POOLING:
            return cldice(job, values, iterations or CLDICE_ITERATIONS, dimensions)
        result = run(job, values)
        if job.method.scheme is Scheme.NESTED:
            return mark_finished(result, each)
        # The level sets are thinned exactly: a low maximum is then a fact about the map.
        exact = job.method.scheme in (Scheme.LEVELS, Scheme.SAMPLES)
        return result if exact else _warn_if_faded(backend, result, values, dimensions)

    pooling = find(settings.method).scheme is Scheme.POOLING
    until_stable = hard or (iterations is None and not pooling)
    result = for_each(image, skeleton.spatial_dims, settings, one, until_stable=until_stable)
    return warn_if_capped(result, settings)


def phases(skeleton: Skeleton, shape: tuple[int, ...]) -> Sequences:
    """Return the phases of a skeletonization; clDice, which has none of its own, gets those of thinning.

    Raises:
        InputError: If the preset is for other dimensions.
    """
    check_dimensions(skeleton, len(shape))
    return (thinning_phases(len(shape), skeleton.settings, skeleton.resolved().iterations),)


def check_dimensions(skeleton: Skeleton, dimensions: int) -> None:
    """Refuse a preset that was made for other dimensions.

    Raises:
        InputError: Naming the dimensions it is for.
    """
    wanted = PRESETS[skeleton.preset].dimensions if skeleton.preset else None
    if wanted not in (None, dimensions):
        raise InputError(f"preset {skeleton.preset} is for {wanted}D maps; this one is {dimensions}D.")


def resolve_preset(preset: str, method: str | None, iterations: int | None) -> tuple[str, int | None]:
    """Return method and iterations of a skeletonization, with a preset's where they are not given.

    Raises:
        UsageError: If there is no such preset, or it excludes the method.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}: use one of {', '.join(PRESETS)}.")
    chosen = PRESETS[preset]
    name = find(method).name if method else chosen.method
    if name not in chosen.allowed:
        raise UsageError(f"preset {preset} goes with method {' or '.join(chosen.allowed)}, not {name}.")
    return name, chosen.iterations if iterations is None else iterations


def thinning_phases(dimensions: int, settings: Settings, iterations: int | None) -> tuple[Phase, ...]:
    """Return the phases of a skeletonization.

    To the end, a nested skeleton is finished: the templates leave lines two voxels thick in places, and more where
    the level above holds voxels; one simple point after another then goes until a line is one voxel wide.

    Args:
        dimensions: 2 or 3.
        settings: The method and whether to finish.
        iterations: How many; None until nothing changes.

    Raises:
        UsageError: If the contrast is less than one level.
    """
    thin = Phase(catalog.bundled("thinning", dimensions), iterations)
    if find(settings.method).scheme is not Scheme.NESTED or not settings.finish or iterations is not None:
        return (thin,)
    finish = Phase(catalog.bundled("thinning-subfields", dimensions), None)
    if not settings.prune_contrast:
        return thin, finish
    settings.check_pruning()
    # Pruning follows finishing: in a thin skeleton few voxels belong both to a feature of low contrast and to one
    # that stays. Voxels that only a pruned feature held in place are then thinned and finished again.
    return thin, finish, replace(finish, prunes=True), thin, finish


def mark_finished(result: Result, phases: tuple[Phase, ...]) -> Result:
    """Return a nested skeleton that says whether it is finished.

    Args:
        result: It.
        phases: Those that it was to run through.
    """
    return replace(result, finished=len(phases) > 1 and result.stop_reason == "stable")


def _warn_if_faded(backend: Backend, result: Result, image: Any, dimensions: int) -> Result:
    # One image, or a batch that torch takes at once.
    shape = (-1, *image.shape[-dimensions:])
    for before, after in zip(image.reshape(shape), result.image.reshape(shape), strict=True):
        warning = faded(backend.extremes(before)[1], backend.extremes(after)[1])
        if warning:
            return replace(result, warnings=(*result.warnings, *warning))
    return result


def faded(before: float, after: float) -> tuple[str, ...]:
    """Return what to say of a skeleton with these maxima, of the map and of itself; nothing if it is well."""
    return (_FADED.format(before=before, after=after),) if after < 0.5 <= before else ()


def cldice(job: FilterJob, image: Any, iterations: int, dimensions: int) -> Result:
    """Return the min/max-pool skeleton: the sum of what an opening removes, over ever smaller erosions."""
    cross, box = {2: (4, 8), 3: (6, 26)}[dimensions]
    erode = replace(job, phases=(Phase(structuring.erosion(cross, dimensions), 1),))
    dilate = replace(job, phases=(Phase(structuring.dilation(box, dimensions), 1),))

    def residue(values: Any, eroded: Any) -> Any:
        return (values - sweep(dilate, eroded).image).clip(min=0)

    eroded = sweep(erode, image).image
    skeleton = residue(image, eroded)
    for _ in range(iterations):
        image, eroded = eroded, sweep(erode, eroded).image
        delta = residue(image, eroded)
        skeleton = skeleton + (delta - skeleton * delta).clip(min=0)
    return Result(skeleton, iterations=iterations)
