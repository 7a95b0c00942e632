"""What a caller can choose about how a filter runs, whatever the filter."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypedDict

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.defaults import ANY_RULE, INCREASING, THINNING
from softmorph_cli.system.parameters import Parameter, at_least, below_one, check_all, named, positive

if TYPE_CHECKING:
    from softmorph_cli.filters.method import Method
    from softmorph_cli.kernels.level_sets import Levels, LevelSets

_HOW: Final = "Method and machine"


def _levels(text: str) -> Levels:
    from softmorph_cli.kernels.level_sets import parse_levels

    return parse_levels(text)


@dataclass(frozen=True)
class Progress:
    """How far a filter is; passed to the callback after every sub-iteration.

    Attributes:
        operation: What is running, for people.
        iteration: The iteration under way, from 1.
        iterations: How many there will be, or None until nothing changes.
        changed: Voxels that the last sub-iteration altered (for levels: in any of them); None of erosions and
            dilations, several of which are done at once.
        part: Which image, level or group of levels this is, from 1.
        parts: How many of them there are.
    """

    operation: str
    iteration: int
    iterations: int | None
    changed: int | None
    part: int
    parts: int


@dataclass(frozen=True)
class Settings:
    """How a filter runs.

    Attributes:
        method: Name of a method; None for the filter's own, see `softmorph_cli.filters.defaults`.
        levels: For `nested`, `levels` and `sampled`: how many binary images; 8, 16, 32 or a multiple of 64. For
            `nested` also "exact": every value of the map is a level. None for the method's own number.
        lowest: For `nested`: values up to here are background; None for 1 / (2 levels), 0 with "exact".
        finish: For `nested` skeletons: whether the thinned level sets are reduced to one voxel's width.
        prune_contrast: For `nested` skeletons that are finished: loops and cavities that a level lower by up to
            this much probability fills are opened, so that their fillings are thinned; every component, loop and
            cavity of higher persistence stays. 0 prunes nothing.
        surrogate: For `nested` with a number of levels: whether a voxel that is cut to the top of its bin hands its
            gradient on to itself as one that keeps its value does. That is no derivative, which is 0 there.
        smooth_levels: For `smooth-levels`: how many levels.
        sharpness: For `smooth-levels`: steepness of the sigmoid on the logit scale.
        seed: For `sampled`.
        tolerance: For the step-by-step methods without a number of iterations, where probabilities fade and never come
            to rest: stop when one iteration's summed change is at most this share of the input's sum. Binary images,
            `minmax` and `drastic` run until nothing changes; `smooth-levels` also until no level set does.
        max_iterations: A cap that ends runaways.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: On the CPU; None for as many as the machine allows.
    """

    method: Annotated[
        str | None,
        Parameter(
            "How the binary filter is made soft: nested, multilinear, product, minmax, lukasiewicz, einstein, "
            "hamacher, drastic, levels, smooth-levels, sampled; skeletonize also cldice. "
            f"(default: {THINNING} for skeletonize, {INCREASING} for the others; for apply {INCREASING} if the rule is "
            f"increasing, else {ANY_RULE})",
            flags=("--method", "-m"),
            group=_HOW,
        ),
    ] = None
    levels: Annotated[
        int | Literal["exact"] | None,
        Parameter(
            "Level sets for nested, levels and sampled: 8, 16, 32 or a multiple of 64; for nested also exact, "
            "which takes every value of the map as a level. (default: nested 16, levels and sampled 64)",
            "N",
            group=_HOW,
            parse=_levels,
        ),
    ] = None
    lowest: Annotated[
        float | None,
        Parameter(
            "For nested: values up to P are background. (default: half of the first level)",
            "P",
            group=_HOW,
            check=below_one,
        ),
    ] = None
    finish: Annotated[
        bool,
        Parameter(
            "For nested and --hard: reduce lines to one voxel's width at the end.",
            flags=("--finish/--no-finish",),
            group=_HOW,
        ),
    ] = True
    prune_contrast: Annotated[
        float,
        Parameter(
            "For nested: open loops and cavities that are filled at a probability lower by up to this.",
            "C",
            group=_HOW,
            check=below_one,
        ),
    ] = 0.0
    surrogate: Annotated[bool, Parameter("Gradients of the voxels that are cut.", shell=False)] = False
    smooth_levels: Annotated[
        int, Parameter("Levels for smooth-levels.", "N", group=_HOW, check=at_least(1))
    ] = 16
    sharpness: Annotated[
        float,
        Parameter(
            "Steepness for smooth-levels, per unit of logit; larger is closer to levels.",
            "S",
            group=_HOW,
            check=positive,
        ),
    ] = 20.0
    seed: Annotated[int, Parameter("Which random draws for sampled.", "N", group=_HOW)] = 0
    tolerance: Annotated[
        float,
        Parameter(
            "Without --iterations, methods under which probabilities fade (multilinear, product, ...) stop when "
            "one iteration's summed change is at most this share of the input's sum; masks and other methods go on "
            "until nothing changes.",
            "SHARE",
            group=_HOW,
            check=at_least(0),
        ),
    ] = 0.02
    max_iterations: Annotated[
        int,
        Parameter(
            "Stop here, with a warning, if nothing else stops before.", "N", group=_HOW, check=at_least(1)
        ),
    ] = 1000
    device: Annotated[str, Parameter("auto (the CPU), cpu, cuda or cuda:N.", "DEVICE", group=_HOW)] = "auto"
    threads: Annotated[
        int | None,
        Parameter("CPU threads. (default: what affinity, cgroup and SLURM allow)", "N", group=_HOW),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the image.

        Raises:
            UsageError: If a value is out of range, or two do not go together.
        """
        from softmorph_cli.filters.method import Scheme
        from softmorph_cli.kernels.bitplanes import check_count

        check_all(self)
        method = None if self.method is None else self._found
        other = method is not None and method.scheme is not Scheme.NESTED
        if self.levels == "exact" and other:
            raise UsageError(
                f"{named('levels', 'exact')} goes with {named('method', 'nested')}; others take a number."
            )
        if self.levels is not None and self.levels != "exact":
            # A NumPy integer would not be told from "exact" later.
            object.__setattr__(self, "levels", check_count(self.levels))
        if self.surrogate and (other or self.levels == "exact"):
            raise UsageError("surrogate=True goes with method nested and a number of levels; leave it out.")

    @classmethod
    def of(cls, chosen: Settings) -> Settings:
        """Return the settings of a filter alone."""
        return Settings(*(getattr(chosen, field.name) for field in fields(Settings)))

    @property
    def _found(self) -> Method:
        """The method in force."""
        from softmorph_cli.filters.method import find

        return find(self.method)

    @property
    def planes(self) -> int:
        """How many binary images `levels` and `sampled` take."""
        chosen = self.levels_in_force
        assert isinstance(chosen, int)
        return chosen

    @property
    def levels_in_force(self) -> Levels | None:
        """The number of levels, the method's own where none is chosen; None where it has none."""
        own = None if self.method is None else self._found.levels
        return own if own is None or self.levels is None else self.levels

    @property
    def level_sets(self) -> LevelSets | None:
        """For `nested`: the levels that are exact; None where all of them are."""
        from softmorph_cli.kernels.level_sets import LevelSets

        chosen = self.levels_in_force
        return LevelSets(chosen, self.lowest) if isinstance(chosen, int) else None

    @property
    def contrast_in_ranks(self) -> float:
        """For `nested`: `prune_contrast` in whole levels, or of probability where all levels are exact."""
        sets = self.level_sets
        # A little more, so that 1 / 192 as it is printed is one of 192 levels.
        levels = 1 if sets is None else sets.count * (1 + 1e-5)
        return float(self.prune_contrast) if sets is None else int(self.prune_contrast * levels)

    def for_hard(self) -> Self:
        """Return the settings of a hard skeleton: one level, which has no height."""
        return replace(self, method="nested", levels=None, prune_contrast=0.0)

    def check_pruning(self) -> None:
        """Refuse, for `nested`, a contrast that is less than one level.

        Raises:
            UsageError: If it is.
        """
        from softmorph_cli.filters.method import Scheme

        if self._found.scheme is Scheme.NESTED and self.prune_contrast and self.contrast_in_ranks == 0:
            raise UsageError(
                f"{named('prune_contrast')} {self.prune_contrast:g} is less than one of {self.levels_in_force} levels: "
                f"type {named('prune_contrast', float(f'{1 / self.planes:g}'))} or more, or {named('levels', 'exact')}."
            )

    def resolved(self, default: str) -> Self:
        """Return the settings with a method: their own, or a default where they have none."""
        return self if self.method is not None else replace(self, method=default)

    def relevant(self, *, until_stable: bool) -> dict[str, Any]:
        """Return the settings that the method listens to, by the names they are typed with.

        Args:
            until_stable: Whether the filter runs without a number of iterations.
        """
        from softmorph_cli.filters.method import Scheme

        match self._found.scheme:
            case Scheme.NESTED:
                chosen: dict[str, Any] = {"levels": self.levels_in_force}
                chosen |= {} if self.lowest is None else {"lowest": self.lowest}
                finishes = self.finish and until_stable
                chosen |= {"finish": finishes}
                chosen |= {"prune_contrast": self.prune_contrast} if finishes and self.prune_contrast else {}
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
        """Return the method and what it can listen to: all that a result depends on."""
        method = self._found
        # Manifests of earlier versions hold it of all step-by-step methods.
        held = {"tolerance": self.tolerance} if method.finite else {}
        return {"method": method.name, **self.relevant(until_stable=True), **held}

    def bytes_per_voxel(self, itemsize: int) -> int:
        """Return what a CPU run holds for each voxel of the image under way, beside the image itself.

        Args:
            itemsize: Bytes of one probability.
        """
        from softmorph_cli.filters.method import Scheme
        from softmorph_cli.kernels.bitplanes import WORD, word_of

        match None if self.method is None else self._found.scheme:
            case Scheme.NESTED:
                sets = self.level_sets
                planes = 0 if sets is None or len(sets.thresholds) > WORD else word_of(sets.count).itemsize
                # First the packed planes and the two buffers that take turns; then the values, for each voxel the
                # step at which its neighbourhood last changed, and the lists of voxels above 0; the floor, twice.
                floor = 2 * itemsize if self.prune_contrast else 0
                return max(3 * planes + itemsize, 3 * itemsize + 16 + floor)
            case Scheme.LEVELS | Scheme.SAMPLES:
                # The packed planes, the two buffers that take turns, and the sum.
                return 3 * word_of(self.planes).itemsize + 2 * itemsize
            case Scheme.STEPWISE | None:
                # Two buffers, and the result.
                return 3 * itemsize
            case _:
                return 7 * itemsize

    def idle(self, *, until_stable: bool) -> list[str]:
        """Return the names of settings that were changed but that the method does not listen to."""
        heard = self.relevant(until_stable=until_stable)
        numbers = (
            "levels",
            "lowest",
            "prune_contrast",
            "seed",
            "smooth_levels",
            "sharpness",
            "tolerance",
            "max_iterations",
        )
        return [
            name for name in numbers if name not in heard and getattr(self, name) != getattr(Settings, name)
        ]


