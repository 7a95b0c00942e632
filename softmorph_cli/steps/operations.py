"""Every operation by name: its parameters, as data, and what makes a step of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli import lengths
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.defaults import METHOD_OF
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.level_sets import parse_levels
from softmorph_cli.measure.statistics import Statistics
from softmorph_cli.steps.step import CHAIN, COMMAND, LABELS, MASK, PROBABILITY, TILES, Place, Step
from softmorph_cli.units import millimetres, sign
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.filters.morphology import Element
    from softmorph_cli.tiles.spec import Spec

# Thinning takes voxels off one by one, so it follows the grid, not the world.
UNEVEN: Final = 1.5

# A skeleton of a larger share of the voxels is none of lines.
_DENSE: Final = 0.2

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """What can be done.

    Attributes:
        help: One sentence.
        parameters: The name of each parameter, and the type of its value: int, float, str or bool.
        build: Makes a step of parameters and settings; refuses values that are wrong whatever the map.
        methods: Whether there are several ways to make it soft; see `filters.defaults` for the one it has by itself.
    """

    help: str
    parameters: Mapping[str, type]
    build: Callable[[Given, Settings], Step]
    methods: bool = True

    @property
    def keys(self) -> dict[str, Any]:
        """Every key a step of this operation takes, those of its method among them."""
        return {**self.parameters, **(SETTINGS if self.methods else {})}


# What a step may say about its method.
SETTINGS: Final[Mapping[str, Any]] = {
    "method": str,
    "levels": parse_levels,
    "lowest": float,
    "finish": bool,
    "prune_contrast": float,
    "smooth_levels": int,
    "sharpness": float,
    "seed": int,
    "tolerance": float,
    "max_iterations": int,
}


def make(name: str, given: Given, settings: Settings | None = None, *, method: str | None = None) -> Step:
    """Return a step.

    Args:
        name: The operation.
        given: Values by parameter; those that are None count as not given. Names of `SETTINGS` change the settings.
        settings: How to run where the step does not say.
        method: The method, where the step names none.

    Raises:
        UsageError: If there is no such operation or parameter, or a value is wrong whatever the map.
    """
    if name not in OPERATIONS:
        raise UsageError(f"unknown step {name!r}: use {', '.join(OPERATIONS)}.")
    operation = OPERATIONS[name]
    given = {key: value for key, value in given.items() if value is not None}
    for key in given:
        if key not in operation.keys:
            raise UsageError(f"{name} has no {key!r}: it takes {', '.join(operation.keys) or 'nothing'}.")
    changed = {key: value for key, value in given.items() if key in SETTINGS}
    chosen = {key: value for key, value in given.items() if key not in SETTINGS}
    if method is not None:
        changed = {"method": method, **changed}
    return operation.build(chosen, replace(settings or Settings(), **changed))


def _at_least_one(iterations: int | None) -> None:
    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1 is needed.")


def _morphology(name: str, operation: str) -> Callable[[Given, Settings], Step]:
    def build(given: Given, settings: Settings) -> Step:
        connectivity = given.get("connectivity")
        erosion = given.get("erosion_connectivity", connectivity)
        dilation = given.get("dilation_connectivity", connectivity)
        for value in (connectivity, erosion, dilation):
            if value not in (None, 4, 8, 6, 18, 26):
                raise UsageError(f"connectivity {value}: use 4 or 8 in 2D, 6, 18 or 26 in 3D.")
        iterations, radius = given.get("iterations"), given.get("radius")
        _at_least_one(iterations)
        if radius is not None and iterations is not None:
            raise UsageError("give either --iterations or --radius, not both.")
        length = lengths.parse(radius) if radius is not None else None
        in_voxels = length is not None and length[1] == "vox"

        def element(place: Place) -> Element:
            from softmorph_cli.filters.morphology import Element

            spacing = place.spacing
            far = None
            if length is not None and in_voxels:
                far, spacing = length[0], (1.0,) * (3 if place.axes.endswith("ZYX") else 2)
            elif length is not None:
                far = lengths.in_unit(length, place.unit)
            unit = "voxels" if in_voxels else place.unit or ""
            return Element(erosion, dilation, iterations, far, spacing, unit)

        def run(volume: Volume, settings: Settings) -> Result:
            from softmorph_cli.filters.morphology import operate

            return operate(operation, volume.array, element(volume), settings, volume.spatial_dims)

        def tiled(place: Place) -> Spec:
            from softmorph_cli.tiles.spec import Spec

            return Spec(operation, settings, element=element(place))

        return Step(
            operation=name,
            parameters={
                "erosion_connectivity": erosion,
                "dilation_connectivity": dilation,
                "iterations": iterations,
                "radius": radius,
            },
            settings=settings.resolved(METHOD_OF[operation]),
            run=run,
            radius_unit="voxels" if in_voxels else None,
            tiled=tiled,
        )

    return build


def _of_skeleton(
    image: npt.NDArray[Any], skeleton: npt.NDArray[Any], settings: Settings, threshold: float | None
) -> list[str]:
    """Return what to say of a skeleton that is empty, or has all of a background in it."""
    largest = image.max(initial=0)
    sets = settings.level_sets if settings.method == "nested" else None
    if threshold is None:
        threshold = (settings.lowest or 0.0) if sets is None else float(sets.thresholds[0])
    share = np.count_nonzero(skeleton) / max(skeleton.size, 1)
    if share == 0 and 0 < largest <= threshold:
        return [f"the skeleton is empty: nothing is above {threshold:g}, the largest value is {largest:.4g}."]
    if settings.levels == "exact" and settings.lowest is None and share > _DENSE:
        return [
            f"{share:.0%} of the voxels are above 0 in the skeleton, since all values are levels: with --lowest 0.01 "
            "the background is left out."
        ]
    return []


def _skeletonize(given: Given, settings: Settings) -> Step:
    from softmorph_cli.filters.functions import check_hard, check_preset, resolve_preset

    hard, threshold, preset = bool(given.get("hard")), given.get("threshold"), given.get("preset")
    iterations, resample = given.get("iterations"), given.get("resample")
    check_hard(hard, method=settings.method, preset=preset, iterations=iterations, threshold=threshold)
    method, iterations = resolve_preset(preset, settings.method, iterations)
    settings = replace(settings, method=method)
    in_force = settings.resolved(METHOD_OF["skeletonize"])
    if not hard and iterations is None and in_force.finish:
        in_force.check_pruning()
    _at_least_one(iterations)
    cut = 0.5 if threshold is None else threshold
    if not 0 <= cut < 1:
        raise UsageError(f"--threshold {cut:g}: it must be at least 0 and below 1.")
    if resample not in (None, "iso"):
        raise UsageError(f"--resample {resample}: only iso is known.")

    def run(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.skeleton import thinning

        check_preset(preset, volume.spatial_dims)
        dims = volume.spatial_dims
        result = thinning(
            volume.array, settings, iterations=iterations, hard=hard, threshold=cut, spatial_dims=dims
        )
        told = _of_skeleton(volume.array, result.image, in_force, cut if hard else None)
        return replace(result, warnings=(*result.warnings, *told))

    def prepare(volume: Volume) -> Volume:
        if resample is None:
            return volume
        from softmorph_cli.filters.resample import isotropic

        return isotropic(volume)

    def remarks(before: Statistics, after: Statistics) -> list[str]:
        if hard or after.components_above_half <= before.components_above_half:
            return []
        return [
            "a soft skeleton is a map of certainty, and a threshold on it breaks lines: the components above 0.5 "
            "are pieces of curves. To keep lines whole, add --method nested (at each of its levels) or --hard (at one "
            "threshold; in a chain skeletonize:hard)."
        ]

    def tiled(place: Place) -> Spec:
        from softmorph_cli.tiles.spec import Spec

        check_preset(preset, 3 if place.axes.endswith("ZYX") else 2)
        return Spec("skeletonize", settings, iterations=iterations, hard=hard, threshold=cut)

    return Step(
        operation="skeletonize",
        parameters={
            "iterations": iterations,
            "hard": hard or None,
            "threshold": cut if hard else None,
            "preset": preset,
            "resample": resample,
        },
        settings=in_force,
        run=run,
        tiled=tiled if resample is None else None,
        gives=MASK if hard else PROBABILITY,
        until_stable=iterations is None and in_force.method != "cldice",
        prepare=prepare,
        concerns=lambda volume, place: [] if resample else uneven(volume, place),
        remarks=remarks,
        # What is resampled first has no levels any more.
        at=(lambda used: _skeletonize({**given, "threshold": used}, settings))
        if hard and resample is None
        else None,
    )


def _apply(given: Given, settings: Settings) -> Step:
    from softmorph_cli.filters.custom import resolved

    rule, iterations = given.get("rule"), given.get("iterations")
    if rule is None:
        raise UsageError("apply needs a rule: a name (see softmorph rules) or a TOML file.")
    _at_least_one(iterations)
    # A wrong name or a malformed file is reported before the map is read.
    in_force = resolved(settings, rule)

    def run(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.custom import apply

        return apply(rule, volume.array, settings, iterations=iterations, spatial_dims=volume.spatial_dims)

    def tiled(place: Place) -> Spec:
        from softmorph_cli.tiles.spec import Spec

        return Spec("apply", settings, iterations=iterations, rule=rule)

    return Step(
        operation="apply",
        parameters={"rule": rule, "iterations": iterations},
        settings=in_force,
        tiled=tiled,
        run=run,
        until_stable=iterations is None,
    )


def _fill(given: Given, settings: Settings) -> Step:
    def run(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.greylevel import fill

        return Result(fill(volume.array, volume.spatial_dims))

    return Step("fill", {}, None, run)


def _despeckle(given: Given, settings: Settings) -> Step:
    size = given.get("min_size")
    if size is None:
        raise UsageError(
            "despeckle needs a size, as in despeckle:min-size=30vox, or a volume such as 50um3 (in 2D an area)."
        )
    least = lengths.parse_size(size, "--min-size")

    def run(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.greylevel import despeckle

        return Result(despeckle(volume.array, _voxels(least, volume), volume.spatial_dims))

    return Step("despeckle", {"min_size": size}, None, run)


def _threshold(given: Given, settings: Settings) -> Step:
    cut, largest, size = given.get("threshold", 0.5), given.get("largest"), given.get("min_size")
    labels = bool(given.get("labels"))
    if not 0 <= cut < 1:
        raise UsageError(f"--threshold {cut:g}: it must be at least 0 and below 1.")
    if largest is not None and largest < 1:
        raise UsageError(f"--largest {largest}: keep at least 1 component.")
    least = lengths.parse_size(size, "--min-size") if size is not None else None

    def run(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.greylevel import components

        voxels = _voxels(least, volume) if least is not None else 1
        if not labels and largest is None and voxels == 1:
            return Result(volume.array > cut)
        found = components(volume.array, cut, volume.spatial_dims, largest=largest, voxels=voxels)
        return Result(found if labels else found > 0)

    parameters = {"threshold": cut, "largest": largest, "min_size": size, "labels": labels or None}
    gives = LABELS if labels else MASK
    return Step(
        "threshold",
        parameters,
        None,
        run,
        gives=gives,
        at=lambda used: _threshold({**given, "threshold": used}, settings),
    )


def _resample(given: Given, settings: Settings) -> Step:
    spacing = given.get("spacing", "iso")
    sizes = None if spacing == "iso" else [lengths.parse(part, "--spacing") for part in spacing.split(",")]
    if sizes is not None and "vox" in {unit for _, unit in sizes}:
        raise UsageError(f"--spacing {spacing}: give lengths in mm, um or nm, or iso.")

    def prepare(volume: Volume) -> Volume:
        from softmorph_cli.filters.resample import isotropic, resampled

        if sizes is None or volume.spacing is None:  # which it refuses
            return isotropic(volume)
        if millimetres(volume.unit) is None:
            raise InputError(
                "the file does not say in which unit its voxel size is; only --spacing iso does without."
            )
        if len(sizes) not in (1, volume.spatial_dims):
            raise InputError(
                f"--spacing {spacing}: give one length, or one for each of {', '.join(volume.spatial_axes)}."
            )
        wanted = [lengths.in_unit(size, volume.unit) for size in sizes]
        return resampled(volume, wanted * volume.spatial_dims if len(wanted) == 1 else wanted)

    return Step(
        "resample", {"spacing": spacing}, None, lambda volume, settings: Result(volume.array), prepare=prepare
    )


def _voxels(size: tuple[float, str, int | None], volume: Volume) -> int:
    return lengths.in_voxels(size, volume.spacing, volume.unit, volume.spatial_dims)


_CUBIC: Final = {
    COMMAND: "add --resample iso to make them cubic first.",
    CHAIN: 'skeletonize:resample=iso (in TOML resample = "iso") makes them cubic first.',
    TILES: "where the map fits into memory, softmorph resample makes them cubic first.",
}


def uneven(volume: Volume, place: str = COMMAND) -> list[str]:
    """Warn of a map whose voxels are far from cubic, before it is thinned.

    Args:
        volume: The map.
        place: Where the step is typed, as for `Step.concerns`.
    """
    if volume.spacing is None or max(volume.spacing) <= UNEVEN * min(volume.spacing):
        return []
    sizes = " × ".join(f"{size:g}" for size in volume.spacing)
    return [
        f"voxels are {sizes} {sign(volume.unit or '')}".rstrip()
        + f": thinning counts voxels, not lengths; {_CUBIC[place]}"
    ]


_ONE: Final = {"iterations": int, "radius": str, "connectivity": int}
_TWO: Final = {**_ONE, "erosion_connectivity": int, "dilation_connectivity": int}

OPERATIONS: Final[Mapping[str, Operation]] = {
    "erode": Operation("Soft erosion.", _ONE, _morphology("erode", "erosion")),
    "dilate": Operation("Soft dilation.", _ONE, _morphology("dilate", "dilation")),
    "open": Operation("Soft opening.", _TWO, _morphology("open", "opening")),
    "close": Operation("Soft closing.", _TWO, _morphology("close", "closing")),
    "gradient": Operation("Dilation minus erosion.", _ONE, _morphology("gradient", "gradient")),
    "tophat": Operation("The map minus its opening.", _ONE, _morphology("tophat", "tophat")),
    "blackhat": Operation("The closing minus the map.", _ONE, _morphology("blackhat", "blackhat")),
    "skeletonize": Operation(
        "Soft skeleton, or the exact one.",
        {"iterations": int, "hard": bool, "threshold": float, "preset": str, "resample": str},
        _skeletonize,
    ),
    "apply": Operation("Any Boolean rule.", {"rule": str, "iterations": int}, _apply),
    "fill": Operation("Fill holes, at every level.", {}, _fill, methods=False),
    "despeckle": Operation("Take specks away, at every level.", {"min_size": str}, _despeckle, methods=False),
    "threshold": Operation(
        "Binarize, keep the largest components, label them.",
        {"threshold": float, "largest": int, "min_size": str, "labels": bool},
        _threshold,
        methods=False,
    ),
    "resample": Operation("Interpolate to another voxel size.", {"spacing": str}, _resample, methods=False),
}
