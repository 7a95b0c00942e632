"""Every operation: its name, parameters, help and examples. What computes them lies in the files beside this one.

A new operation is a class here, and where Python should have it a line in `softmorph_cli.api.filters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from softmorph_cli import lengths
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters import defaults
from softmorph_cli.filters.filter import (
    LABELS,
    MASK,
    PROBABILITY,
    Filter,
    Grid,
    Report,
    Sequences,
    SoftFilter,
)
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.parameters import Parameter, at_least, below_one, named
from softmorph_cli.rules.rule import Rule
from softmorph_cli.units import millimetres

if TYPE_CHECKING:
    from softmorph_cli.level_sets import LevelSets
    from softmorph_cli.measure.statistics import Statistics
    from softmorph_cli.volume import Volume

# Thinning takes voxels off one by one, so it follows the grid, not the world.
UNEVEN: Final = 1.5
# A skeleton of a larger share of the voxels is none of lines.
_DENSE: Final = 0.2


def uneven(volume: Volume) -> list[str]:
    """Warn of a map whose voxels are far from cubic, before it is thinned."""
    if volume.spacing is None or max(volume.spacing) <= UNEVEN * min(volume.spacing):
        return []
    sizes = " × ".join(f"{size:g}" for size in volume.spacing)
    return [
        f"voxels are {sizes} {volume.unit or ''}".rstrip()
        + f": thinning counts voxels, not lengths; add {named('resample', 'iso')} to make them cubic first."
    ]


def _only_iso(name: str, value: str) -> None:
    if value != "iso":
        raise UsageError(f"{named(name)} {value}: only iso is known.")


@dataclass(frozen=True, kw_only=True)
class Skeleton(SoftFilter):
    """Soft skeleton; by default with method "nested", a centreline at each of its levels.

    At each of L levels t_k (1/(2L), 1/L, 2/L, ...) the set {result > t_k} is a centreline, one voxel wide, with
    the components, loops and cavities of {image > t_k}; it holds the centrelines of the levels above. With `hard` it is
    the exact binary skeleton of {p > threshold}, uint8 0 and 1, without method, preset and iterations. (The module
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
            "Exactly this many. (default: until nothing changes, or by less than --tolerance; cldice 10)",
            "N",
            ("--iterations", "-n"),
            check=at_least(1),
        ),
    ] = None
    hard: Annotated[
        bool,
        Parameter("Write the exact binary centreline of p > --threshold instead, as uint8 0 and 1."),
    ] = False
    threshold: Annotated[
        float | None,
        Parameter(
            "Probability above which --hard counts a voxel as foreground. (default: 0.5)",
            "P",
            check=below_one,
        ),
    ] = None
    preset: Annotated[
        str | None, Parameter("A paper's settings: softmorph-2d, softmorph-3d or cldice.", "NAME")
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
    default_method: ClassVar = defaults.THINNING
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
            UsageError: If one is wrong whatever the image, or two exclude each other.
        """
        super().__post_init__()
        if self.hard and (self.method or self.preset or self.iterations is not None):
            without = f"{named('method')}, {named('preset')} and {named('iterations')}"
            raise UsageError(
                f"{named('hard', True)} is the exact binary skeleton: it goes without {without}."
            )
        if self.threshold is not None and not self.hard:
            raise UsageError(
                f"{named('threshold')} goes with {named('hard', True)}: a soft skeleton has none."
            )
        if not self.hard and self.resolved().iterations is None and self.finish:
            self.settings.check_pruning()

    @cached_property
    def settings(self) -> Settings:
        """How it runs, with its method: a hard skeleton is a nested one of a single level."""
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
        """What the values of a result are."""
        return MASK if self.hard else PROBABILITY

    @property
    def until_stable(self) -> bool:
        """Whether it stops by itself."""
        return self.resolved().iterations is None and self.settings.method != "cldice"

    @property
    def parameters(self) -> dict[str, Any]:
        """The operation's own parameters as documents and files hold them."""
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

    @property
    def cuts(self) -> bool:
        """Whether it cuts the map, now or when somebody looks at a level of its result."""
        return True

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the hard skeleton at the nearest level of a map that is exact at these, and a note on it."""
        # What is resampled first has no levels any more.
        if not self.hard or self.resample is not None:
            return self, ()
        return self._at_level(self.cut, levels)

    def prepare(self, volume: Volume) -> Volume:
        """Return the map that is thinned: resampled to cubic voxels, or as it is."""
        if self.resample is None:
            return volume
        from softmorph_cli.filters.resample import isotropic

        return isotropic(volume)

    def concerns(self, volume: Volume) -> list[str]:
        """Return warnings about the map that it is applied to."""
        return [] if self.resample else uneven(volume)

    def remarks(self, before: Statistics, after: Statistics) -> list[str]:
        """Return notes on the statistics before and after."""
        if self.hard or after.components_above_half <= before.components_above_half:
            return []
        return [
            "a soft skeleton is a map of certainty, and a threshold on it breaks lines: the components above 0.5 "
            f"are pieces of curves. To keep lines whole, add {named('method', 'nested')} (at each of its levels) or "
            f"{named('hard', True)} (at one threshold)."
        ]

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases: thinning, and where it runs to the end finishing."""
        from softmorph_cli.filters.skeleton import phases

        return phases(self, shape)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the skeleton of a map, with warnings where it is empty or everywhere."""
        result = super().run(volume, progress)
        about = self._about(volume.array, result.image)
        return replace(result, warnings=(*result.warnings, *about))

    def __call__(self, image: Any, progress: Report | None = None) -> Result:
        """Return the skeleton of an image, and how it went."""
        from softmorph_cli.filters.skeleton import thinning

        return thinning(self, image, progress)

    def _about(self, image: Any, skeleton: Any) -> list[str]:
        """Return what to say of a skeleton that is empty, or has all of a background in it."""
        import numpy as np

        settings, threshold = self.settings, self.cut
        if not self.hard:
            sets = settings.level_sets if settings.method == "nested" else None
            threshold = (settings.lowest or 0.0) if sets is None else float(sets.thresholds[0])
        largest, share = image.max(initial=0), np.count_nonzero(skeleton) / max(skeleton.size, 1)
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


# Of the default method of the increasing operations.
_EXACT: Final = "Every threshold of OUT is exactly the binary filter of that threshold of IN."

# Erosions and dilations, one after the other; an operation is one such sequence, or the difference of two.
_ERODE, _DILATE = "erosion", "dilation"
_IDENTITY: Final[tuple[str, ...]] = ()


def _connectivity(name: str, value: int) -> None:
    if value not in (4, 8, 6, 18, 26):
        raise UsageError(f"connectivity {value}: use 4 or 8 in 2D, 6, 18 or 26 in 3D.")


def _length(name: str, value: float | str) -> None:
    if isinstance(value, str):
        lengths.parse(value, named(name))
    elif not 0 < value < float("inf"):
        raise UsageError(f"{named(name)} {value:g}: it must be positive and finite.")


@dataclass(frozen=True, kw_only=True)
class Morphology(SoftFilter):
    """Erosions and dilations.

    Class attributes:
        sequences: What is done one after the other; of two sequences the result is the first minus the second.
    """

    default_method: ClassVar = defaults.INCREASING
    sequences: ClassVar[tuple[tuple[str, ...], ...]]

    connectivity: Annotated[
        int | None,
        Parameter(
            "Neighbours that count: 4 or 8 in 2D, 6, 18 or 26 in 3D. (default: 4 in 2D, 6 in 3D)",
            flags=("--connectivity", "-c"),
            check=_connectivity,
        ),
    ] = None
    iterations: Annotated[
        int | None,
        Parameter("How often, one voxel each. (default: 1)", "N", ("--iterations", "-n"), check=at_least(1)),
    ] = None
    radius: Annotated[
        float | str | None,
        Parameter(
            "Instead of --iterations: a length with its unit, such as 2.5mm, 300um or 4vox. Each axis gets "
            "floor(radius / voxel size) steps; the radius reached is reported.",
            "LENGTH",
            ("--radius", "-r"),
            check=_length,
        ),
    ] = None
    spacing: Annotated[
        tuple[float, ...] | None,
        Parameter("Voxel size along each spatial axis, in array order; a file says its own.", shell=False),
    ] = None
    unit: Annotated[str | None, Parameter("Unit of the spacing.", shell=False)] = None

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If one is wrong whatever the image.
        """
        super().__post_init__()
        if self.radius is not None and self.iterations is not None:
            raise UsageError(f"give either {named('iterations')} or {named('radius')}, not both.")
        if self.method is not None:
            from softmorph_cli.filters.morphology import check_method

            check_method(self.method)

    @property
    def connectivities(self) -> dict[str, int | None]:
        """Connectivity of erosion and dilation."""
        return dict.fromkeys((_ERODE, _DILATE), self.connectivity)

    @property
    def parameters(self) -> dict[str, Any]:
        """The operation's own parameters as documents and files hold them."""
        each = {f"{name}_connectivity": value for name, value in self.connectivities.items()}
        return {**each, "iterations": self.iterations, "radius": self.radius}

    @property
    def radius_unit(self) -> str | None:
        """Unit of the radius that is reached; None for that of the map."""
        in_voxels = isinstance(self.radius, str) and lengths.parse(self.radius)[1] == "vox"
        return "voxels" if in_voxels else None

    def on_grid(self, grid: Grid) -> Self:
        """Return the filter with its radius in the unit of a map.

        Raises:
            InputError: If the radius has a unit and the map has none.
        """
        fitted = replace(self, spacing=grid.spacing, unit=grid.unit)
        if not isinstance(self.radius, str):
            return fitted
        length = lengths.parse(self.radius, named("radius"))
        if length[1] == "vox":
            dimensions = 3 if grid.axes.endswith("ZYX") else 2
            return replace(self, radius=length[0], spacing=(1.0,) * dimensions, unit="voxels")
        return replace(fitted, radius=lengths.in_unit(length, grid.unit))

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases: erosions and dilations."""
        from softmorph_cli.filters.morphology import phases

        return phases(self, shape)

    def __call__(self, image: Any, progress: Report | None = None) -> Result:
        """Return the filter of an image, and how it went."""
        from softmorph_cli.filters.morphology import operate

        return operate(self, image, progress)


class Erosion(Morphology):
    """Soft erosion: AND over the structuring element; outside the image counts as 1 (Guzzi et al., MICCAI 2024).

    The default method is "minmax": every threshold of the result is the binary erosion of that threshold of the image.
    (`SoftErosion`, as the paper, takes voxels as independent: "multilinear".) Of an array, `radius` is a
    number in the unit of `spacing`; of a `Volume` or a file a length may also be given with its unit, "2mm".

    >>> import numpy as np
    >>> erosion(np.array([[0.9, 0.9, 0.2, 0.9]]))
    array([[0.9, 0.2, 0.2, 0.2]])
    """

    operation, title = "erode", "erosion"
    sequences = ((_ERODE,),)
    help = f"Soft erosion: the least value within the structuring element. {_EXACT}"
    examples = (
        "softmorph erode vessels.nii.gz core.nii.gz --radius 1.5mm",
        "softmorph erode roads.png thin.png --iterations 2 --connectivity 8",
    )


class Dilation(Morphology):
    """Soft dilation: OR over the structuring element; outside the image counts as 0. As `erosion`.

    The default method is "minmax" (`SoftDilation`, as the paper: "multilinear").

    >>> import numpy as np
    >>> dilation(np.array([[0.0, 0.0, 0.7, 0.0]]))
    array([[0. , 0.7, 0.7, 0.7]])
    """

    operation, title = "dilate", "dilation"
    sequences = ((_DILATE,),)
    help = f"Soft dilation: the greatest value within the structuring element. {_EXACT}"
    examples = (
        "softmorph dilate vessels.nii.gz wide.nii.gz --radius 1.5mm",
        "softmorph dilate roads.png wide.png --connectivity 8 --method minmax",
    )


@dataclass(frozen=True, kw_only=True)
class TwoElements(Morphology):
    """Erosions and dilations, of which each may have a connectivity of its own."""

    erosion_connectivity: Annotated[
        int | None, Parameter("Overrides --connectivity for the erosion.", check=_connectivity)
    ] = None
    dilation_connectivity: Annotated[
        int | None, Parameter("Overrides --connectivity for the dilation.", check=_connectivity)
    ] = None

    @property
    def connectivities(self) -> dict[str, int | None]:
        """Connectivity of erosion and dilation."""
        own = {_ERODE: self.erosion_connectivity, _DILATE: self.dilation_connectivity}
        return {name: self.connectivity if value is None else value for name, value in own.items()}


class Opening(TwoElements):
    """Soft opening: n erosions, then n dilations. As `erosion`.

    The default method is "minmax" (`SoftOpening`, as the paper: "multilinear").

    >>> import numpy as np
    >>> opening(np.array([[0.0, 1.0, 0.0, 0.5, 0.5, 0.5]]))
    array([[0. , 0. , 0. , 0.5, 0.5, 0.5]])
    """

    operation, title = "open", "opening"
    sequences = ((_ERODE, _DILATE),)
    help = f"Soft opening: erosions, then dilations. Removes what is thinner than the element. {_EXACT}"
    examples = (
        "softmorph open airways.nii.gz trunk.nii.gz --iterations 2",
        "softmorph open cells.tif clean.tif --erosion-connectivity 26 --dilation-connectivity 6",
    )


class Closing(TwoElements):
    """Soft closing: n dilations, then n erosions. As `erosion`.

    The default method is "minmax" (`SoftClosing`, as the paper: "multilinear").

    >>> import numpy as np
    >>> closing(np.array([[0.8, 0.8, 0.1, 0.8, 0.8]]))
    array([[0.8, 0.8, 0.8, 0.8, 0.8]])
    """

    operation, title = "close", "closing"
    sequences = ((_DILATE, _ERODE),)
    help = f"Soft closing: dilations, then erosions. Fills gaps thinner than the element. {_EXACT}"
    examples = (
        "softmorph close vessels.nii.gz whole.nii.gz --radius 2mm --stats whole.json",
        "softmorph close roads.png whole.png --connectivity 8",
    )


class Gradient(Morphology):
    """Morphological gradient: dilation minus erosion. As `erosion`.

    >>> import numpy as np
    >>> gradient(np.array([[0.0, 0.0, 1.0, 1.0]]))
    array([[0., 1., 1., 0.]])
    """

    operation, title = "gradient", "gradient"
    sequences = ((_DILATE,), (_ERODE,))
    help = "Soft gradient: dilation minus erosion. Shows borders and where the map is unsure."
    examples = (
        "softmorph gradient organ.nii.gz border.nii.gz",
        "softmorph gradient cells.tif border.tif --method levels --levels 16",
    )


class TopHat(Morphology):
    """White top-hat: the image minus its opening, at least 0. As `erosion`.

    A soft opening can exceed its input; where it does, the result is 0 and a `SoftmorphWarning` says so.

    >>> import numpy as np
    >>> tophat(np.array([[0.0, 1.0, 0.0, 0.5, 0.5, 0.5]]))
    array([[0., 1., 0., 0., 0., 0.]])
    """

    operation, title = "tophat", "tophat"
    sequences = (_IDENTITY, (_ERODE, _DILATE))
    help = "Soft white top-hat: the map minus its opening. Keeps what is thinner than the element."
    examples = (
        "softmorph tophat vessels.nii.gz small.nii.gz --radius 3mm",
        "softmorph tophat roads.png narrow.png --iterations 4",
    )


class BlackHat(Morphology):
    """Black top-hat: the closing minus the image, at least 0. As `tophat`.

    >>> import numpy as np
    >>> blackhat(np.array([[1.0, 1.0, 0.25, 1.0, 1.0]]))
    array([[0.  , 0.  , 0.75, 0.  , 0.  ]])
    """

    operation, title = "blackhat", "blackhat"
    sequences = ((_DILATE, _ERODE), _IDENTITY)
    help = "Soft black top-hat: the closing minus the map. Shows gaps thinner than the element."
    examples = (
        "softmorph blackhat vessels.nii.gz gaps.nii.gz --radius 2mm",
        "softmorph blackhat roads.png gaps.png --iterations 3",
    )


@dataclass(frozen=True, kw_only=True)
class ApplyRule(SoftFilter):
    """Any Boolean rule as a soft filter: a bundled one by name, a TOML file, or a `Rule`.

    The method is by default "minmax" for an increasing rule, "nested" for a thinning whose level sets can be kept
    nested, "levels" for any other.
    """

    rule: Annotated[
        str | Path | Rule,
        Parameter("A bundled rule (see softmorph rules) or a TOML file.", "RULE", argument=True),
    ]
    iterations: Annotated[
        int | None,
        Parameter("How many. (default: as the rule says)", "N", ("--iterations", "-n"), check=at_least(1)),
    ] = None

    operation: ClassVar = "apply"
    help: ClassVar = """Run any Boolean rule as a soft filter: a bundled one by name, or your own file.

    If more foreground never gives less (majority), every threshold of OUT is exactly the binary rule on that threshold
    of IN. A thinning whose level sets can be kept nested has method nested. Of any other rule OUT is the mean over 64
    level sets.
    """
    examples: ClassVar = (
        "softmorph apply majority vessels.nii.gz smooth.nii.gz",
        "softmorph apply my_rule.toml map.tif out.tif --iterations 3",
    )

    def __post_init__(self) -> None:
        """Check the parameters; a wrong name or a malformed file is reported before a map is read.

        Raises:
            SoftmorphError: If there is no such rule, or the method is not for it.
        """
        super().__post_init__()
        from softmorph_cli.filters.custom import check

        check(self)

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        if "rule" not in given:
            raise UsageError("apply needs a rule: a name (see softmorph rules) or a TOML file.")

    def resolved(self, default: str = "") -> ApplyRule:
        """Return the filter with its method.

        Raises:
            SoftmorphError: If there is no such rule, it is malformed, or the method is not for it.
        """
        from softmorph_cli.filters.custom import resolved

        return resolved(self)

    @property
    def until_stable(self) -> bool:
        """Whether it stops by itself."""
        return self.iterations is None

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases: the rule, as often as it is asked for or says."""
        from softmorph_cli.filters.custom import phases

        return phases(self, shape)

    def __call__(self, image: Any, progress: Report | None = None) -> Result:
        """Return the filter of an image, and how it went."""
        from softmorph_cli.filters.custom import apply

        return apply(self, image, progress)


def _size(name: str, value: str) -> None:
    lengths.parse_size(value, named(name))


_MIN_SIZE: Final = Parameter(
    "A volume with its unit, such as 50um3 or 0.2mm3; in 2D an area, such as 20um2; or 30vox.",
    "SIZE",
    check=_size,
)


def _voxels(size: str, volume: Volume) -> int:
    parsed = lengths.parse_size(size, named("min_size"))
    return lengths.in_voxels(parsed, volume.spacing, volume.unit, volume.spatial_dims)


@dataclass(frozen=True, kw_only=True)
class Fill(Filter):
    """Holes filled, exactly at every threshold."""

    operation: ClassVar = "fill"
    help: ClassVar = """Fill holes, exactly at every threshold: what is darker than every way to the border rises.

    In 2D these are the holes of rings, in 3D the cavities; the background is 4- or 6-connected.
    """
    examples: ClassVar = (
        "softmorph fill cells.tif solid.tif",
        "softmorph fill organ.nii.gz solid.nii.gz --preview solid.png",
    )

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the map without holes."""
        from softmorph_cli.filters.greylevel import fill

        return Result(fill(volume.array, volume.spatial_dims))


@dataclass(frozen=True, kw_only=True)
class Despeckle(Filter):
    """Small components removed, exactly at every threshold."""

    min_size: Annotated[str, _MIN_SIZE]

    operation: ClassVar = "despeckle"
    help: ClassVar = (
        "Take specks away, exactly at every threshold: 8- or 26-connected components smaller than a size."
    )
    examples: ClassVar = (
        "softmorph despeckle vessels.nii.gz clean.nii.gz --min-size 5mm3",
        "softmorph despeckle roads.png clean.png --min-size 40vox",
    )

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        if "min_size" not in given:
            raise UsageError(
                "despeckle needs a size, as in despeckle:min-size=30vox, or a volume such as 50um3 (in 2D an area)."
            )

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the map without small components."""
        from softmorph_cli.filters.greylevel import despeckle

        return Result(despeckle(volume.array, _voxels(self.min_size, volume), volume.spatial_dims))


def _some_component(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{named(name)} {value}: keep at least 1 component.")


@dataclass(frozen=True, kw_only=True)
class Threshold(Filter):
    """A mask, or the components of one, numbered."""

    threshold: Annotated[float, Parameter("A voxel above it is foreground.", "P", check=below_one)] = 0.5
    largest: Annotated[
        int | None, Parameter("Keep the N largest components. (default: all)", "N", check=_some_component)
    ] = None
    min_size: Annotated[str | None, _MIN_SIZE] = None
    labels: Annotated[bool, Parameter("Write each component's number, the largest first, not 0 and 1.")] = (
        False
    )

    operation: ClassVar = "threshold"
    help: ClassVar = "Binarize a map, keep its largest components, number them; 8- or 26-connected."
    examples: ClassVar = (
        "softmorph threshold airways.nii.gz tree.nii.gz --threshold 0.4 --largest 1",
        "softmorph threshold cells.tif labels.tif --labels --min-size 30vox",
    )

    @property
    def gives(self) -> str:
        """What the values of a result are."""
        return LABELS if self.labels else MASK

    @property
    def cuts(self) -> bool:
        """Whether it cuts the map."""
        return True

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as documents and files hold them."""
        return {**super().parameters, "labels": self.labels or None}

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the threshold at the nearest level of a map that is exact at these, and a note on it."""
        return self._at_level(self.threshold, levels)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the mask or the labels of a map."""
        from softmorph_cli.filters.greylevel import components

        voxels = 1 if self.min_size is None else _voxels(self.min_size, volume)
        if not self.labels and self.largest is None and voxels == 1:
            return Result(volume.array > self.threshold)
        found = components(
            volume.array, self.threshold, volume.spatial_dims, largest=self.largest, voxels=voxels
        )
        return Result(found if self.labels else found > 0)


def _spacing(name: str, value: str) -> None:
    sizes = [] if value == "iso" else [lengths.parse(part, named(name)) for part in value.split(",")]
    if "vox" in {unit for _, unit in sizes}:
        raise UsageError(f"{named(name)} {value}: give lengths in mm, um or nm, or iso.")


@dataclass(frozen=True, kw_only=True)
class Resample(Filter):
    """A map on a grid of another voxel size."""

    spacing: Annotated[
        str,
        Parameter(
            "iso: cubic voxels of the finest spacing; a length such as 0.5mm; or one for each axis, z first.",
            "iso|LENGTH[,...]",
            check=_spacing,
        ),
    ] = "iso"

    operation: ClassVar = "resample"
    help: ClassVar = (
        "Interpolate a map to another voxel size, sheared voxels to rectangular ones; coarser voxels are "
        "means."
    )
    examples: ClassVar = (
        "softmorph resample vessels.nii.gz cubic.nii.gz",
        "softmorph resample vessels.nii.gz coarse.nii.gz --spacing 1mm",
    )

    def prepare(self, volume: Volume) -> Volume:
        """Return the map on the new grid.

        Raises:
            InputError: If the voxel size of the map is not known, or another number of lengths is needed.
        """
        from softmorph_cli.filters.resample import isotropic, resampled

        if self.spacing == "iso" or volume.spacing is None:  # which it refuses
            return isotropic(volume)
        if millimetres(volume.unit) is None:
            raise InputError(
                "the file does not say in which unit its voxel size is; only "
                f"{named('spacing', 'iso')} does without."
            )
        sizes = [lengths.parse(part, named("spacing")) for part in self.spacing.split(",")]
        if len(sizes) not in (1, volume.spatial_dims):
            raise InputError(
                f"{named('spacing')} {self.spacing}: give one length, or one for each of "
                f"{', '.join(volume.spatial_axes)}."
            )
        wanted = [lengths.in_unit(size, volume.unit) for size in sizes]
        return resampled(volume, wanted * volume.spatial_dims if len(wanted) == 1 else wanted)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the map, which `prepare` has put on its grid."""
        return Result(volume.array)


# In the order of the classes above, which is that of --help.
OPERATIONS: Final[Mapping[str, type[Filter]]] = {
    one.operation: one
    for one in tuple(globals().values())
    if isinstance(one, type) and issubclass(one, Filter) and hasattr(one, "operation")
}


def find(name: str) -> type[Filter]:
    """Return an operation by its name.

    Raises:
        UsageError: If there is none; the message lists them.
    """
    if name not in OPERATIONS:
        raise UsageError(f"there is no operation {name!r}; use {', '.join(OPERATIONS)}.")
    return OPERATIONS[name]


def from_json(document: Mapping[str, Any]) -> Filter:
    """Return the filter that `Filter.as_json` gave.

    Raises:
        UsageError: If it is none.
    """
    given = dict(document)
    return find(given.pop("operation"))(**given)
