"""softmorph erode, dilate, open, close, gradient, tophat, blackhat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Large, Output, Reading, Writing


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


# Of the default method.
_EXACT: Final = "Every threshold of OUT is exactly the binary filter of that threshold of IN."


def _command(name: str, options: type[OneElement], help_text: str) -> Callable[..., None]:
    def run(
        source: Input,
        target: Output,
        *,
        element: OneElement,
        reading: Reading,
        computing: Computing,
        writing: Writing,
        large: Large,
    ) -> None:
        filtering.run_one(name, asdict(element), source, target, reading, computing, writing, large)

    run.__doc__ = help_text
    run.__annotations__["element"] = options
    return command(run)


erode = _command(
    "erode",
    OneElement,
    f"Soft erosion: the least value within the structuring element. {_EXACT}",
)
dilate = _command(
    "dilate",
    OneElement,
    f"Soft dilation: the greatest value within the structuring element. {_EXACT}",
)
open_ = _command(
    "open",
    TwoElements,
    f"Soft opening: erosions, then dilations. Removes what is thinner than the element. {_EXACT}",
)
close = _command(
    "close",
    TwoElements,
    f"Soft closing: dilations, then erosions. Fills gaps thinner than the element. {_EXACT}",
)
gradient = _command(
    "gradient",
    OneElement,
    "Soft gradient: dilation minus erosion. Shows borders and where the map is unsure.",
)
tophat = _command(
    "tophat",
    OneElement,
    "Soft white top-hat: the map minus its opening. Keeps what is thinner than the element.",
)
blackhat = _command(
    "blackhat",
    OneElement,
    "Soft black top-hat: the closing minus the map. Shows gaps thinner than the element.",
)
