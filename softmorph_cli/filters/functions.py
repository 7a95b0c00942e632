"""The public functions: arrays in, arrays of the same kind out, with the command line's defaults.

Every function takes a NumPy array or a torch tensor with values in [0, 1]. (Y, X) is 2D and (Z, Y, X) is 3D;
with further leading axes say `spatial_dims=2` or `spatial_dims=3`, and each image is filtered by itself. The
input is never modified. float32 and float64 are computed as they are, everything narrower in float32.

With `method="sampled"` a function returns two arrays: the mean and its standard error.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError
from softmorph_cli.filters import custom, morphology
from softmorph_cli.filters.arrays import as_array, spatial_dimensions
from softmorph_cli.filters.method import find
from softmorph_cli.filters.morphology import Element
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.filters.skeleton import PRESETS, thinning
from softmorph_cli.level_sets import Levels
from softmorph_cli.rules.rule import Rule


class How(TypedDict, total=False):
    """Keyword arguments that every function takes; their meaning and defaults are those of `Settings`."""

    levels: Levels
    lowest: float | None
    finish: bool
    prune_contrast: float
    surrogate: bool
    smooth_levels: int
    sharpness: float
    seed: int
    tolerance: float
    max_iterations: int
    device: str
    threads: int | None


def erosion(
    image: Any,
    *,
    connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the soft erosion: AND over the structuring element (Guzzi et al., MICCAI 2024).

    Args:
        image: Probabilities, see the module's docstring. Outside the image counts as 1.
        connectivity: 4 or 8 in 2D, 6, 18 or 26 in 3D; default 4 and 6.
        iterations: How often; default once.
        radius: Instead of iterations, in the unit of `spacing`: floor(radius / spacing) along each axis.
        spacing: Voxel size along each spatial axis, in array order.
        method: How the Boolean rule is made soft, see `softmorph_cli.filters.method`; default "minmax": every
            threshold of the result is the binary erosion of that threshold of the image. (`SoftErosion`, as the
            paper: "multilinear".)
        spatial_dims: 2 or 3 where there are leading axes.
        **how: See `How`.

    Raises:
        InputError: If image, connectivity or spacing do not fit each other.
        UsageError: If an argument is wrong whatever the image.
    """
    element = Element(connectivity, connectivity, iterations, radius, spacing)
    return _output(morphology.operate("erosion", image, element, Settings(method, **how), spatial_dims))


