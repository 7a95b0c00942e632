"""The skeletonization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import CHAIN, COMMAND, MASK, PROBABILITY, TILES, Sequences, SoftFilter
from softmorph_cli.filters.method import Scheme
from softmorph_cli.filters.settings import THINNING, Result, Settings
from softmorph_cli.system.parameters import Parameter, at_least, below_one, named
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.filters.run import FilterJob
    from softmorph_cli.kernels.level_sets import LevelSets
    from softmorph_cli.volume import Volume

# The ratio of voxel sizes from which on a warning is given: thinning counts voxels, not lengths. At 4 lengths are off
# by at most 3 %, see README.md.
UNEVEN: Final = 2.0
# A skeleton with a larger share of the voxels does not consist of lines.
_DENSE: Final = 0.2


def uneven(volume: Volume, place: str = COMMAND, operation: str = "skeletonize") -> list[str]:
    """Return a warning if the voxels of a map that `operation` will thin are far from cubic, see `Filter.concerns`."""
    # Headers hold float32.
    if volume.spacing is None or max(volume.spacing) < UNEVEN * (1 - 1e-6) * min(volume.spacing):
        return []
    sizes = " × ".join(f"{size:g}" for size in volume.spacing)
    cubic = {
        COMMAND: f"add {named('resample', 'iso')} to make them cubic first.",
        CHAIN: f'{operation}:resample=iso (in TOML resample = "iso") makes them cubic first.',
        TILES: "where the map fits into memory, softmorph resample makes them cubic first.",
    }
    return [
        f"voxels are {sizes} {sign(volume.unit or '')}".rstrip()
        + f": thinning counts voxels, not lengths; {cubic[place]}"
    ]


def _only_iso(name: str, value: str) -> None:
    if value != "iso":
        raise UsageError(f"{named(name)} {value}: only iso is known.")


def _presets() -> Iterable[str]:
    from softmorph_cli.filters.skeleton import PRESETS

    return PRESETS


@dataclass(frozen=True, kw_only=True)
class Skeleton(SoftFilter):
    """Soft skeleton; by default with method "nested", a centreline at each of its levels.

    At each of L levels t_k (1/(2L), 1/L, 2/L, ...) the set {result > t_k} is a centreline, one voxel wide, with the
    components, loops and cavities of {image > t_k}; it contains the centrelines of higher levels. With `hard` it is the
    exact binary skeleton of {p > threshold}, uint8 0 and 1, without method, preset and iterations. (The module
    `SoftSkeletonizer` has method "smooth-levels".)

    Source: 3D, Palágyi & Kuba (1998); 2D and the soft forms, Guzzi et al. (2024); clDice, Shit et al. (2021).

    >>> import numpy as np
    >>> image = np.pad(np.full((3, 7), 0.6), 1)
    >>> print(skeletonize(image, hard=True))
    [[0 0 0 0 0 0 0 0 0]
     [0 0 0 0 0 0 0 0 0]
     [0 1 1 1 1 1 1 0 0]
     [0 0 0 0 0 0 0 0 0]
     [0 0 0 0 0 0 0 0 0]]
    """

    iterations: Annotated[
        int | None,
        Parameter(
            "Exact number of iterations. (default: until nothing changes, or by less than --tolerance; "
            "cldice 10)",
            "N",
            ("--iterations", "-n"),
            check=at_least(1),
        ),
    ] = None
    hard: Annotated[
        bool,
        Parameter(
            "Write the exact binary centreline of p > --threshold instead, as uint8 0 and 1.", first=True
        ),
    ] = False
    threshold: Annotated[
        float | None,
        Parameter(
            "Probability above which --hard counts a voxel as foreground. (default: 0.5)",
            "P",
            check=below_one,
            first=True,
        ),
    ] = None
    preset: Annotated[
        str | None,
        Parameter("A paper's settings: softmorph-2d, softmorph-3d or cldice.", "NAME", words=_presets),
    ] = None
    resample: Annotated[
        str | None,
        Parameter(
            "iso: first interpolate to cubic voxels of the finest spacing; OUT is on that grid.",
            "iso",
            check=_only_iso,
        ),
    ] = None

    operation: ClassVar = "skeletonize"
    title: ClassVar = "skeleton"
    default_method: ClassVar = THINNING
    finishes_lines: ClassVar = True
    cuts: ClassVar = True
    help: ClassVar = """Soft skeleton: at each of its levels a centreline, one voxel wide.

    OUT > t has the components, loops and cavities of IN > t for t = 1/(2L), 1/L, 2/L, ... (L is --levels, 16), and
    holds the centrelines of the levels above. For the mask of a single centreline use --hard.
    """
    examples: ClassVar = (
        "softmorph skeletonize vessels.nii.gz skeleton.nii.gz --preview skeleton.png",
        "softmorph skeletonize vessels.tif centreline.tif --hard --threshold 0.4",
    )

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If one is invalid for any image, or two exclude each other.
        """
        super().__post_init__()
        if self.hard and (self.method or self.preset or self.iterations is not None):
            raise UsageError(
                f"{named('hard', True)} is the exact binary skeleton: it goes without {named('method')}, "
                f"{named('preset')} and {named('iterations')}."
            )
        if self.threshold is not None and not self.hard:
            raise UsageError(
                f"{named('threshold')} goes with {named('hard', True)}: a soft skeleton has none."
            )
        if not self.hard and self.resolved().iterations is None and self.finish:
            self.settings.check_pruning()

    @cached_property
    def settings(self) -> Settings:
        """Its settings, with a method: a hard skeleton is a nested one of a single level."""
        return Settings.of(self).for_hard() if self.hard else super().settings

    def resolved(self, default: str = "") -> Self:
        """Return the filter with its method and the iterations of its preset.

        Raises:
            UsageError: If there is no such preset, or it excludes the method.
        """
        if self.hard:
            return self
        if self.preset is None:
            return super().resolved(default)
        from softmorph_cli.filters.skeleton import resolve_preset

        method, iterations = resolve_preset(self.preset, self.method, self.iterations)
        return replace(self, preset=None, method=method, iterations=iterations)

    @property
    def cut(self) -> float:
        """The threshold of the hard skeleton."""
        return 0.5 if self.threshold is None else self.threshold

    @property
    def gives(self) -> str:
        """The kind of a result's values."""
        return MASK if self.hard else PROBABILITY

    @property
    def until_stable(self) -> bool:
        """Whether it runs until nothing changes."""
        return self.resolved().iterations is None and self.settings.method != "cldice"

    @property
    def parameters(self) -> dict[str, Any]:
        """The operation's own parameters as in documents and provenance."""
        return {
            "iterations": self.resolved().iterations,
            "hard": self.hard or None,
            "threshold": self.cut if self.hard else None,
            "preset": self.preset,
            "resample": self.resample,
        }

    @property
    def takes_tiles(self) -> bool:
        """Whether it can be run tile by tile."""
        return self.resample is None

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the hard skeleton at the nearest of a map's exact levels, and a note on it."""
        # A resampled map has no exact levels.
        if not self.hard or self.resample is not None:
            return self, ()
        return self._at_level(self.cut, levels)

    def prepare(self, volume: Volume) -> Volume:
        """Return the map to be thinned, resampled to cubic voxels if requested."""
        if self.resample is None:
            return volume
        from softmorph_cli.filters.resample import isotropic

        return isotropic(volume)

    def concerns(self, volume: Volume, place: str = COMMAND) -> list[str]:
        """Return warnings about the map that it is applied to."""
        return [] if self.resample else uneven(volume, place)

    def remarks(self, before: int, after: int) -> list[str]:
        """Return notes on the numbers of components above 0.5 before and after."""
        if self.hard or after <= before:
            return []
        if self.settings.method == "nested":
            # Its levels keep lines whole; only these options change them.
            return [
                f"the components above 0.5 are pieces of curves, because {named('renormalize', True)} or "
                f"{named('argmax', True)} changed the values: leave it out."
            ]
        return [
            "a soft skeleton is a map of certainty, and a threshold on it breaks lines: the components above 0.5 "
            f"are pieces of curves. To keep lines whole, add {named('method', 'nested')} (at each of its levels) or "
            f"{named('hard', True)} (at one threshold; in a chain skeletonize:hard)."
        ]

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases: thinning, then finishing if it runs until nothing changes.

        Raises:
            InputError: If the preset is for other dimensions.
        """
        from softmorph_cli.filters.skeleton import check_dimensions, thinning_phases

        check_dimensions(self.preset, len(shape))
        return (thinning_phases(len(shape), self.settings, self.resolved().iterations),)

    def run_image(self, jobs: Sequence[FilterJob], image: Any, dimensions: int) -> Result:
        """Return the skeleton of one image."""
        from softmorph_cli.filters import skeleton
        from softmorph_cli.filters.run import nested, nested_binary, run

        (job,) = jobs
        if self.hard:
            return skeleton.mark_finished(nested_binary(job, image, self.cut), job.phases)
        match job.method.scheme:
            case Scheme.POOLING:
                iterations = self.resolved().iterations or skeleton.CLDICE_ITERATIONS
                return skeleton.cldice(job, image, iterations, dimensions)
            case Scheme.NESTED:
                return skeleton.mark_finished(nested(job, image), job.phases)
            case Scheme.LEVELS | Scheme.SAMPLES:
                # Level sets are thinned exactly: a low maximum is then a property of the map.
                return run(job, image)
        return skeleton.warn_if_faded(job.backend, run(job, image), image, dimensions)

    def _findings(self, image: Any, result: Any) -> list[str]:
        """Return a warning if the skeleton is empty, or contains the background."""
        import numpy as np

        settings, threshold = self.settings, self.cut
        if not self.hard:
            sets = settings.level_sets if settings.method == "nested" else None
            threshold = (settings.lowest or 0.0) if sets is None else float(sets.thresholds[0])
        largest, share = image.max(initial=0), np.count_nonzero(result) / max(result.size, 1)
        if share == 0 and 0 < largest <= threshold:
            return [
                f"the skeleton is empty: nothing is above {threshold:g}, the largest value is {largest:.4g}."
            ]
        if settings.levels == "exact" and settings.lowest is None and share > _DENSE:
            return [
                f"{share:.0%} of the voxels are above 0 in the skeleton, since all values are levels: with "
                f"{named('lowest', 0.01)} the background is left out."
            ]
        return []
