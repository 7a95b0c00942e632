"""Completion of missing slices, and interpolation on finer grids: a filter without methods of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from softmorph_cli.completion.options import DEVICE
from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import MACHINE, Filter, Report
from softmorph_cli.filters.operations.components import check_spacing
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.system.parameters import Parameter, at_least, named

if TYPE_CHECKING:
    from softmorph_cli.volume import Volume


def _check_missing(name: str, value: str) -> None:
    from softmorph_cli.completion.slices import check

    check(name, value)


def _check_method(name: str, value: str) -> None:
    from softmorph_cli.completion.between import check

    check(name, value)


def _methods() -> Iterable[str]:
    from softmorph_cli.completion.between import METHODS

    return METHODS


def _check_fit(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"{named(name)} {value:g}: an agreement is from 0 to 1.")


def _check_axis(name: str, value: str) -> None:
    if value.lower() not in ("z", "y", "x"):
        raise UsageError(f"{named(name)} {value}: use z, y or x.")


@dataclass(frozen=True, kw_only=True)
class Interpolate(Filter):
    """A map with its missing slices filled, or on another grid."""

    missing: Annotated[
        str | None,
        Parameter(
            "The missing slices, counted from 0 in what is read: 5:9,12 for 5 to 8 and 12; or empty, for those between "
            "others that are 0 throughout.",
            "SLICES|empty",
            check=_check_missing,
            first=True,
        ),
    ] = None
    axis: Annotated[
        str | None,
        Parameter("The axis of the slices. (default: z, in 2D y)", "z|y|x", check=_check_axis),
    ] = None
    spacing: Annotated[
        str | None,
        Parameter(
            "The grid of OUT: iso for cubic voxels of the finest spacing, as nearly as the extent divides; a length "
            "such as 0.5mm; or one for each axis, z first. (default: that of IN)",
            "iso|LENGTH[,...]",
            check=check_spacing,
            first=True,
        ),
    ] = None
    like: Annotated[
        Path | None,
        Parameter(
            "The grid of OUT is that of this image, oblique planes too; outside of IN it is 0.",
            "IMAGE",
            ("--like",),
        ),
    ] = None
    method: Annotated[
        str | None,
        Parameter(
            "What is interpolated: logit, linear (probabilities), shape (distances to the border at 0.5) or nearest. "
            "(default: logit)",
            "NAME",
            ("--method", "-m"),
            check=_check_method,
            words=_methods,
        ),
    ] = None
    prior: Annotated[
        Path | None,
        Parameter(
            "A shape prior, as of softmorph prior train: it is fitted to the observed slices, and gives the others.",
            "FILE",
            first=True,
        ),
    ] = None
    min_fit: Annotated[
        float | None,
        Parameter(
            "With --prior: an agreement with the observed slices below it, 2 sum min(p,q) / sum(p+q) of probabilities, "
            "ends with status 3, after writing. (default: 0.8)",
            "SHARE",
            check=_check_fit,
        ),
    ] = None
    device: Annotated[str, DEVICE] = "auto"
    threads: Annotated[
        int | None,
        Parameter(
            "With --prior: CPU threads. (default: what affinity, cgroup and SLURM allow)",
            "N",
            check=at_least(1),
        ),
    ] = None
    grid: Annotated[Any, Parameter("A map with the grid of `like`, once it is read.", shell=False)] = None

    learned: Annotated[Any, Parameter("A prior that is read already.", shell=False)] = None

    operation: ClassVar = "interpolate"
    help: ClassVar = """Fill missing slices of a map, or interpolate it on a finer grid; observed slices do not change.

    The whole map is held in memory. Before the first observed slice and after the last, the nearest one is repeated.
    Classes that exclude each other keep their sum.
    """
    examples: ClassVar = (
        "softmorph interpolate heart.nii.gz whole.nii.gz --missing 5:9,12 --filled invented.nii.gz",
        "softmorph interpolate heart.nii.gz cubic.nii.gz --spacing iso --prior hearts.safetensors",
    )

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If one is invalid for any image, or nothing is asked for.
        """
        super().__post_init__()
        if self.spacing is not None and (self.like is not None or self.grid is not None):
            raise UsageError(
                f"give either {named('spacing')} or {named('like')}: both name the grid of the result."
            )
        if self.missing is None and not self.to_grid:
            raise UsageError(
                "nothing is missing and no grid is asked for: name the missing slices, such as "
                f"{named('missing', '5:9,12')} or {named('missing', 'empty')}, or the grid, such as "
                f"{named('spacing', 'iso')}."
            )

        if self.has_prior and self.method is not None:
            raise UsageError(
                f"give either {named('prior')} or {named('method')}: a prior is a method of its own."
            )
        if self.min_fit is not None and not self.has_prior:
            raise _of_a_fit("min_fit")

    @classmethod
    def _check_given(cls, given: Mapping[str, Any]) -> None:
        # Those of a chain are for all its steps.
        typed = [name for name in MACHINE if given.get(name, "auto") != "auto"]
        if typed and given.keys().isdisjoint(("prior", "learned")):
            raise _of_a_fit(typed[0])

    @classmethod
    def _of_settings(cls, settings: Settings | None) -> dict[str, Any]:
        return {} if settings is None else {name: getattr(settings, name) for name in MACHINE}

    @property
    def to_grid(self) -> bool:
        """Whether the result lies on another grid than the map."""
        return self.spacing is not None or self.like is not None or self.grid is not None

    @property
    def way(self) -> str:
        """The method of interpolation."""
        return self.method or "logit"

    @property
    def method_in_force(self) -> str:
        """The method in documents and provenance."""
        return "prior" if self.has_prior else self.way

    @property
    def has_prior(self) -> bool:
        """Whether a shape prior is fitted, in place of a method; `opened` reads it from its file."""
        return self.prior is not None or self.learned is not None

    @property
    def least_fit(self) -> float:
        """The agreement with the observed slices below which a fit counts as poor."""
        return 0.8 if self.min_fit is None else self.min_fit

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as in documents, without the method."""
        found = {name: value for name, value in super().parameters.items() if name != "method"}
        return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}

    @property
    def files(self) -> list[Path]:
        """The files that are read beside the map."""
        return [path for path in (self.like, self.prior) if path is not None]

    def opened(self, grid_of: Callable[[Path], Volume]) -> Self:
        """Return the filter with its prior, and the grid of the image that `like` names, read from their files."""
        found: dict[str, Any] = {}
        if self.like is not None and self.grid is None:
            found["grid"] = grid_of(self.like)
        if self.prior is not None and self.learned is None:
            from softmorph_cli.completion import prior_file

            found["learned"] = prior_file.load(self.prior)
        return replace(self, **found)

    def axes_after(self, axes: str) -> str:
        """Return the axes of the result: a plane of a 3D map is 2D."""
        return axes if self.grid is None else axes.rstrip("ZYX") + str(self.grid.spatial_axes)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the completed map, and which of its voxels are invented."""
        from softmorph_cli.filters.interpolation import complete

        if not self.has_prior:
            found = complete(self, volume)
        else:
            from softmorph_cli.completion import fitting

            with fitting.on_threads(self.threads):
                found = complete(self, volume)
        return Result(found.volume.array, device=found.device, warnings=found.warnings, completed=found)


def _of_a_fit(name: str) -> UsageError:
    return UsageError(f"{named(name)} is of the fit of a prior: add {named('prior', 'FILE')}.")
