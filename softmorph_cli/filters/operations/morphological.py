"""Erosion, dilation and the operations composed of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import COMMAND, Grid, Sequences, SoftFilter
from softmorph_cli.filters.method import check_method
from softmorph_cli.filters.settings import INCREASING, Result
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import Parameter, at_least, named
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.filters.morphology import Reach
    from softmorph_cli.filters.run import FilterJob
    from softmorph_cli.volume import Volume

# For the help of increasing operations.
_EXACT: Final = "Every threshold of OUT is exactly the binary filter of that threshold of IN."

# An operation is a sequence of erosions and dilations, or the difference of two such sequences.
_ERODE, _DILATE = "erosion", "dilation"
_IDENTITY: Final[tuple[str, ...]] = ()


_CONNECTIVITIES: Final = (4, 8, 6, 18, 26)


def _check_connectivity(name: str, value: int) -> None:
    if value not in _CONNECTIVITIES:
        raise UsageError(f"connectivity {value}: use 4 or 8 in 2D, 6, 18 or 26 in 3D.")


def _check_length(name: str, value: float | str) -> None:
    if isinstance(value, str):
        lengths.parse(value, named(name))
    elif not 0 < value < float("inf"):
        raise UsageError(f"{named(name)} {value:g}: it must be positive and finite.")


@dataclass(frozen=True, kw_only=True)
class Morphology(SoftFilter):
    """Erosions and dilations.

    Class attributes:
        sequences: The operations in order; of two sequences the result is the first minus the second.
    """

    default_method: ClassVar = INCREASING
    sequences: ClassVar[tuple[tuple[str, ...], ...]]

    connectivity: Annotated[
        int | None,
        Parameter(
            "Neighbours that count: 4 or 8 in 2D, 6, 18 or 26 in 3D. (default: 4 in 2D, 6 in 3D)",
            flags=("--connectivity", "-c"),
            check=_check_connectivity,
            words=tuple(map(str, _CONNECTIVITIES)),
        ),
    ] = None
    iterations: Annotated[
        int | None,
        Parameter(
            "Number of iterations, one voxel each. (default: 1)",
            "N",
            ("--iterations", "-n"),
            check=at_least(1),
            first=True,
        ),
    ] = None
    radius: Annotated[
        float | str | None,
        Parameter(
            "Instead of --iterations: a length with its unit, such as 2.5mm, 300um or 4vox. Each axis gets "
            "floor(radius / voxel size) steps; the radius reached is reported.",
            "LENGTH",
            ("--radius", "-r"),
            check=_check_length,
            first=True,
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
            UsageError: If one is invalid for any image.
        """
        super().__post_init__()
        if self.radius is not None and self.iterations is not None:
            raise UsageError(f"give either {named('iterations')} or {named('radius')}, not both.")
        if self.method is not None:
            check_method(self.method)

    @property
    def connectivities(self) -> dict[str, int | None]:
        """Connectivity of erosion and dilation."""
        return dict.fromkeys((_ERODE, _DILATE), self.connectivity)

    @property
    def parameters(self) -> dict[str, Any]:
        """The operation's own parameters as in documents and provenance."""
        each = {f"{name}_connectivity": value for name, value in self.connectivities.items()}
        return {**each, "iterations": self.iterations, "radius": self.radius}

    @property
    def radius_unit(self) -> str | None:
        """Unit of the radius that is reached; None for the map's unit."""
        in_voxels = isinstance(self.radius, str) and lengths.parse(self.radius)[1] == "vox"
        return "voxels" if in_voxels else None

    def on_grid(self, grid: Grid) -> Self:
        """Return the filter with its radius in the unit of a grid.

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

    def concerns(self, volume: Volume, place: str = COMMAND) -> list[str]:
        """Return a warning if the radius is less than one voxel along an axis."""
        from softmorph_cli.filters.morphology import steps_of

        fitted, axes = self.on_grid(volume), volume.spatial_axes
        if fitted.radius is None or isinstance(fitted.radius, str) or fitted.spacing is None:
            return []
        steps, unit = steps_of(fitted.radius, fitted.spacing), sign(fitted.unit or "")
        along = [
            f"{axis.lower()} ({size:g} {unit})" if unit else f"{axis.lower()} ({size:g})"
            for axis, size, count in zip(axes, fitted.spacing, steps, strict=True)
            if count == 0
        ]
        if not along:
            return []
        return [
            f"the radius {fitted.radius:g} {unit}".rstrip()
            + f" is less than one voxel along {' and '.join(along)}: nothing is done along "
            + ("this axis." if len(along) == 1 else "these axes.")
        ]

    def phases(self, shape: tuple[int, ...]) -> Sequences:
        """Return the phases of erosions and dilations."""
        from softmorph_cli.filters.morphology import phases

        return phases(self, shape)

    def reach(self, shape: tuple[int, ...]) -> Reach:
        """Return the iterations along each axis of an image of this spatial shape, and the radius reached."""
        from softmorph_cli.filters.morphology import reach

        return reach(shape, self)

    def run_image(self, jobs: Sequence[FilterJob], image: Any, dimensions: int) -> Result:
        """Return the result for one image, with the iterations and the radius that were reached."""
        reached = self.reach(tuple(image.shape[-dimensions:]))
        result = super().run_image(jobs, image, dimensions)
        return replace(result, iterations=max(reached.steps), radius=reached.radius)


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
    """Erosions and dilations with separate connectivities."""

    erosion_connectivity: Annotated[
        int | None, Parameter("Overrides --connectivity for the erosion.", check=_check_connectivity)
    ] = None
    dilation_connectivity: Annotated[
        int | None, Parameter("Overrides --connectivity for the dilation.", check=_check_connectivity)
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
        "softmorph close vessels.nii.gz whole.nii.gz --radius 2mm --json-file whole.json",
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
