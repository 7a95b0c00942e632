"""A filter as one value: an operation with its parameters, from the command line to the kernel.

Command-line options, the public functions, the torch modules, chains and TOML files, batches, tiles and provenance are
all derived from the dataclasses in `softmorph_cli.filters.operations`, which build on the two classes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Protocol, Self

from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.system.parameters import Declared, Parameter, check_all, declared, named

if TYPE_CHECKING:
    from softmorph_cli.filters.run import Phase
    from softmorph_cli.kernels.level_sets import LevelSets
    from softmorph_cli.volume import Volume

# What the values of a result are.
PROBABILITY, MASK, LABELS = "probability", "mask", "labels"
# Where a filter is typed, which decides how its options are: a command of its own, a chain or batch, tile by tile.
COMMAND, CHAIN, TILES = "command", "chain", "tiles"

Report = Callable[[Progress], None]
Sequences = tuple[tuple["Phase", ...], ...]


class Grid(Protocol):
    """The grid of a map: a volume, or a map that is read in boxes."""

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """As in `Volume`."""

    @property
    def unit(self) -> str | None:
        """As in `Volume`."""

    @property
    def axes(self) -> str:
        """As in `Volume`."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """An operation with its parameters: a frozen value that is checked when it is made.

    A subclass is an operation: its fields are the parameters, each declared once as
    `softmorph_cli.system.parameters.Parameter`.

    Class attributes:
        operation: Its name, as it is typed.
        help: What its command does: one sentence, then more if need be.
        examples: Command lines.
    """

    operation: ClassVar[str]
    help: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If one is wrong whatever the image.
        """
        check_all(self)

    @classmethod
    def keys(cls) -> dict[str, Declared]:
        """Return the parameters of a step, by name: the operation's own, then those of its method."""
        found = {name: one for name, one in declared(cls).items() if one.about.shell and name not in _MACHINE}
        own = {name: one for name, one in found.items() if name not in _SETTINGS}
        return own | found

    @classmethod
    def own_keys(cls) -> dict[str, Declared]:
        """Return the parameters of the operation itself."""
        return {name: one for name, one in cls.keys().items() if name not in _SETTINGS}

    @classmethod
    def make(cls, given: Mapping[str, Any], settings: Settings | None = None) -> Self:
        """Return the filter with these parameters.

        Args:
            given: Values by name; those that are None count as not given.
            settings: How it runs where it does not say itself.

        Raises:
            UsageError: If a value is missing, or one is wrong whatever the image.
        """
        given = {name: value for name, value in given.items() if value is not None}
        cls._check_given(given)
        return cls(**{**cls._of_settings(settings), **given})

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        """Refuse parameters of which one is missing that has no default."""

    @classmethod
    def _of_settings(cls, settings: Settings | None) -> dict[str, Any]:
        return {}

    def given(self, settings: Settings | None = None) -> dict[str, Any]:
        """Return the parameters that are not those of the settings, or else their defaults."""
        usual = {name: one.default for name, one in self.keys().items()} | self._of_settings(settings)
        values = {name: getattr(self, name) for name in self.keys()}
        return {name: value for name, value in values.items() if value != usual[name]}

    def as_json(self) -> dict[str, Any]:
        """Return the filter as plain values, from which `from_json` makes it again."""
        values = {name: (getattr(self, name), one.default) for name, one in declared(type(self)).items()}
        changed = {name: value for name, (value, default) in values.items() if value != default}
        return {"operation": self.operation, **changed}

    @property
    def gives(self) -> str:
        """What the values of a result are: `PROBABILITY`, `MASK` (0 and 1) or `LABELS` (whole numbers)."""
        return PROBABILITY

    @property
    def takes_tiles(self) -> bool:
        """Whether it can be run tile by tile."""
        return False

    @property
    def cuts(self) -> bool:
        """Whether it cuts the map, now or when somebody looks at a level of its result."""
        return False

    @property
    def settings(self) -> Settings | None:
        """How it runs, with its method; None where there is but one way."""
        return None

    @property
    def parameters(self) -> dict[str, Any]:
        """The operation's own parameters as documents and files hold them; None where they are not given."""
        return {name: getattr(self, name) for name in self.own_keys()}

    @property
    def in_force(self) -> dict[str, Any]:
        """The parameters that have an effect, those of the method among them."""
        return {name: value for name, value in self.parameters.items() if value is not None}

    @property
    def method_in_force(self) -> str | None:
        """The method as documents and files name it."""
        return None

    @property
    def radius_unit(self) -> str | None:
        """Unit of the radius that is reached; None for that of the map."""
        return None

    def ineffective(self) -> list[str]:
        """Return a warning for every setting that was changed without effect."""
        return []

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the filter for a map that is exact at these levels, and what a person should know about it."""
        return self, ()

    def _at_level(
        self, threshold: float, levels: LevelSets | Literal["exact"] | None
    ) -> tuple[Self, tuple[str, ...]]:
        from softmorph_cli.kernels.level_sets import at_level

        used, notes = at_level(threshold, levels)
        changes: dict[str, Any] = {"threshold": used} if notes else {}
        return replace(self, **changes), notes

    def on_grid(self, grid: Grid) -> Self:
        """Return the filter with its lengths in the unit of a map."""
        return self

    def prepare(self, volume: Volume) -> Volume:
        """Return the map that the filter is applied to: resampled, or as it is."""
        return volume

    def concerns(self, volume: Volume, place: str = COMMAND) -> list[str]:
        """Return warnings about the map that it is applied to.

        Args:
            volume: The map.
            place: Where the filter is typed: `COMMAND`, `CHAIN` or `TILES`.
        """
        return []

    def remarks(self, before: int, after: int) -> list[str]:
        """Return notes on the numbers of components above 0.5, before and after."""
        return []

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the filter of a map that `prepare` gave.

        Args:
            volume: The map.
            progress: Called after every sub-iteration.

        Raises:
            InputError: If it does not fit the map.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SoftFilter(Settings, Filter):
    """A filter made of Boolean rules, with a choice of methods to make it soft.

    Class attributes:
        default_method: The method where none is chosen.
        finishes_lines: Whether it reduces lines to one voxel's width.
        title: What messages and progress call it.
    """

    spatial_dims: Annotated[int | None, Parameter("2 or 3 where there are leading axes.", shell=False)] = None

    default_method: ClassVar[str]
    finishes_lines: ClassVar[bool] = False
    title: ClassVar[str]

    @classmethod
    def _of_settings(cls, settings: Settings | None) -> dict[str, Any]:
        return {name: getattr(settings or Settings(), name) for name in _SETTINGS}

    @cached_property
    def settings(self) -> Settings:
        """How it runs, with its method."""
        return Settings.of(self.resolved())

    def resolved(self, default: str = "") -> Self:
        """Return the filter with its method, where none is chosen."""
        return super().resolved(default or self.default_method)

    @property
    def takes_tiles(self) -> bool:
        """Whether it can be run tile by tile."""
        return True

    @property
    def until_stable(self) -> bool:
        """Whether it stops by itself."""
        return False

    @property
    def method_in_force(self) -> str | None:
        """The method as documents and files name it."""
        return "binary" if self.gives == MASK else self.settings.method

    @property
    def in_force(self) -> dict[str, Any]:
        """The parameters that have an effect, those of the method among them."""
        chosen = super().in_force
        if self.gives == MASK:
            # Of a hard skeleton, which has no method, only whether it was finished.
            return chosen if self.finish else {**chosen, "finish": False}
        return {**chosen, **self.settings.relevant(until_stable=self.until_stable)}

    def ineffective(self) -> list[str]:
        """Return a warning for every setting that was changed without effect."""
        settings = Settings.of(self).resolved(self.settings.method or "")
        names = settings.idle(until_stable=self.until_stable)
        if self.gives == MASK:
            nested_only = ("levels", "lowest", "prune_contrast")
            changed = (name for name in nested_only if getattr(settings, name) != getattr(Settings, name))
            names.extend(name for name in changed if name not in names)
        nested = self.gives == MASK or settings.method == "nested"
        what = named("hard", True) if self.gives == MASK else f"method {settings.method}"
        if self.gives != MASK and settings.method == "nested" and "prune_contrast" in names:
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
        """Return the phases that the filter runs through; two sequences where it is their difference.

        Args:
            shape: The image's, along its spatial axes.

        Raises:
            SoftmorphError: If the filter does not fit the shape.
        """
        raise NotImplementedError

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the filter of a map."""
        fitted = replace(self.on_grid(volume), spatial_dims=volume.spatial_dims)
        return fitted(volume.array, progress)

    def __call__(self, image: Any, progress: Report | None = None) -> Result:
        """Return the filter of an image, and how it went.

        Args:
            image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
            progress: Called after every sub-iteration.

        Raises:
            InputError: If the image is no probability map, or does not fit the filter.
        """
        raise NotImplementedError


# Where a filter runs: of a whole chain alike.
_MACHINE: Final = ("device", "threads")
_SETTINGS: Final = tuple(declared(Settings))
