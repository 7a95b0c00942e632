"""The options of softmorph inspect, in bundles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from softmorph_cli.cli import common

_CURVE, TABLE, _TEXTS, _PICTURES = "The curve", "The table", "Exports", "Images and pictures"


def _text_option(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="PATH|-", help=what, rich_help_panel=_TEXTS, show_default=False)


def _image_option(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="OUT", help=what, rich_help_panel=_PICTURES, show_default=False)


@dataclass(frozen=True)
class Curve:
    """Which voxels are the curve, and which branches stay."""

    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="map|skeleton",
            help="What IN is. (default: skeleton where softmorph wrote it as one, else map)",
            rich_help_panel=_CURVE,
            show_default=False,
        ),
    ] = None
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="MAP",
            help="Of a skeleton: the map it came from, for radii and certainty.",
            rich_help_panel=_CURVE,
            show_default=False,
        ),
    ] = None
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="A voxel above it is foreground; of a nested skeleton the nearest level is taken. (default: 0.5, of a "
            "skeleton by another method 0.25)",
            rich_help_panel=_CURVE,
            show_default=False,
        ),
    ] = None
    resample: Annotated[
        str | None,
        typer.Option(
            metavar="iso",
            help="iso: first interpolate a map to cubic voxels of the finest spacing; images are on that grid.",
            rich_help_panel=_CURVE,
            show_default=False,
        ),
    ] = None
    prune: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH|radius",
            help="Take off spurs shorter than this, such as 2mm, 300um or 4vox, one after another; radius: "
            "those shorter than the vessel's radius where they leave it. (default: none)",
            rich_help_panel=_CURVE,
            show_default=False,
        ),
    ] = None
    prune_cycles: Annotated[
        str | None,
        typer.Option(
            metavar="shortest|least-certain",
            help="Take this branch out of every cycle. (default: cycles stay)",
            rich_help_panel=_CURVE,
            show_default=False,
        ),
    ] = None
    levels: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Level sets of the soft skeleton that is measured along the curve: 8, 16, 32, 64; 0 for none. "
            "Fewer take less memory.",
            rich_help_panel=_CURVE,
        ),
    ] = 64
    threads: Annotated[int | None, common.threads(_CURVE)] = None


@dataclass(frozen=True)
class Saving:
    """What is written where; a text whose PATH is - goes to stdout, in place of the table."""

    json: Annotated[Path | None, _text_option("--json", "All numbers as one JSON object.")] = None
    csv: Annotated[Path | None, _text_option("--csv", "A row for each branch, units in the names.")] = None
    graphml: Annotated[Path | None, _text_option("--graphml", "The graph, cycles and paths kept.")] = None
    swc: Annotated[Path | None, _text_option("--swc", "A tree with radii, for neuron tools.")] = None
    obj: Annotated[Path | None, _text_option("--obj", "Polylines in world coordinates.")] = None
    skeleton: Annotated[Path | None, _image_option("--skeleton", "The curve's voxels, 0 and 1.")] = None
    branch_labels: Annotated[
        Path | None, _image_option("--branch-labels", "Each voxel of the curve as the number of its branch.")
    ] = None
    tagged: Annotated[
        Path | None, _image_option("--tagged", "The curve: 1 end point, 2 junction, 3 in between.")
    ] = None
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.png",
            help="Draw the skeleton over the map.",
            rich_help_panel=_PICTURES,
            show_default=False,
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.html",
            help="One page with pictures, tables and histograms that opens without a network.",
            rich_help_panel=_PICTURES,
            show_default=False,
        ),
    ] = None
    force: Annotated[bool, common.force()] = False

    @property
    def texts(self) -> dict[str, Path]:
        """The exports wanted, by name."""
        every = {name: getattr(self, name) for name in ("json", "csv", "graphml", "swc", "obj")}
        return {name: path for name, path in every.items() if path is not None}

    @property
    def images(self) -> dict[str, Path]:
        """The images wanted, by name."""
        every = {name: getattr(self, name) for name in ("skeleton", "branch_labels", "tagged")}
        return {name: path for name, path in every.items() if path is not None}

    @property
    def others(self) -> dict[str, Path]:
        """The picture and the page, if they are wanted."""
        every = {name: getattr(self, name) for name in ("preview", "report")}
        return {name: path for name, path in every.items() if path is not None}
