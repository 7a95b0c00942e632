"""The options of softmorph inspect, in bundles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from softmorph_cli.cli import common
from softmorph_cli.plots.options import COLORINGS, PICTURES, PREVIEW, ViewOptions
from softmorph_cli.skeleton.tracing import CurveOptions
from softmorph_cli.system.parameters import Parameter, check_all, one_of

TABLE, _TEXTS, _IMAGES = "The table", "Exports", "Images"


def _text(what: str, **more: Any) -> Parameter:
    return Parameter(what, "PATH|-", group=_TEXTS, **more)


def _image(what: str) -> Parameter:
    return Parameter(what, "OUT", group=_IMAGES)


@dataclass(frozen=True, kw_only=True)
class Curve(CurveOptions):
    """The options of `softmorph inspect` for the curve (skeleton), and the map of a skeleton."""

    panel: ClassVar = "The curve"

    map_file: Annotated[
        Path | None,
        Parameter(
            "The map that the skeleton IN was made from, for radii and certainty.", "MAP", flags=("--map",)
        ),
    ] = None

    def __post_init__(self) -> None:
        """Parse and check the values of the options."""
        check_all(self)


@dataclass(frozen=True)
class InspectOutput(ViewOptions):
    """The options of `softmorph inspect` for output files; a text with PATH - replaces the table on stdout."""

    json: Annotated[bool, replace(common.JSON, group=_TEXTS)] = False
    json_file: Annotated[Path | None, replace(common.JSON_FILE, group=_TEXTS)] = None
    csv: Annotated[Path | None, _text("A row for each branch, units in the names.", first=True)] = None
    summary: Annotated[Path | None, _text("A row for each file and class (CSV).", first=True)] = None
    components: Annotated[Path | None, _text("A row for each component (CSV).")] = None
    graphml: Annotated[Path | None, _text("The graph, cycles and paths kept.")] = None
    swc: Annotated[Path | None, _text("A tree with radii, for neuron tools.")] = None
    obj: Annotated[Path | None, _text("Polylines in world coordinates.")] = None
    shapes: Annotated[Path | None, _text("Branches as napari's table of shapes (CSV), in voxels.")] = None
    skeleton: Annotated[Path | None, _image("The curve's voxels, 0 and 1.")] = None
    branch_labels: Annotated[Path | None, _image("Each voxel of the curve as the number of its branch.")] = (
        None
    )
    tagged: Annotated[Path | None, _image("The curve: 1 end point, 2 junction, 3 in between.")] = None
    preview: Annotated[
        Path | None, Parameter("Draw the skeleton over the map.", PREVIEW, group=PICTURES, first=True)
    ] = None
    color: Annotated[
        str,
        Parameter(
            "Of --preview: colour the curve by its soft value, the vessel's radius, the generation from --root, or by"
            " branch.",
            "|".join(COLORINGS),
            group=PICTURES,
            check=one_of(*COLORINGS),
        ),
    ] = COLORINGS[0]
    report: Annotated[
        Path | None,
        Parameter(
            "One page with pictures, a rotating 3D view, tables and histograms that opens without a network.",
            "PATH.html",
            group=PICTURES,
            first=True,
        ),
    ] = None
    force: Annotated[bool, common.FORCE] = False

    @property
    def texts(self) -> dict[str, Path]:
        """The requested exports as text: PATH by name of the format."""
        names = ("csv", "summary", "components", "graphml", "swc", "obj", "shapes")
        every = {name: getattr(self, name) for name in names}
        return {name: path for name, path in every.items() if path is not None}

    @property
    def images(self) -> dict[str, Path]:
        """The requested images: PATH by name of the image."""
        every = {name: getattr(self, name) for name in ("skeleton", "branch_labels", "tagged")}
        return {name: path for name, path in every.items() if path is not None}

    @property
    def others(self) -> dict[str, Path]:
        """The paths of the picture, of the HTML page and of the JSON file, if requested."""
        every = {name: getattr(self, name) for name in ("preview", "report", "json_file")}
        return {name: path for name, path in every.items() if path is not None}
