"""softmorph erode, dilate, open, close, gradient, tophat, blackhat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from softmorph_cli.cli import filtering, lengths
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Output, Reading, Writing
from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Result, Settings
    from softmorph_cli.volume import Volume

_CONNECTIVITIES: Final = (4, 8, 6, 18, 26)


@dataclass(frozen=True)
class OneElement:
    """A structuring element and how often it is applied."""

    connectivity: Annotated[
        int | None,
        typer.Option(
            "--connectivity",
            "-c",
            help="Neighbours that count: 4 or 8 in 2D, 6, 18 or 26 in 3D. (default: 4 in 2D, 6 in 3D)",
            show_default=False,
        ),
    ] = None
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "-n",
            metavar="N",
            help="How often, one voxel each. (default: 1)",
            show_default=False,
        ),
    ] = None
    radius: Annotated[
        str | None,
        typer.Option(
            "--radius",
            "-r",
            metavar="LENGTH",
            help="Instead of --iterations: a length with its unit, such as 2.5mm, 300um or 4vox. Each axis gets "
            "floor(radius / voxel size) steps; the radius reached is reported.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class TwoElements(OneElement):
    """The same where erosion and dilation may differ."""

    erosion_connectivity: Annotated[
        int | None, typer.Option(help="Overrides --connectivity for the erosion.", show_default=False)
    ] = None
    dilation_connectivity: Annotated[
        int | None, typer.Option(help="Overrides --connectivity for the dilation.", show_default=False)
    ] = None


def _command(name: str, operation: str, options: type[OneElement], help_text: str) -> Callable[..., None]:
    def run(
        source: Input,
        target: Output,
        *,
        element: OneElement,
        reading: Reading,
        computing: Computing,
        writing: Writing,
    ) -> None:
        _run(name, operation, source, target, element, reading, computing, writing)

    run.__doc__ = help_text
    run.__annotations__["element"] = options
    return command(run)


erode = _command(
    "erode",
    "erosion",
    OneElement,
    "Soft erosion: the probability that all voxels of the structuring element are foreground.",
)
dilate = _command(
    "dilate",
    "dilation",
    OneElement,
    "Soft dilation: the probability that any voxel of the structuring element is foreground.",
)
open_ = _command(
    "open",
    "opening",
    TwoElements,
    "Soft opening: erosions, then dilations. Removes what is thinner than the element.",
)
close = _command(
    "close",
    "closing",
    TwoElements,
    "Soft closing: dilations, then erosions. Fills gaps thinner than the element.",
)
gradient = _command(
    "gradient",
    "gradient",
    OneElement,
    "Soft gradient: dilation minus erosion. Shows borders and where the map is unsure.",
)
tophat = _command(
    "tophat",
    "tophat",
    OneElement,
    "Soft white top-hat: the map minus its opening. Keeps what is thinner than the element.",
)
blackhat = _command(
    "blackhat",
    "blackhat",
    OneElement,
    "Soft black top-hat: the closing minus the map. Shows gaps thinner than the element.",
)


def _run(
    name: str,
    operation: str,
    source: Path,
    target: Path,
    options: OneElement,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    erosion = dilation = options.connectivity
    if isinstance(options, TwoElements):
        erosion = options.erosion_connectivity or erosion
        dilation = options.dilation_connectivity or dilation
    for value in (options.connectivity, erosion, dilation):
        if value is not None and value not in _CONNECTIVITIES:
            raise UsageError(f"connectivity {value}: use 4 or 8 in 2D, 6, 18 or 26 in 3D.")
    iterations, radius = options.iterations, options.radius
    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1 is needed.")
    if radius is not None and iterations is not None:
        raise UsageError("give either --iterations or --radius, not both.")
    length = lengths.parse(radius) if radius is not None else None
    in_voxels = length is not None and length[1] == "vox"
    settings = filtering.settings_of(computing, computing.method or "multilinear")

    def filter_volume(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.morphology import Element, operate

        spacing = volume.spacing
        far = None
        if length is not None and in_voxels:
            far, spacing = length[0], (1.0,) * volume.spatial_dims
        elif length is not None:
            far = lengths.in_unit(length, volume.unit)
        unit = "voxels" if in_voxels else volume.unit or ""
        element = Element(erosion, dilation, iterations, far, spacing, unit)
        return operate(operation, volume.array, element, settings, volume.spatial_dims)

    filtering.run(
        name,
        source,
        target,
        filter_volume,
        settings=settings,
        parameters={
            "erosion_connectivity": erosion,
            "dilation_connectivity": dilation,
            "iterations": iterations,
            "radius": radius,
        },
        radius_unit="voxels" if in_voxels else None,
        reading=reading,
        writing=writing,
    )
