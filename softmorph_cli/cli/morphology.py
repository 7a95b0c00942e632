"""softmorph erode, dilate, open, close, gradient, tophat, blackhat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli.cli import filtering, lengths
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import (
    Computing,
    Connectivity,
    Input,
    Iterations,
    Output,
    Radius,
    Reading,
    Writing,
)
from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Result, Settings
    from softmorph_cli.volume import Volume

_DEFAULT_METHOD = "multilinear"

ErosionConnectivity = Annotated[
    int | None, typer.Option(help="Overrides --connectivity for the erosion.", show_default=False)
]
DilationConnectivity = Annotated[
    int | None, typer.Option(help="Overrides --connectivity for the dilation.", show_default=False)
]


@command
def erode(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft erosion: the probability that all voxels of the structuring element are foreground."""
    _run(
        "erode",
        "erosion",
        source,
        target,
        (connectivity,) * 3,
        iterations,
        radius,
        reading,
        computing,
        writing,
    )


@command
def dilate(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft dilation: the probability that any voxel of the structuring element is foreground."""
    _run(
        "dilate",
        "dilation",
        source,
        target,
        (connectivity,) * 3,
        iterations,
        radius,
        reading,
        computing,
        writing,
    )


@command
def open_(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    erosion_connectivity: ErosionConnectivity = None,
    dilation_connectivity: DilationConnectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft opening: erosions, then dilations. Removes what is thinner than the element."""
    elements = connectivity, erosion_connectivity, dilation_connectivity
    _run("open", "opening", source, target, elements, iterations, radius, reading, computing, writing)


@command
def close(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    erosion_connectivity: ErosionConnectivity = None,
    dilation_connectivity: DilationConnectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft closing: dilations, then erosions. Fills gaps thinner than the element."""
    elements = connectivity, erosion_connectivity, dilation_connectivity
    _run("close", "closing", source, target, elements, iterations, radius, reading, computing, writing)


@command
def gradient(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft gradient: dilation minus erosion. Shows borders and where the map is unsure."""
    elements = (connectivity,) * 3
    _run("gradient", "gradient", source, target, elements, iterations, radius, reading, computing, writing)


@command
def tophat(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft white top-hat: the map minus its opening. Keeps what is thinner than the element."""
    _run(
        "tophat",
        "tophat",
        source,
        target,
        (connectivity,) * 3,
        iterations,
        radius,
        reading,
        computing,
        writing,
    )


@command
def blackhat(
    source: Input,
    target: Output,
    *,
    connectivity: Connectivity = None,
    iterations: Iterations = None,
    radius: Radius = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft black top-hat: the closing minus the map. Shows gaps thinner than the element."""
    elements = (connectivity,) * 3
    _run("blackhat", "blackhat", source, target, elements, iterations, radius, reading, computing, writing)


def _run(
    name: str,
    operation: str,
    source: Path,
    target: Path,
    elements: tuple[int | None, int | None, int | None],
    iterations: int | None,
    radius: str | None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    connectivity, *separate = elements
    erosion, dilation = (connectivity if own is None else own for own in separate)
    for value in (erosion, dilation):
        if value not in (None, 4, 8, 6, 18, 26):
            raise UsageError(f"connectivity {value}: use 4 or 8 in 2D, 6, 18 or 26 in 3D.")
    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1 is needed.")
    if radius is not None and iterations is not None:
        raise UsageError("give either --iterations or --radius, not both.")
    length = lengths.parse(radius) if radius is not None else None
    in_voxels = length is not None and length[1] == "vox"
    settings = filtering.settings_of(computing, computing.method or _DEFAULT_METHOD)

    def filter_volume(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.morphology import Element, operate

        spacing = volume.spacing
        far = None
        if length is not None and in_voxels:
            far, spacing = length[0], (1.0,) * volume.spatial_dims
        elif length is not None:
            far = lengths.in_unit(length, volume.unit, source)
        element = Element(erosion, dilation, iterations, far, spacing)
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