def dilation(
    image: Any,
    *,
    connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the soft dilation: OR over the structuring element; outside counts as 0. As `erosion`.

    The default method is "minmax" (`SoftDilation`, as the paper: "multilinear").
    """
    element = Element(connectivity, connectivity, iterations, radius, spacing)
    return _output(morphology.operate("dilation", image, element, Settings(method, **how), spatial_dims))


def opening(
    image: Any,
    *,
    connectivity: int | None = None,
    erosion_connectivity: int | None = None,
    dilation_connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the soft opening: n erosions, then n dilations.

    Args and errors as `erosion`; `erosion_connectivity` and `dilation_connectivity` override `connectivity`. The
    default method is "minmax" (`SoftOpening`, as the paper: "multilinear").
    """
    element = _element(connectivity, erosion_connectivity, dilation_connectivity, iterations, radius, spacing)
    return _output(morphology.operate("opening", image, element, Settings(method, **how), spatial_dims))


def closing(
    image: Any,
    *,
    connectivity: int | None = None,
    erosion_connectivity: int | None = None,
    dilation_connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the soft closing: n dilations, then n erosions. Args and errors as `opening`.

    The default method is "minmax" (`SoftClosing`, as the paper: "multilinear").
    """
    element = _element(connectivity, erosion_connectivity, dilation_connectivity, iterations, radius, spacing)
    return _output(morphology.operate("closing", image, element, Settings(method, **how), spatial_dims))


def gradient(
    image: Any,
    *,
    connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the morphological gradient: dilation minus erosion. Args and errors as `erosion`."""
    element = Element(connectivity, connectivity, iterations, radius, spacing)
    return _output(morphology.operate("gradient", image, element, Settings(method, **how), spatial_dims))


def tophat(
    image: Any,
    *,
    connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the white top-hat: the image minus its opening, at least 0. Args and errors as `erosion`.

    A soft opening can exceed its input; where it does, the result is 0 and a `SoftmorphWarning` says so.
    """
    element = Element(connectivity, connectivity, iterations, radius, spacing)
    return _output(morphology.operate("tophat", image, element, Settings(method, **how), spatial_dims))


def blackhat(
    image: Any,
    *,
    connectivity: int | None = None,
    iterations: int | None = None,
    radius: float | None = None,
    spacing: Sequence[float] | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the black top-hat: the closing minus the image, at least 0. As `tophat`."""
    element = Element(connectivity, connectivity, iterations, radius, spacing)
    return _output(morphology.operate("blackhat", image, element, Settings(method, **how), spatial_dims))


def skeletonize(
    image: Any,
    *,
    method: str | None = None,
    iterations: int | None = None,
    hard: bool = False,
    threshold: float | None = None,
    preset: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return the soft skeleton; by default the nested one, a centreline at each of its levels.

    At each of L levels t_k (1/(2L), 1/L, 2/L, ...) the set {result > t_k} is a centreline, one voxel wide, with
    the components, loops and cavities of {image > t_k}; it holds the centrelines of the levels above.

    Args:
        image: Probabilities, see the module's docstring. Outside the image counts as 0.
        method: How the thinning is made soft; default "nested" (`SoftSkeletonizer`: "smooth-levels").
        iterations: How many; default until nothing changes (see `Settings.tolerance`; clDice: 10).
        hard: Return the exact binary skeleton of {p > threshold} instead, as uint8 0 and 1. It has the
            components, tunnels and cavities of the thresholded map. Goes without method, preset, iterations.
        threshold: For `hard`; default 0.5.
        preset: "softmorph-2d", "softmorph-3d" or "cldice": the settings of those papers.
        spatial_dims: 2 or 3 where there are leading axes.
        **how: See `How`.

    Raises:
        InputError: If the image is no probability map, or asks a gradient of a method without one.
        UsageError: If an argument is wrong whatever the image.

    Source: 3D, Palágyi & Kuba (1998); 2D and the soft forms, Guzzi et al. (2024); clDice, Shit et al. (2021).
    """
    check_hard(hard, method=method, preset=preset, iterations=iterations, threshold=threshold)
    method, iterations = resolve_preset(preset, method, iterations)
    image = as_array(image)
    check_preset(preset, spatial_dimensions(image, spatial_dims))
    return _output(
        thinning(
            image,
            Settings(method, **how),
            iterations=iterations,
            hard=hard,
            threshold=0.5 if threshold is None else threshold,
            spatial_dims=spatial_dims,
        )
    )


def apply_rule(
    rule: str | Path | Rule,
    image: Any,
    *,
    iterations: int | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return any Boolean rule as a soft filter.

    Args:
        rule: The name of a bundled rule, the path of a TOML file, or a `Rule`.
        image: Probabilities, see the module's docstring.
        iterations: How many; default as the rule says.
        method: How the rule is made soft; default "minmax" for an increasing rule, "nested" for a
            thinning whose level sets can be kept nested, "levels" for any other.
        spatial_dims: 2 or 3 where there are leading axes.
        **how: See `How`.

    Raises:
        RuleError: If the rule does not exist, is malformed, too large, or for other dimensions.
        FileError: If its file cannot be read.
        UsageError: If an argument is wrong whatever the image.
    """
    settings = Settings(method, **how)
    return _output(custom.apply(rule, image, settings, iterations=iterations, spatial_dims=spatial_dims))


def resolve_preset(
    preset: str | None, method: str | None, iterations: int | None
) -> tuple[str | None, int | None]:
    """Return method and iterations of a skeletonization, with a preset's where they are not given.

    Raises:
        UsageError: If there is no such preset, or it excludes the method.
    """
    if preset is None:
        return method, iterations
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}: use one of {', '.join(PRESETS)}.")
    chosen = PRESETS[preset]
    name = find(method).name if method else chosen.method
    if name not in chosen.allowed:
        raise UsageError(f"preset {preset} goes with method {' or '.join(chosen.allowed)}, not {name}.")
    return name, chosen.iterations if iterations is None else iterations


def check_hard(
    hard: bool,
    *,
    method: str | None,
    preset: str | None,
    iterations: int | None,
    threshold: float | None,
) -> None:
    """Refuse what the exact binary skeleton leaves no room for, and a threshold without it.

    Raises:
        UsageError: If the arguments exclude each other.
    """
    if hard and (method or preset or iterations is not None):
        raise UsageError(
            "--hard is the exact binary skeleton: it goes without --method, --preset and --iterations."
        )
    if threshold is not None and not hard:
        raise UsageError("--threshold goes with --hard: a soft skeleton has none.")


def check_preset(preset: str | None, dimensions: int) -> None:
    """Refuse a preset that was made for other dimensions.

    Raises:
        InputError: Naming the dimensions it is for.
    """
    wanted = PRESETS[preset].dimensions if preset else None
    if wanted not in (None, dimensions):
        raise InputError(f"preset {preset} is for {wanted}D maps; this one is {dimensions}D.")


def _element(
    connectivity: int | None,
    erosion_connectivity: int | None,
    dilation_connectivity: int | None,
    iterations: int | None,
    radius: float | None,
    spacing: Sequence[float] | None,
) -> Element:
    return Element(
        connectivity if erosion_connectivity is None else erosion_connectivity,
        connectivity if dilation_connectivity is None else dilation_connectivity,
        iterations,
        radius,
        spacing,
    )


def _output(result: Result) -> Any:
    for warning in result.warnings:
        warnings.warn(warning, SoftmorphWarning, stacklevel=3)
    return result.image if result.standard_error is None else (result.image, result.standard_error)
