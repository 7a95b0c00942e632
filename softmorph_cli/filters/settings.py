"""Settings that all filters share (method, device, stopping), progress and result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypedDict

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.method import METHODS, Method, Scheme, find
from softmorph_cli.system.parameters import (
    DEVICES,
    Parameter,
    at_least,
    below_one,
    check_all,
    named,
    positive,
)

if TYPE_CHECKING:
    from softmorph_cli.filters.interpolation import Completion
    from softmorph_cli.kernels.level_sets import Levels, LevelSets

# Default methods of every command and function. They take voxels as comonotone, rising and falling together: a
# threshold of the result is the binary filter of that threshold of the map. The `torch.nn.Module`s keep the defaults
# of the papers whose names they carry.
INCREASING: Final = "minmax"
THINNING: Final = "nested"
ANY_RULE: Final = "levels"

_GROUP: Final = "Method and machine"


def _levels(text: str) -> Levels:
    from softmorph_cli.kernels.level_sets import parse_levels

    return parse_levels(text)


@dataclass(frozen=True)
class Progress:
    """The progress of a filter, which is passed to the callback after every sub-iteration.

    Attributes:
        operation: The name of the running filter, for users.
        iteration: The current iteration, from 1.
        iterations: The number of iterations; None if the filter runs until nothing changes.
        changed: Number of voxels that the last sub-iteration changed (for level sets: in any of the sets); None for
            erosions and dilations, several of which are computed at once.
        part: The number of the current image, level or group of levels, from 1.
        parts: The number of images, levels or groups of levels.
    """

    operation: str
    iteration: int
    iterations: int | None
    changed: int | None
    part: int
    parts: int


@dataclass(frozen=True)
class Settings:
    """The method and the machine of a filter; the help text of each parameter describes it.

    Attributes:
        prune_contrast: For finished `nested` skeletons: loops and cavities that are filled at a level lower by up to
            this probability are opened, so that their fillings are thinned; every component, loop and cavity of
            higher persistence stays. 0 prunes nothing.
        surrogate: For `nested` with a number of levels: whether a voxel that is lowered to the upper end of its bin
            passes its gradient to itself, as a voxel that keeps its value does. The true derivative there is 0.
        tolerance: For step-by-step methods without a number of iterations, under which probabilities fade without
            converging: stop when the summed change of one iteration is at most this share of the input's sum. Binary
            images, `minmax` and `drastic` run until nothing changes; `smooth-levels` also until no level set changes.
    """

    method: Annotated[
        str | None,
        Parameter(
            "How the binary filter is made soft: nested, multilinear, product, minmax, lukasiewicz, einstein, "
            "hamacher, drastic, levels, smooth-levels, sampled; skeletonize also cldice. "
            f"(default: {THINNING} for skeletonize, {INCREASING} for the others; for apply {INCREASING} if the rule is "
            f"increasing, else {ANY_RULE})",
            flags=("--method", "-m"),
            group=_GROUP,
            first=True,
            words=tuple(METHODS),
            metavar="METHOD",
        ),
    ] = None
    levels: Annotated[
        int | Literal["exact"] | None,
        Parameter(
            "Level sets for nested, levels and sampled: 8, 16, 32 or a multiple of 64; for nested also exact, "
            "which takes every value of the map as a level. (default: nested 16, levels and sampled 64)",
            "N",
            group=_GROUP,
            parse=_levels,
            words=("8", "16", "32", "64", "exact"),
        ),
    ] = None
    lowest: Annotated[
        float | None,
        Parameter(
            "For nested: values up to P are background. (default: half of the first level)",
            "P",
            group=_GROUP,
            check=below_one,
        ),
    ] = None
    finish: Annotated[
        bool,
        Parameter(
            "For nested and --hard: reduce lines to one voxel's width at the end.",
            flags=("--finish/--no-finish",),
            group=_GROUP,
        ),
    ] = True
    prune_contrast: Annotated[
        float,
        Parameter(
            "For nested: open loops and cavities that are filled at a probability lower by up to this.",
            "C",
            group=_GROUP,
            check=below_one,
        ),
    ] = 0.0
    surrogate: Annotated[bool, Parameter("Gradients of the voxels that are cut.", shell=False)] = False
    smooth_levels: Annotated[
        int, Parameter("Levels for smooth-levels.", "N", group=_GROUP, check=at_least(1))
    ] = 16
    sharpness: Annotated[
        float,
        Parameter(
            "Steepness for smooth-levels, per unit of logit; larger is closer to levels.",
            "S",
            group=_GROUP,
            check=positive,
        ),
    ] = 20.0
    seed: Annotated[int, Parameter("Seed of the random draws of sampled.", "N", group=_GROUP)] = 0
    tolerance: Annotated[
        float,
        Parameter(
            "Without --iterations, methods under which probabilities fade (multilinear, product, ...) stop when "
            "one iteration's summed change is at most this share of the input's sum; masks and other methods go on "
            "until nothing changes.",
            "SHARE",
            group=_GROUP,
            check=at_least(0),
        ),
    ] = 0.02
    max_iterations: Annotated[
        int,
        Parameter(
            "Stop here, with a warning, if nothing else stops before.", "N", group=_GROUP, check=at_least(1)
        ),
    ] = 1000
    device: Annotated[
        str,
        Parameter(
            "auto (the CPU; of a shape prior CUDA, if there is one), cpu, cuda or cuda:N.",
            "DEVICE",
            group=_GROUP,
            words=DEVICES,
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        Parameter("CPU threads. (default: what affinity, cgroup and SLURM allow)", "N", group=_GROUP),
    ] = None

    def __post_init__(self) -> None:
        """Check the values of the settings.

        Raises:
            UsageError: If a value is out of range, or two values exclude each other.
        """
        from softmorph_cli.kernels.bitplanes import check_count

        check_all(self)
        method = None if self.method is None else self._found
        other = method is not None and method.scheme is not Scheme.NESTED
        if self.levels == "exact" and other:
            raise UsageError(
                f"{named('levels', 'exact')} goes with {named('method', 'nested')}; others take a number."
            )
        if self.levels is not None and self.levels != "exact":
            # As an int: comparing a NumPy integer with "exact" fails.
            object.__setattr__(self, "levels", check_count(self.levels))
        if self.surrogate and (other or self.levels == "exact"):
            raise UsageError("surrogate=True goes with method nested and a number of levels; leave it out.")

    @classmethod
    def of(cls, chosen: Settings) -> Settings:
        """Return the settings of a filter, without the parameters of its operation."""
        return Settings(*(getattr(chosen, field.name) for field in fields(Settings)))

    @property
    def _found(self) -> Method:
        return find(self.method)

    @property
    def planes(self) -> int:
        """The number of binary images (level sets or random draws) of the methods `levels` and `sampled`."""
        chosen = self.levels_in_force
        assert isinstance(chosen, int)
        return chosen

    @property
    def levels_in_force(self) -> Levels | None:
        """The number of levels or "exact": `levels` or else the method's default; None for a method without levels."""
        own = None if self.method is None else self._found.levels
        return own if own is None or self.levels is None else self.levels

    @property
    def level_sets(self) -> LevelSets | None:
        """For `nested`: the level sets that are filtered exactly; None if every value of the map is a level."""
        from softmorph_cli.kernels.level_sets import LevelSets

        chosen = self.levels_in_force
        return LevelSets(chosen, self.lowest) if isinstance(chosen, int) else None

    @property
    def contrast_in_ranks(self) -> float:
        """For `nested`: `prune_contrast` in whole levels, or as a probability if every value is a level."""
        sets = self.level_sets
        # Rounded up a little, so that 1 / 192 as it is printed is one of 192 levels.
        return (
            float(self.prune_contrast) if sets is None else int(self.prune_contrast * sets.count * (1 + 1e-5))
        )

    def for_hard(self) -> Self:
        """Return the settings of a hard skeleton, which has a single level."""
        return replace(self, method="nested", levels=None, prune_contrast=0.0)

    def check_pruning(self) -> None:
        """Refuse a contrast of less than one level, for `nested`.

        Raises:
            UsageError: If the contrast is above 0 but less than one level.
        """
        if self._found.scheme is Scheme.NESTED and self.prune_contrast and self.contrast_in_ranks == 0:
            raise UsageError(
                f"{named('prune_contrast')} {self.prune_contrast:g} is less than one of {self.levels_in_force} levels: "
                f"type {named('prune_contrast', float(f'{1 / self.planes:g}'))} or more, or {named('levels', 'exact')}."
            )

    def resolved(self, default: str) -> Self:
        """Return the settings with a method: the chosen one, or `default` if none is chosen."""
        return self if self.method is not None else replace(self, method=default)

    def relevant(self, *, until_stable: bool) -> dict[str, Any]:
        """Return the settings that affect the result, by name; `until_stable`: without a number of iterations."""
        match self._found.scheme:
            case Scheme.NESTED:
                chosen: dict[str, Any] = {"levels": self.levels_in_force}
                if self.lowest is not None:
                    chosen["lowest"] = self.lowest
                chosen["finish"] = self.finish and until_stable
                if chosen["finish"] and self.prune_contrast:
                    chosen["prune_contrast"] = self.prune_contrast
            case Scheme.LEVELS:
                chosen = {"levels": self.levels_in_force}
            case Scheme.SAMPLES:
                chosen = {"levels": self.levels_in_force, "seed": self.seed}
            case Scheme.SMOOTH_LEVELS:
                chosen = {"smooth_levels": self.smooth_levels, "sharpness": self.sharpness}
            case _:
                chosen = {}
        if until_stable:
            chosen["max_iterations"] = self.max_iterations
            fading = self._found.scheme in (Scheme.STEPWISE, Scheme.SMOOTH_LEVELS)
            if fading and not self._found.finite:
                chosen["tolerance"] = self.tolerance
        return chosen

    def as_dict(self) -> dict[str, Any]:
        """Return the method and the settings that affect its result, by name, for documents and manifests."""
        method = self._found
        # Manifests of earlier versions contain the tolerance of every step-by-step method.
        tolerance = {"tolerance": self.tolerance} if method.finite else {}
        return {"method": method.name, **self.relevant(until_stable=True), **tolerance}

    def bytes_per_voxel(self, itemsize: int) -> int:
        """Return the memory of a CPU run in bytes per voxel, without the image, whose voxels have `itemsize` bytes."""
        from softmorph_cli.kernels.bitplanes import WORD, word_of

        match None if self.method is None else self._found.scheme:
            case Scheme.NESTED:
                sets = self.level_sets
                planes = 0 if sets is None or len(sets.thresholds) > WORD else word_of(sets.count).itemsize
                # First the packed planes and two alternating buffers; then the values, for each voxel the step at
                # which its neighbourhood last changed, and the lists of voxels above 0; the floor twice.
                floor = 2 * itemsize if self.prune_contrast else 0
                return max(3 * planes + itemsize, 3 * itemsize + 16 + floor)
            case Scheme.LEVELS | Scheme.SAMPLES:
                # The packed planes, two alternating buffers, and the sum.
                return 3 * word_of(self.planes).itemsize + 2 * itemsize
            case Scheme.STEPWISE | None:
                return 3 * itemsize  # two buffers and the result
            case _:
                return 7 * itemsize

    def idle(self, *, until_stable: bool) -> list[str]:
        """Return the names of settings that differ from their defaults but have no effect with the method."""
        relevant = self.relevant(until_stable=until_stable)
        numbers = [
            "levels",
            "lowest",
            "prune_contrast",
            "seed",
            "smooth_levels",
            "sharpness",
            "tolerance",
            "max_iterations",
        ]
        changed = (name for name in numbers if getattr(self, name) != getattr(Settings, name))
        return [name for name in changed if name not in relevant]


