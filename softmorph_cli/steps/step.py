"""One step: an operation with its parameters, ready to be applied to any map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Protocol

from softmorph_cli import machine
from softmorph_cli.errors import InputError
from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.level_sets import LevelSets, at_level
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.measure.statistics import Statistics
    from softmorph_cli.tiles.spec import Spec


class Place(Protocol):
    """What tells how large the voxels of a map are: a volume, or blocks of one."""

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """As in `Volume`."""

    @property
    def unit(self) -> str | None:
        """As in `Volume`."""

    @property
    def axes(self) -> str:
        """As in `Volume`."""


# What the values of a result are.
PROBABILITY, MASK, LABELS = "probability", "mask", "labels"
# Where a step is typed, which decides how its options are: a command of its own, a chain or batch, tile by tile.
COMMAND, CHAIN, TILES = "command", "chain", "tiles"


def _as_it_is(volume: Volume) -> Volume:
    return volume


def _nothing(*about: Any) -> list[str]:
    return []


@dataclass(frozen=True)
class Step:
    """An operation with its parameters.

    Attributes:
        operation: Its name, as it is typed.
        parameters: What was asked for, by name; None where it was not.
        settings: How it runs; None where nothing of it applies.
        run: Applies it to an array of probabilities with the map's axes, given the map.
        gives: What the result is: "probability", "mask" (0 and 1) or "labels" (whole numbers).
        until_stable: Whether it stops by itself.
        radius_unit: Unit of the radius it reaches; None for that of the map.
        prepare: Changes the map before (resampling).
        concerns: Warnings about the map it is given, where it is typed as the second argument says.
        remarks: Notes on the statistics before and after.
        at: The same at another threshold; None for a step that has none.
        tiled: The same for maps that are worked on tile by tile, given what is known of the map's place; None where
            the whole map is needed.
    """

    operation: str
    parameters: Mapping[str, Any]
    settings: Settings | None
    run: Callable[[Volume, Settings], Result]
    gives: str = PROBABILITY
    until_stable: bool = False
    radius_unit: str | None = None
    prepare: Callable[[Volume], Volume] = _as_it_is
    concerns: Callable[[Volume, str], list[str]] = field(default=_nothing)
    remarks: Callable[[Statistics, Statistics], list[str]] = field(default=_nothing)
    at: Callable[[float], Step] | None = None
    tiled: Callable[[Place], Spec] | None = None

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Step, tuple[str, ...]]:
        """Return the step for a map that is exact at these levels, and what a person should know about it."""
        if self.at is None:
            return self, ()
        used, told = at_level(self.parameters["threshold"], levels)
        return self.at(used) if told else self, told

    @property
    def method(self) -> str | None:
        """The method's name as the JSON has it."""
        if self.settings is None:
            return None
        return "binary" if self.gives == MASK else self.settings.method

    @property
    def in_force(self) -> dict[str, Any]:
        """The parameters that have an effect, those of the method among them."""
        chosen = {name: value for name, value in self.parameters.items() if value is not None}
        if self.settings is None or self.gives == MASK:
            # Of a hard skeleton, which has no method, only whether it was finished.
            return chosen if self.settings is None or self.settings.finish else {**chosen, "finish": False}
        return {**chosen, **self.settings.relevant(until_stable=self.until_stable)}

    @property
    def cuts(self) -> bool:
        """Whether it cuts the map, now or when somebody looks at a level of its result."""
        return self.operation in ("skeletonize", "threshold")

    def idle(self) -> list[str]:
        """Return a warning for every setting that was changed without effect."""
        if self.settings is None:
            return []
        names = self.settings.idle(until_stable=self.until_stable)
        if self.gives == MASK:
            nested_only = ("levels", "lowest", "prune_contrast")
            changed = (n for n in nested_only if getattr(self.settings, n) != getattr(Settings, n))
            names.extend(name for name in changed if name not in names)
        nested = self.gives == MASK or self.settings.method == "nested"
        if not self.settings.finish and not nested:
            names.append("no-finish")
        what = "--hard" if self.gives == MASK else f"method {self.settings.method}"
        if self.gives != MASK and self.settings.method == "nested" and "prune_contrast" in names:
            what = "a skeleton that is not finished, as with --iterations and --no-finish"
            if self.operation != "skeletonize":
                what = f"{self.operation}, which does not finish lines: use skeletonize"
        return [f"--{name.replace('_', '-')} has no effect with {what}." for name in names]


@dataclass(frozen=True)
class Done:
    """What a step made of a map.

    Attributes:
        volume: The result.
        prepared: The map it was applied to, after `prepare`.
        result: How it went.
        labels: The labels, where the step gives some; the volume then holds what is labelled, as 0 and 1.
        warnings: One sentence each.
    """

    volume: Volume
    prepared: Volume
    result: Result
    labels: Any = None
    warnings: tuple[str, ...] = ()


def perform(
    step: Step,
    volume: Volume,
    *,
    name: str,
    progress: Callable[[Progress], None] | None = None,
    memory: int | None = None,
    place: str = COMMAND,
) -> Done:
    """Apply a step to a map.

    Args:
        step: The step.
        volume: The map.
        name: What the map is called, for messages.
        progress: Called after every sub-iteration.
        memory: Bytes that this one of several workers may use; None for what the machine allows.
        place: Where the step is typed: "command" or "chain".

    Raises:
        InputError: If the step does not fit the map, or not into memory; the sentence begins with the map's name.
    """
    settings = step.settings or Settings()
    try:
        prepared = step.prepare(volume)
        check_memory(prepared, settings, memory, tiled=step.operation if step.tiled is not None else None)
        result = step.run(prepared, replace(settings, progress=progress))
    except InputError as error:
        # What a filter finds wrong with the numbers is wrong with this file.
        raise InputError(f"{name}: {error}") from error
    image = result.image
    labels = image if step.gives == LABELS else None
    if labels is not None:
        image = labels > 0
    return Done(
        volume=prepared.with_array(image.astype(prepared.array.dtype, copy=False)),
        prepared=prepared,
        result=result,
        labels=labels,
        warnings=(*step.idle(), *step.concerns(volume, place), *result.warnings),
    )


def check_memory(volume: Volume, settings: Settings, memory: int | None, *, tiled: str | None = None) -> None:
    """Refuse what cannot fit, before the system kills the process without a word.

    Args:
        volume: The map.
        settings: How it is filtered.
        memory: Bytes that this one of several workers may use; None for what the machine allows.
        tiled: The command that does the same tile by tile, if one does.

    Raises:
        InputError: If it does not fit.
    """
    image = prod(volume.array.shape[-volume.spatial_dims :])

    def taken(settings: Settings) -> int:
        # The input, the result and the result as it is written; while one image runs, its working copies.
        return 3 * volume.array.nbytes + image * settings.bytes_per_voxel(volume.array.itemsize)

    needed, allowed = taken(settings), memory or machine.memory()
    if settings.device in ("auto", "cpu") and allowed is not None and needed > allowed:
        ways = ["use fewer --workers"] if memory else []
        fewer = [
            n
            for n in (32, 16, 8)
            if settings.levels_in_force and taken(replace(settings, levels=n)) <= allowed
        ]
        if fewer:
            ways.append(f"add --levels {fewer[0]}")
        if tiled is not None:
            ways.append(
                f"write a .zarr tile by tile with softmorph {tiled} and --memory {machine.for_tiles()}"
            )
        raise InputError(
            f"this map needs about {needed / 2**30:.1f} GiB, and {allowed / 2**30:.1f} GiB may be used: "
            f"cut out a part with --region{''.join(f', or {way}' for way in ways)}."
        )
