"""Hole filling, removal of small components, thresholds and resampling: filters without methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.filter import LABELS, MASK, Filter, Report
from softmorph_cli.filters.settings import Result
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import Parameter, below_one, named, one_of

if TYPE_CHECKING:
    from softmorph_cli.kernels.level_sets import LevelSets
    from softmorph_cli.volume import Volume


def _check_size(name: str, value: str) -> None:
    lengths.parse_size(value, named(name))


_MIN_SIZE: Final = Parameter(
    "A volume with its unit, such as 50um3 or 0.2mm3; in 2D an area, such as 20um2; or 30vox.",
    "SIZE",
    check=_check_size,
    first=True,
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


def _positive_count(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{named(name)} {value}: keep at least 1 component.")


@dataclass(frozen=True, kw_only=True)
class Threshold(Filter):
    """A mask, or its components numbered."""

    threshold: Annotated[
        float, Parameter("A voxel above it is foreground.", "P", check=below_one, first=True)
    ] = 0.5
    largest: Annotated[
        int | None,
        Parameter("Keep the N largest components. (default: all)", "N", check=_positive_count, first=True),
    ] = None
    min_size: Annotated[str | None, _MIN_SIZE] = None
    labels: Annotated[
        bool, Parameter("Write each component's number, the largest first, not 0 and 1.", first=True)
    ] = False

    operation: ClassVar = "threshold"
    cuts: ClassVar = True
    help: ClassVar = "Binarize a map, keep its largest components, number them; 8- or 26-connected."
    examples: ClassVar = (
        "softmorph threshold airways.nii.gz tree.nii.gz --threshold 0.4 --largest 1",
        "softmorph threshold cells.tif labels.tif --labels --min-size 30vox",
    )

    @property
    def gives(self) -> str:
        """The kind of a result's values."""
        return LABELS if self.labels else MASK

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as in documents and provenance."""
        return {**super().parameters, "labels": self.labels or None}

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the filter with the nearest of a map's exact levels as threshold, and a note on it."""
        return self._at_level(self.threshold, levels)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the mask or the component labels of a map."""
        from softmorph_cli.filters.greylevel import components

        voxels = 1 if self.min_size is None else _voxels(self.min_size, volume)
        if not self.labels and self.largest is None and voxels == 1:
            return Result(volume.array > self.threshold)
        found = components(
            volume.array, self.threshold, volume.spatial_dims, largest=self.largest, voxels=voxels
        )
        return Result(found if self.labels else found > 0)


def check_spacing(name: str, value: str) -> None:
    """Raise `UsageError` unless a voxel size is "iso" or lengths with their units, separated by commas."""
    sizes = [] if value == "iso" else [lengths.parse(part, named(name)) for part in value.split(",")]
    if "vox" in {unit for _, unit in sizes}:
        raise UsageError(f"{named(name)} {value}: give lengths in mm, um or nm, or iso.")


@dataclass(frozen=True, kw_only=True)
class Resample(Filter):
    """A map resampled to another voxel size."""

    spacing: Annotated[
        str,
        Parameter(
            "iso: cubic voxels of the finest spacing; a length such as 0.5mm; or one for each axis, z first.",
            "iso|LENGTH[,...]",
            check=check_spacing,
            first=True,
        ),
    ] = "iso"
    pool: Annotated[
        str | None,
        Parameter(
            "What a coarser voxel is of those it covers: max keeps thin vessels at every threshold; maxima enlarge "
            "vessels: do not measure volumes on the result. (default: mean)",
            "max|mean",
            check=one_of("max", "mean"),
        ),
    ] = None

    operation: ClassVar = "resample"
    help: ClassVar = (
        "Interpolate a map to another voxel size, sheared voxels to rectangular ones; coarser voxels are "
        "means, or maxima with --pool max."
    )
    examples: ClassVar = (
        "softmorph resample vessels.nii.gz cubic.nii.gz",
        "softmorph resample vessels.nii.gz coarse.nii.gz --spacing 1mm --pool max",
    )

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If a parameter is invalid for any image, or has no effect.
        """
        super().__post_init__()
        if self.pool is not None and self.spacing == "iso":
            raise UsageError(
                f"{named('pool', self.pool)} says how coarser voxels are made, and {named('spacing', 'iso')} makes "
                f"none: give a larger length, such as {named('spacing', '1mm')}, or leave out {named('pool')}."
            )

    def prepare(self, volume: Volume) -> Volume:
        """Return the map on the new grid.

        Raises:
            InputError: If the voxel size of the map is unknown, the number of lengths does not fit its axes, or `pool`
                has no effect as no axis becomes coarser.
        """
        from softmorph_cli.filters.resample import requested, resampled, shape_of

        spacing = requested(volume, self.spacing)
        made = zip(shape_of(volume, spacing), volume.array.shape[-volume.spatial_dims :], strict=True)
        if self.pool is not None and volume.spacing is not None and not any(new < old for new, old in made):
            raise InputError(
                f"{named('pool', self.pool)} says how coarser voxels are made, and of these voxels "
                f"{named('spacing', self.spacing)} makes none: leave out {named('pool')}, or give a larger length."
            )
        return resampled(volume, spacing, pool=self.pool or "mean")

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the map, which `prepare` has resampled."""
        return Result(volume.array)