class MethodOptions(TypedDict, total=False):
    """Keyword arguments of every function, module and loss, with the meaning and defaults of `Settings`."""

    levels: int | Literal["exact"]
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


@dataclass(frozen=True)
class Result:
    """The result of a filter.

    Attributes:
        image: The filtered image, of the input's kind, shape and floating-point type; uint8 0 and 1 for a mask.
        standard_error: For method `sampled`: the standard error of each voxel's mean, an array like `image`.
        origins: Internal, for method `nested` with exact levels and a gradient: the raster index of the voxel
            from which each voxel's value comes, -1 where the value is 0.
        iterations: The number of iterations (the largest, where images or levels differ).
        stop_reason: "iterations" (the requested number), "stable" (nothing changed), "tolerance" (the change became
            small, further iterations would change more) or "max_iterations" (the upper bound).
        radius: The radius reached along each axis, if one was requested, in the unit of the spacing.
        device: The device: "cpu", "cuda:0", ...
        finished: For `nested` skeletons: whether the level sets were reduced to a width of one voxel.
        warnings: Warnings for the user.
        completed: For `interpolate`: the map on its grid, and which voxels are invented.
        shortfall: If less was reached than requested, the sentence that says so.
        document: Further entries of the step in the JSON document.
    """

    image: Any
    standard_error: Any = None
    origins: Any = None
    iterations: int = 0
    stop_reason: str = "iterations"
    radius: tuple[float, ...] | None = None
    device: str = "cpu"
    finished: bool | None = None
    warnings: tuple[str, ...] = ()
    completed: Completion | None = None
    shortfall: str | None = None
    document: Mapping[str, Any] | None = None


def warn_if_capped(result: Result, settings: Settings) -> Result:
    """Return the result, with a warning if the filter was stopped by the bound `max_iterations`."""
    if result.stop_reason != "max_iterations":
        return result
    capped = f"stopped at the cap of {settings.max_iterations} iterations before it came to rest."
    return replace(result, warnings=(*result.warnings, capped))
