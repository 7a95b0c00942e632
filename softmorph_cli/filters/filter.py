"""Base classes of filters: an operation with its parameters as one frozen value.

Command-line options, the public functions, the torch modules, chains and TOML files, batches, tiles and provenance are
derived from the subclasses in `softmorph_cli.filters.operations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Protocol, Self

from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.system.parameters import Declared, Parameter, check_all, declared, named

if TYPE_CHECKING:
    from softmorph_cli.filters.run import FilterJob, Phase
    from softmorph_cli.kernels.level_sets import LevelSets
    from softmorph_cli.volume import Volume

# The kind of a result's values.
PROBABILITY, MASK, LABELS = "probability", "mask", "labels"
# Where a filter is typed, which decides what advice can be given: a command, a chain or batch, a run in tiles.
COMMAND, CHAIN, TILES = "command", "chain", "tiles"
# Parameters that are the same for all steps of a chain, and change no document.
MACHINE: Final = ("device", "threads")

Report = Callable[[Progress], None]
Sequences = tuple[tuple["Phase", ...], ...]


class Grid(Protocol):
    """The grid of a `Volume`, or of a map that is read in boxes."""

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """The voxel size along each spatial axis, in array order; None if unknown."""

    @property
    def unit(self) -> str | None:
        """The unit of `spacing`; None if unknown."""

    @property
    def axes(self) -> str:
        """The letters of the array axes, ending in "YX" or "ZYX"; for example "TCZYX"."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter: an operation with its parameters, which are checked when the filter is made.

    The fields of a subclass are the operation's parameters, each declared as
    `softmorph_cli.system.parameters.Parameter`.

    Class attributes:
        operation: The name of the operation, which is that of its command.
        help: The help text of the command; its first line is one sentence.
        examples: Command lines that show the use of the command.
        cuts: Whether the filter applies a threshold to the map, or its result is read level by level.
    """

    operation: ClassVar[str]
    help: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    cuts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters of this filter.

        Raises:
            UsageError: If a parameter is invalid for any image.
        """
        check_all(self)

    @classmethod
    def keys(cls) -> dict[str, Declared]:
        """Return the parameters of a step of a chain by name: those of the operation, then those of its method."""
        found = {name: one for name, one in declared(cls).items() if one.about.shell and name not in MACHINE}
        return cls._own(found) | found

    @classmethod
    def own_keys(cls) -> dict[str, Declared]:
        """Return the parameters of the operation, without those of its method."""
        return cls._own(cls.keys())

    @classmethod
    def options(cls) -> dict[str, Declared]:
        """Return the parameters of the operation's command, without those of its method."""
        return cls._own({name: one for name, one in declared(cls).items() if one.about.shell})

    @classmethod
    def _own(cls, keys: Mapping[str, Declared]) -> dict[str, Declared]:
        # An operation that has no settings may have a parameter of the same name.
        shared = _SETTINGS if issubclass(cls, Settings) else ()
        return {name: one for name, one in keys.items() if name not in shared}

    @classmethod
    def make(cls, given: Mapping[str, Any], settings: Settings | None = None) -> Self:
        """Return a filter of this operation with the given parameters.

        Args:
            given: Values of parameters by name; None stands for a parameter that is not given.
            settings: Settings (method, levels, device, ...) whose values replace the defaults of parameters not given.

        Raises:
            UsageError: If a required value is missing, or a value is invalid for any image.
        """
        given = {name: value for name, value in given.items() if value is not None}
        cls._check_given(given)
        return cls(**{**cls._of_settings(settings), **given})

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        """Raise UsageError if a required parameter is missing; here none is required."""

    @classmethod
    def _of_settings(cls, settings: Settings | None) -> dict[str, Any]:
        return {}

    def given(self, settings: Settings | None = None) -> dict[str, Any]:
        """Return the parameters whose values differ from those in `settings`, or from their defaults."""
        usual = {name: one.default for name, one in self.keys().items()} | self._of_settings(settings)
        values = {name: getattr(self, name) for name in self.keys()}
        return {name: value for name, value in values.items() if value != usual[name]}

    def as_json(self) -> dict[str, Any]:
        """Return the filter as a JSON document, which `from_json` reads."""
        values = {name: (getattr(self, name), one.default) for name, one in declared(type(self)).items()}
        changed = {name: value for name, (value, default) in values.items() if value != default}
        return {"operation": self.operation, **changed}

    @property
    def gives(self) -> str:
        """The kind of a result's values: `PROBABILITY`, `MASK` (0 and 1) or `LABELS` (whole numbers)."""
        return PROBABILITY

    @property
    def takes_tiles(self) -> bool:
        """Whether this filter can be run tile by tile."""
        return False

    @property
    def settings(self) -> Settings | None:
        """The settings of this filter with its method; None for an operation without methods."""
        return None

    @property
    def parameters(self) -> dict[str, Any]:
        """The operation's own parameters, without those of its method, as in documents; None if not given."""
        return {name: getattr(self, name) for name in self.own_keys()}

    @property
    def in_force(self) -> dict[str, Any]:
        """The parameters that affect the result, including those of the method."""
        return {name: value for name, value in self.parameters.items() if value is not None}

    @property
    def method_in_force(self) -> str | None:
        """The name of the method in documents and provenance; None for an operation without methods."""
        return None

    @property
    def radius_unit(self) -> str | None:
        """The unit of the radius that the filter reaches; None for the map's unit."""
        return None

    def ineffective(self) -> list[str]:
        """Return a warning for every setting that was changed but has no effect."""
        return []

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the filter with its threshold moved to one of `levels`, at which the map is exact, and notes on it."""
        return self, ()

    def _at_level(
        self, threshold: float, levels: LevelSets | Literal["exact"] | None
    ) -> tuple[Self, tuple[str, ...]]:
        from softmorph_cli.kernels.level_sets import at_level

        used, notes = at_level(threshold, levels)
        changes: dict[str, Any] = {"threshold": used} if notes else {}
        return replace(self, **changes), notes

    @property
    def files(self) -> list[Path]:
        """The files that the filter reads beside the map."""
        return []

    def on_grid(self, grid: Grid) -> Self:
        """Return the filter with its lengths in the unit of a grid."""
        return self

    def opened(self, grid_of: Callable[[Path], Volume]) -> Self:
        """Return the filter with the files that it names read; `grid_of` returns the grid of an image as a map."""
        return self

    def written_as(self, rounded: Callable[[Any], Any]) -> Self:
        """Return the filter for a result that is written to a file, as which `rounded` returns an array of values."""
        return self

    def axes_after(self, axes: str) -> str:
        """Return the axes of the result for a map with the given axes."""
        return axes

    def prepare(self, volume: Volume) -> Volume:
        """Return the map that the filter is applied to, which is resampled if the filter requires it."""
        return volume

    def concerns(self, volume: Volume, place: str = COMMAND) -> list[str]:
        """Return warnings about a map; `place` is `COMMAND`, `CHAIN` or `TILES`, where the filter was typed."""
        return []

    def remarks(self, before: int, after: int) -> list[str]:
        """Return notes on the numbers of components above 0.5 before and after the filter."""
        return []

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the result of this filter for a map that the method `prepare` has returned.

        Args:
            volume: The map.
            progress: Callback that is called after every sub-iteration.

        Raises:
            InputError: If the filter does not fit the map.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SoftFilter(Settings, Filter):
    """A filter made of Boolean rules, which a method makes soft.

    Class attributes:
        default_method: The name of the method that is used if none is chosen.
        finishes_lines: Whether the filter reduces lines to a width of one voxel.
        title: The name of the filter in messages and progress reports; "" for the name of its rule.
    """

    spatial_dims: Annotated[int | None, Parameter("2 or 3 where there are leading axes.", shell=False)] = None

    default_method: ClassVar[str]
    finishes_lines: ClassVar[bool] = False
    title: ClassVar[str] = ""

    @classmethod
    def _of_settings(cls, settings: Settings | None) -> dict[str, Any]:
        return {name: getattr(settings or Settings(), name) for name in _SETTINGS}

    @cached_property
    def settings(self) -> Settings:
        """The settings of this filter, with its method."""
        return Settings.of(self.resolved())

    def resolved(self, default: str = "") -> Self:
        """Return the filter with the default method if none is chosen."""
        return super().resolved(default or self.default_method)

    @property
    def takes_tiles(self) -> bool:
        """Whether this filter can be run tile by tile."""
        return True

    @property
    def until_stable(self) -> bool:
        """Whether this filter runs until nothing changes, not for a number of iterations."""
        return False

    @property
    def method_in_force(self) -> str | None:
        """The name of the method in documents and provenance, "binary" for a hard skeleton."""
        return "binary" if self.gives == MASK else self.settings.method

    @property
    def in_force(self) -> dict[str, Any]:
        """The parameters that affect the result, including those of the method."""
        chosen = super().in_force
        if self.gives == MASK:
            # A hard skeleton has no method: of its settings only `finish` counts.
            return chosen if self.finish else {**chosen, "finish": False}
        return {**chosen, **self.settings.relevant(until_stable=self.until_stable)}

    def ineffective(self) -> list[str]:
        """Return a warning for every setting that was changed but has no effect."""
        settings, mask = Settings.of(self).resolved(self.settings.method or ""), self.gives == MASK
        names = settings.idle(until_stable=self.until_stable)
        if mask:
            nested_only = ("levels", "lowest", "prune_contrast")
            changed = (name for name in nested_only if getattr(settings, name) != getattr(Settings, name))
            names.extend(name for name in changed if name not in names)
        nested = mask or settings.method == "nested"
        what = named("hard", True) if mask else f"method {settings.method}"
        if not mask and nested and "prune_contrast" in names:
            what = (
                f"a skeleton that is not finished, as with {named('iterations')} and {named('finish', False)}"
            )
            if not self.finishes_lines:
                what = f"{self.operation}, which does not finish lines: use skeletonize"
        typed = [named(name) for name in names]
        if not settings.finish and not nested:
            typed.append(named("finish", False))
        return [f"{option} has no effect with {what}." for option in typed]

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases (a rule with its iterations) for an image of a spatial shape, as one sequence or two.

        Two sequences mean that the filter is the difference of their results.

        Raises:
            SoftmorphError: If the filter does not fit the shape.
        """
        raise NotImplementedError

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the result of this filter for a map, with warnings about the result."""
        from softmorph_cli.filters.arrays import filter_array

        fitted = replace(self.on_grid(volume), spatial_dims=volume.spatial_dims)
        result = filter_array(fitted, volume.array, progress)
        return replace(result, warnings=(*result.warnings, *self._findings(volume.array, result.image)))

    def _findings(self, image: Any, result: Any) -> list[str]:
        """Return warnings about the result for a map."""
        return []

    def __call__(self, image: Any, progress: Report | None = None) -> Result:
        """Return the result of this filter for every image of a NumPy array or torch tensor."""
        from softmorph_cli.filters.arrays import filter_array

        return filter_array(self, image, progress)

    def run_image(self, jobs: Sequence[FilterJob], image: Any, dimensions: int) -> Result:
        """Return the result of this filter for one image.

        Args:
            jobs: One job for each of the sequences that `phases` returns.
            image: Probabilities as an array of the backend; several images where the backend takes a batch.
            dimensions: The number of spatial dimensions, 2 or 3.
        """
        from softmorph_cli.filters.run import run, run_difference

        return run(jobs[0], image) if len(jobs) == 1 else run_difference(jobs[0], jobs[1], image)


_SETTINGS: Final = tuple(declared(Settings))
