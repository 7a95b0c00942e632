"""The step `simplify`: persistence bars of a map that are shorter than a given length are cancelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Filter, Report
from softmorph_cli.filters.settings import Result
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.steps.repair_job import MaskParameters
from softmorph_cli.system.parameters import Parameter, declared, named

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.volume import Volume

# The classes of each dimension in messages, in 2D and in 3D.
CLASSES: Final = {2: ("components", "holes"), 3: ("components", "loops", "cavities")}


def _above_zero(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UsageError(
            f"{named(name)} {value:g}: it must be above 0 and at most 1, such as {named(name, 0.1)}."
        )


# Of the length of the bars that are cancelled.
PERSISTENCE: Final = Parameter(
    "Cancel components, loops and cavities that last for less than this: birth - death < P. No value changes by more.",
    "P",
    check=_above_zero,
    first=True,
)


@dataclass(frozen=True, kw_only=True)
class Simplify(Filter):
    """A map without short persistence bars, as by `softmorph topology simplify`.

    Each channel and time point is simplified by itself.
    """

    persistence: Annotated[float | None, PERSISTENCE] = None
    connectivity: Annotated[int | None, declared(MaskParameters)["connectivity"].about] = None
    region: Annotated[
        str | None,
        replace(
            declared(ReadOptions)["region"].about,
            help="Change the map in this box only (in voxels, ends may be left out); the bars are those of the box.",
        ),
    ] = None
    # How the values are stored that the result has in its file; None before the last step.
    rounded: Any = None

    operation: ClassVar = "simplify"
    help: ClassVar = "Cancel the components, loops and cavities that last for less than a given persistence."
    examples: ClassVar = ()

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If a parameter is invalid for any image, or the persistence is missing.
        """
        super().__post_init__()
        if self.persistence is None:
            raise UsageError("simplify needs a persistence, as in simplify:persistence=0.1.")

    @property
    def length(self) -> float:
        """The length below which bars are cancelled."""
        assert self.persistence is not None  # which is checked when the filter is made
        return self.persistence

    def written_as(self, rounded: Callable[[Any], Any]) -> Simplify:
        """Return the filter for a result that is written: it has no short bars after rounding either."""
        return replace(self, rounded=rounded)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the simplified map; `shortfall` says which short bars are left."""
        import numpy as np

        from softmorph_cli.filters.settings import Progress
        from softmorph_cli.metrics.statistics import change
        from softmorph_cli.topology.simplify import simplify

        dims = volume.spatial_dims
        # Values that a file can hold are exchanged for such values only.
        start = volume.array if self.rounded is None else self.rounded(volume.array)
        # In C order, in which images along several axes are views.
        result = np.array(start, volume.array.dtype, order="C")
        part = self._part(volume)
        before, rounds = self.short(result, volume), 0
        images = result.reshape(-1, *volume.array.shape[-dims:])
        for number, image in enumerate(images, 1):

            def tell(trial: int, most: int, number: int = number) -> None:
                if progress is not None:
                    progress(Progress(self.operation, trial, most, None, number, len(images)))

            made = simplify(image[part], self.length, self.connectivity, progress=tell)
            image[part] = made.array
            rounds += made.rounds
        after = self.short(result, volume)
        document = {
            "reached": not any(after),
            "change": change(volume.array, result),
            "short_bars": {"count_before": before, "count_after": after},
        }
        return Result(
            result,
            iterations=rounds,
            stop_reason="stuck" if any(after) else "reached",
            shortfall=left_over(after, self.length) if any(after) else None,
            document=document,
        )

    def short(self, array: npt.NDArray[Any], volume: Volume) -> list[int]:
        """Return the numbers of short bars of each dimension of an array on the grid of a map, over all its images."""
        from softmorph_cli.topology.persistence import bars
        from softmorph_cli.topology.simplify import short_bars

        part, spatial = self._part(volume), volume.array.shape[-volume.spatial_dims :]
        counted = [
            short_bars(bars(image[part], self.connectivity), self.length)
            for image in array.reshape(-1, *spatial)
        ]
        return [sum(numbers) for numbers in zip(*counted, strict=True)]

    def _part(self, volume: Volume) -> tuple[slice, ...]:
        """Return the part of each image of a map that is simplified."""
        from softmorph_cli.io.select import box

        if self.region is None:
            return (slice(None),) * volume.spatial_dims
        return box(self.region, volume.spatial_axes, volume.array.shape[-volume.spatial_dims :], "the map")


def left_over(short: list[int], persistence: float) -> str:
    """Return the sentence that says how many short bars of each dimension are left."""
    counted = ", ".join(f"{number:,} {name}" for number, name in zip(short, CLASSES[len(short)], strict=True))
    told = f"simplify: bars shorter than {persistence:g} are left of {counted}."
    if len(short) == 3 and not (short[0] or short[2]):
        searched = f"The search for changes of at most {persistence:g} in each voxel"
        told += f" {searched} has found none that cancel these loops."
    return told