class MethodOptions(TypedDict, total=False):
    """Keyword arguments of every module and loss; their meaning and defaults are those of `Settings`."""

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
    """What a filter gives back.

    Attributes:
        image: Of the input's kind, shape and floating-point type; uint8 0 and 1 from a hard skeleton.
        standard_error: Of the same shape, from `sampled` only: the standard error of each voxel's mean.
        origins: Internal; of a nested filter with exact levels where a gradient is needed: for each voxel the raster
            index of the voxel that its value comes from, -1 where it is 0.
        iterations: How many ran (the largest number, where images or levels differ).
        stop_reason: "iterations" (as many as asked for), "stable" (nothing changed), "tolerance" (the change became
            small, and more iterations would have changed more) or "max_iterations" (the cap was reached).
        radius: The radius reached along each axis, where one was asked for, in the unit of the spacing.
        device: What it ran on: "cpu", "cuda:0", ...
        finished: For `nested` skeletons: whether the level sets were reduced to one voxel's width.
        warnings: What a person should know about this result.
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


def warn_if_capped(result: Result, settings: Settings) -> Result:
    """Return the result with a warning if the cap ended it."""
    if result.stop_reason != "max_iterations":
        return result
    capped = f"stopped at the cap of {settings.max_iterations} iterations before it came to rest."
    return replace(result, warnings=(*result.warnings, capped))
